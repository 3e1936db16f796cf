"""Plots among people: a visit, a letter, a new neighbour.

Roles and phrases as in `plots_home.py`.
"""

from __future__ import annotations

from .piece import HOME, WAY, Piece, actions, colour, count, first, lines, site, spot, where, who, why

VISIT = Piece(
    "visit",
    "w:when b:adult a:child~b r:weak~b t:holder k:colour~t f:fruit n:num~f h:baked~a m:few~h q:house~b g:heirloom "
    "l:colour~g p:standing~g c:child~b s:thanks~b x:chore~a y:chore~a z:chore~a",
    (
        (
            "{w}, {a} went to see {b}, because {r}.",
            "{a} went to see {b} {w} because {r}.",
            "{w}, {a} set off to see {b}, because {r}.",
        ),
        (
            "{b} lived {q}, an hour away.",
            "The house of {b} stood {q}.",
            "{b} lived {q}, with a cat and a parrot.",
        ),
        (
            "{a} took {k.a} {t} with {n} {f.s} and {m} {h.s}.",
            "In {a}'s {k} {t} lay {n} {f.s} and {m} {h.s}.",
            "{a} filled {k.a} {t} with {n} {f.s} and {m} {h.s}.",
        ),
        WAY,
        ('"Come in!" called {b}. "The door is open."', "{b} was already looking out of the window.",
         '"What a nice surprise!" said {b}.'),
        actions("a"),
        (
            "",
            "Then {c} came to read aloud from the newspaper.",
            "Later {c} came and read aloud from the newspaper.",
            "In the afternoon {c} read aloud, and they all listened.",
        ),
        (
            "",
            "Before they left, {b} gave {a} {l.a} {g} that had stood {p} for years.",
            "As a present, {a} got {l.a} {g} that had stood {p} for years.",
        ),
        ("{b} was happy because {s}.", '"Come again soon!" {b} said. {b.he} was happy because {s}.',
         "That evening {b} was happy, because {s}."),
    ),
    (
        why("b", "r", "Why did {a} go to see {b}?", "Why did {a} visit {b}?"), where("b", "q", "Where did {b} live?",
        "Where was the house of {b}?"),
        colour("t", "k"), count("f", "n", "were in the {t}"), count("h", "m", "were in the {t}"), first("a", "x"),
        who("b", "c", "read aloud", "came to read aloud"), colour("g", "l"), spot("g", "p", "Where had the {g} stood?"),
        why("b", "s", "Why was {b} happy?", "What made {b} happy?"),
    ),
    {
        "weak": lines("""
            @he had a bad cold
            @he could not walk far
            @he had hurt @his foot
            @he had just come home from hospital
            @he felt lonely
            @he had fallen off a ladder
            @he had not been seen for weeks
            @he had broken @his glasses
            @he was nearly ninety
            @he had sent a kind letter
            @he had no one else
            @he had a new puppy
            """),
        "thanks": lines("""
            the house was full of voices
            @he was not alone
            nobody had visited @him since spring
            the pain was gone
            @he loved company
            they had laughed so much
            somebody had thought of @him
            the kitchen was warm again
            they had promised to come back
            @his legs felt better
            it had been a lovely day
            @he had eaten well
            """),
        "chore": lines("""
            swept the floor
            made a pot of tea
            fetched fresh water
            lit the fire
            washed the dishes
            watered the plants
            fed the parrot
            opened the windows
            carried in the wood
            cut the bread
            shook out the rugs
            dusted the shelves
            """),
    },
)  # fmt: skip

LETTER = Piece(
    "letter",
    "w:when c:adult a:child~c t:paper k:colour~t b:adult~t q:grounds~b f:stamps n:few~f g:wear~b l:colour~g e:dug "
    "m:num~e r:carry~a s:news~b x:kettle~b y:kettle~b z:kettle~b p:outspot~t",
    (
        (
            "{w}, {a} found {k.a} {t} {p}. It was not for {a.him}.",
            "{k.a} {t} was lying {p}, and {a} found it {w}.",
            '"What is this?" said {a} {w}. {p}, there was {k.a} {t}.',
        ),
        (
            "There were {n} {f.s} on it, and the name of {b}.",
            "It had {n} {f.s} and was addressed to {b}.",
            "On the front were {n} {f.s} and the name of {b}.",
        ),
        ("{a} took it along at once because {r}.", "{a} did not wait, because {r}.",
         "{a} decided to hurry because {r}."),
        WAY,
        (
            "{b} was {q}. {b.he} wore {l.a} {g} and was pulling up {m} {e.s}.",
            "{a} found {b} {q}, in {l.a} {g}, with {m} {e.s} in a sack.",
            "{q}, there was {b} in {b.his} {l} {g}, digging up {m} {e.s}.",
        ),
        (
            "",
            "It was {c} who had written to {b.him}.",
            "{b} knew the writing at once: {c} had written the letter.",
            '"{c} has written to me!" said {b}.',
        ),
        (
            "{b} read it twice. {b.he} was happy because {s}.",
            "{b} was happy because {s}.",
            "When {b} had read it, {b.he} was so happy, because {s}.",
        ),
        actions("b"),
        ('"Stay for supper," said {b}, and {a} did.', "{a} walked home with a warm heart.", "",
         "And {a} was the first to hear the whole story."),
    ),
    (
        colour("t", "k"), spot("t", "p", "Where did {a} find the {t}?"), who("t", "a", "found the {t}"), count("f",
        "n", "were on the {t}"),
        why("a", "r", "Why did {a} hurry?", "Why did {a} go at once?"), *site("b", "q"), colour("g", "l", "b"),
        count("e", "m", "did {b} have"),
        who("t", "c", "had written the letter", "wrote the letter"),
        why("b", "s", "Why was {b} happy?", "What made {b} so happy?"), first("b", "x"),
    ),
    {
        "carry": lines("""
            it looked important
            the ink was still wet
            somebody must be waiting for it
            rain was on the way
            @he had nothing else to do
            it had already been lost once
            @he was curious
            @he liked to be useful
            the post office was closed
            @his mother had told @him to
            it came from far away
            @he hoped for a little reward
            """),
        "news": lines("""
            @his son was coming home
            the old quarrel was over
            @he was invited to a wedding
            @he had won the lottery
            the money had come at last
            @his friend was well again
            the ship had arrived safely
            @he had waited for it for months
            @his garden had won a prize
            the house would not be sold
            @his sister had been found
            @he would see the sea at last
            """),
        "kettle": lines("""
            put the kettle on
            sat down on a stone
            wiped @his eyes
            called the neighbours
            danced in a circle
            folded the letter
            kissed the paper
            put on @his best shoes
            laughed out loud
            cut some flowers
            washed @his face
            opened a jar of honey
            """),
    },
)  # fmt: skip

