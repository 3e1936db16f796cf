"""Plots outdoors: a borrowed tool, a storm, a race.

Roles and phrases as in `plots_home.py`.
"""

from __future__ import annotations

from .piece import FIELD, HOME, Piece, actions, colour, count, first, lines, site, spot, where, who, why

BORROWED = Piece(
    "borrowed",
    "w:when b:adult t:tool~b k:colour~t a:child~t q:grounds~a p:outspot~t g:wear~b l:colour~g f:roots n:num~f "
    "c:child~t r:cross~b s:tired~a x:work~a y:work~a z:work~a",
    (
        (
            "{w}, {a} borrowed {k.a} {t} from {b}.",
            "{a} had work to do, but nothing to do it with. So {w} {a.he} borrowed {k.a} {t} from {b}.",
            '"Bring it back clean," said {b}, when {a} borrowed {k.a} {t} {w}.',
            "{b} had {k.a} {t}, the best in the village, and {a} borrowed it {w}.",
        ),
        ("{a} went to work {q}.", "There was a lot to do {q}, and {a} liked it.", "{a} had promised to help {q}."),
        actions("a"),
        (
            "In the evening {a} was tired because {s}. {a.he} left the {t} {p} and went to bed.",
            "By then {a} was tired, because {s}. {a.he} left the {t} {p}, and soon it was forgotten.",
            "{a} was so tired, because {s}, that {a.he} left the {t} {p}.",
        ),
        HOME,
        (
            "The next day {b} stood at the gate in {l.a} {g}, angry because {r}.",
            "{b} was angry because {r}. In {b.his} {l} {g} {b.he} marched over to {a}.",
            "A day later {b} knocked, in {l.a} {g}. {b.he} was angry because {r}.",
        ),
        (
            "",
            "Luckily {c} had cleaned the {t} and brought it in.",
            "It was {c} who cleaned the {t} and brought it.",
            "{a} turned red. But {c} had cleaned the {t} in the meantime.",
        ),
        (
            "",
            '"I am sorry," said {a}, and gave {b} {n} {f.s} from the garden.',
            "{a} said sorry and gave {b} {n} {f.s}.",
            "{a} went to the garden and came back with {n} {f.s} for {b}.",
        ),
        ("{b} had to smile.", '"Well, no harm done," said {b}.', "", "The next time, {a} made a knot in a "
                                                                     "handkerchief."),
    ),
    (
        colour("t", "k"), colour("g", "l", "b"), who("t", "a", "borrowed the {t}"), first("a", "x"), who("t", "c",
        "cleaned the {t}"),
        spot("t", "p", "Where did {a} leave the {t}?", "Where was the {t} left?"), where("a", "q",
        "Where did {a} work?", "Where did {a} help?"),
        why("b", "r", "Why was {b} angry?", "What made {b} so angry?"), why("a", "s", "Why was {a} tired?",
        "What made {a} so tired?"),
        count("f", "n", "did {b} get", "did {a} give {b}"),
    ),
    {
        "cross": lines("""
            @he had waited for an hour
            @he needed it that morning
            it was not the first time
            nobody had asked @him
            it had cost a lot of money
            @he had looked for it all day
            it had stood in the rain
            @he could not finish the fence
            @he never lent things gladly
            a promise was a promise
            @he had been late for work
            it had belonged to @his father
            """),
        "tired": lines("""
            @he had been up since five
            the ground was hard
            the sun had been so hot
            @he had slept badly
            there had been no break
            the buckets were heavy
            @he had eaten nothing
            the day had been long
            nobody had helped @him
            @he had carried so many stones
            @he was not used to it
            @he had done the work of two
            """),
        "work": lines("""
            pulled up the weeds
            carried away the stones
            dug a long row
            raked the leaves
            cleaned the cages
            stacked the crates
            mended the gate
            brushed the pony
            piled up the straw
            painted the door
            cut the long grass
            cleared the path
            """),
    },
)  # fmt: skip

STORM = Piece(
    "storm",
    "w:when a:adult b:person~a c:child p:room~a q:shelter~c t:cover~c k:colour~t g:wear~b l:colour~g f:yard n:num~f "
    "r:worried~a s:errand~c x:dry~c y:dry~c z:dry~c",
    (
        (
            "The storm came {w}.", "{w}, the wind began to howl.", "Nobody had expected such a storm.",
            "{w}, thunder rolled over the village.", "First a few drops fell, and then the sky broke open.",
        ),
        (
            "{a} stood {p} and was worried because {r}.",
            "{a} was {p}, worried because {r}.",
            '"I do not like this," said {a}, who was {p}. {a.he} was worried because {r}.',
        ),
        (
            "And {n} {f.s} were still in the field!",
            "Out in the rain stood {n} {f.s}, all wet.",
            "To make it worse, {n} {f.s} were still outside.",
        ),
        (
            "{b} put on {l.a} {g}, ran out and brought the {f.s} in.",
            "So {b} buttoned up {l.a} {g}, ran out and brought the {f.s} in.",
            '"Leave that to me," said {b}. In {l.a} {g} {b.he} brought the {f.s} in.',
        ),
        HOME,
        (
            "But where was {c}? {c.he} had gone out because {s}.",
            "Only {c} was missing. {c.he} had gone out because {s}.",
            "Then they noticed that {c} was not there. {c.he} had gone out because {s}.",
        ),
        (
            "When the thunder stopped, they found {c} {q}, under {k.a} {t}.",
            "They found {c} {q}. {c.he} held {k.a} {t} over {c.his} head.",
            "An hour later {c} was found {q}, safe and sound, under {k.a} {t}.",
        ),
        actions("c"),
        ("Then the sun came out.", "", "What a night that was!", '"Never do that again," said {a}, and hugged '
                                                                 '{c.him}.'),
    ),
    (
        why("a", "r", "Why was {a} worried?", "What made {a} worried?"), *site("a", "p"),
        count("f", "n", "were outside", "were out in the rain"), who("f", "b", "brought the {f.s} in"), colour("g",
        "l", "b"), colour("t", "k"),
        where("c", "q", "Where did they find {c}?", "Where was {c} found?"), why("c", "s", "Why had {c} gone out?",
        "Why did {c} go out?"),
        first("c", "x"),
    ),
    {
        "worried": lines("""
            the sky had turned black
            the river was rising
            the roof had a hole
            the wind grew stronger every minute
            the old oak might fall
            the boats had not come back
            the lamp had gone out
            the bridge was weak
            water came in under the door
            the fence had fallen
            the windows shook
            nobody knew how long it would last
            """),
        "errand": lines("""
            @he had forgotten @his school bag
            the milk was finished
            @he wanted to see the lightning
            @he had heard a kitten
            the bicycle was still outside
            @he had lost a shoe
            @he had to take back a book
            @he wanted to help a neighbour
            the washing was on the line
            @he had promised to feed the pigeons
            @he had left the gate open
            @he was looking for the cat
            """),
        "dry": lines("""
            took a hot bath
            put on warm socks
            drank a cup of tea
            hung up the wet clothes
            sat down by the fire
            ate a bowl of soup
            dried @his hair
            told the whole story
            wrapped up in a blanket
            kissed @his mother
            fed the cat
            asked for some bread
            """),
    },
)  # fmt: skip

RACE = Piece(
    "race",
    "w:when a:child b:child~a c:adult t:ride~a k:colour~t g:wear~b l:colour~g q:track~a f:prize n:num~f r:proud~b "
    "s:stop~a x:warm~a y:warm~a z:warm~a",
    (
        (
            "{a} and {b} were the fastest children in the village. But who was faster?",
            '"I am faster than you," said {a} {w}. "Let us see," said {b}.',
            "There was a great race {w}, and everybody came.",
            "{w}, {a} and {b} wanted to know at last who was faster.",
        ),
        (
            "They met {q}: {a} with {k.a} {t}, and {b} in {l.a} {g}.",
            "The race was to start {q}. {a} brought {k.a} {t}, and {b} came in {l.a} {g}.",
            "The start was {q}. Everyone knew {a} by {a.his} {k} {t} and {b} by {b.his} {l} {g}.",
        ),
        actions("a"),
        FIELD,
        ("", "{c} rang a bell, and off they went.", "Then {c} rang a bell.", "{c} rang a bell, and the dust flew."),
        (
            "Halfway there {a} stopped because {s}.",
            "{a} was ahead at first, but then {a.he} stopped because {s}.",
            "Nobody could catch {a}. But on the last hill {a.he} stopped, because {s}.",
        ),
        ("So it was {b} who won the race.", "{b} flew past and won the race.", "That was how {b} won the race."),
        (
            "{b} got {n} {f.s} as a prize and was proud because {r}.",
            "The prize was {n} {f.s}. {b} was proud, because {r}.",
            "{b.he} took home {n} {f.s}, and {b.he} was proud because {r}.",
        ),
        ('"Next time!" said {a}, and they shook hands.', "", "{a} clapped louder than anyone.",
         '"I will train all winter," said {a}.'),
    ),
    (
        first("a", "x"), where("a", "q", "Where did the race begin?", "Where did the race start?"), colour("t", "k",
        "a"), colour("g", "l", "b"),
        why("a", "s", "Why did {a} stop?"), who("g", "b", "won the race"), who("q", "c", "rang the bell",
        "rang a bell"),
        count("f", "n", "did {b} win", "did {b} get"), why("b", "r", "Why was {b} proud?", "What made {b} so proud?"),
    ),
    {
        "proud": lines("""
            @he had never won anything before
            @he had practised every day
            nobody had believed in @him
            @his whole family was watching
            @he had not given up
            @he was the youngest of all
            @his brother had clapped
            @he had beaten @his own record
            the mayor shook @his hand
            @he had trained in the rain
            the children carried @him home
            it had been so close
            """),
        "stop": lines("""
            a wheel came off
            a hen ran across the road
            @he had a stone in @his shoe
            @he lost @his cap
            a little boy had fallen down
            a branch lay on the road
            @he had no breath left
            a herd of cows was coming
            @he took the wrong turn
            @his shoelace was open
            @he heard somebody cry
            a wasp had stung @him
            """),
        "warm": lines("""
            stretched @his legs
            drank some water
            tied @his shoelaces
            looked at the clouds
            checked the road
            waved to the crowd
            rubbed @his hands
            took a deep breath
            ate a piece of bread
            rolled up @his sleeves
            sang a little song
            shook hands with everyone
            """),
    },
)  # fmt: skip


PLOTS_OUT = (BORROWED, STORM, RACE)