NEIGHBOUR = Piece(
    "neighbour",
    "w:when b:child a:child~b q:house~b r:shy~b t:holder k:colour~t h:baked~a n:few~h g:toy l:colour~g p:spot~g "
    "c:child~b f:collect m:num~f s:brave~a x:polite~a y:polite~a z:polite~a",
    (
        (
            "{w}, a new family moved into the house {q}. They had one child, and that was {b}.",
            "The house {q} had been empty for years. Then {b} moved in with all {b.his} things.",
            "{b} was new in the village. {b.he} lived {q} with {b.his} parents.",
        ),
        (
            "{b} was shy because {r}.",
            "{b.he} was very shy, because {r}.",
            "{b} hid behind a big box. {b.he} was shy because {r}.",
        ),
        (
            "So {a} put {n} {h.s} into {k.a} {t} to bring over.",
            '"We must do something," said {a}, and put {n} {h.s} into {k.a} {t}.',
            "But {a} had an idea. {a.he} packed {k.a} {t} with {n} {h.s}.",
        ),
        actions("a"),
        HOME,
        (
            "",
            "{b}'s {c.kin} {c} opened the door and laughed.",
            "It was {c}, the {c.kin}, who opened the door.",
            "{c}, {b}'s {c.kin}, opened the door and waved {a.him} in.",
        ),
        (
            '"I collect things," said {b} softly, and {b.he} brought out {m} {f.s}.',
            "After a while {b} brought out a box with {m} {f.s} to look at.",
            "{b} did not say much, but {b.he} laid {m} {f.s} on the table, one by one.",
        ),
        (
            "",
            "Then they played with {l.a} {g} that had been {p} since the move.",
            '"And where is my {g}?" asked {b}. It was {p}: {l.a} {g}, a little dusty.',
            "There was even {l.a} {g}. It had been {p} since the move.",
        ),
        (
            "{a} went home proud, because {s}.",
            "That evening {a} was proud because {s}.",
            '"See you tomorrow?" asked {b}. {a} was proud because {s}.',
        ),
    ),
    (
        where("b", "q", "Where did {b} live?", "Where was the house of {b}?"), why("b", "r", "Why was {b} shy?",
        "What made {b} so shy?"),
        colour("t", "k"), count("h", "n", "were in the {t}"), first("a", "x"), who("b", "c", "opened the door"),
        count("f", "m", "did {b} have"), colour("g", "l"), spot("g", "p"), why("a", "s", "Why was {a} proud?",
        "What made {a} proud?"),
        who("h", "a", "brought the {h.s}"),
    ),
    {
        "shy": lines("""
            @he knew nobody there
            @he spoke with an accent
            the other children had laughed at @him
            everything was strange
            @he had left all @his friends behind
            @he had never lived in a village
            the house was so big
            @he was small for @his age
            @he had been ill for a long time
            @he had two missing teeth
            @his clothes were old
            @he did not know the games
            """),
        "brave": lines("""
            @he had made a friend
            it had been @his own idea
            @he had been nervous too
            @he had found the right words
            @he had not given up
            nobody else had dared
            @he had made somebody laugh
            @his plan had worked
            it was not easy to knock on a strange door
            @he had done it without help
            @his mother had praised @him
            @he had learned a new game
            """),
        "polite": lines("""
            combed @his hair
            brushed @his shoes
            drank a glass of milk
            put on clean socks
            took a deep breath
            practised a little speech
            picked some flowers
            put on a clean shirt
            looked over the fence
            asked @his mother
            washed @his face
            polished a button
            """),
    },
)  # fmt: skip

PLOTS_PEOPLE = (VISIT, LETTER, NEIGHBOUR)
