"""Plots with animals and the market: a shy animal, a rescue, a garden thief, a market day.

Roles and phrases as in `plots_home.py`.
"""

from __future__ import annotations

from .piece import FIELD, HOME, WAY, Piece, actions, colour, count, first, lines, where, who, why

SHY = Piece(
    "shy",
    "w:when c:wild p:den~c k:colour~c a:child~c b:adult~c f:feed~c n:num~f g:soft l:colour~g q:room~g r:afraid~c "
    "s:patient~a x:tame~a y:tame~a z:tame~a h:baked m:few~h",
    (
        (
            "{a} had seen {c.a} {p}.",
            "{c.a} lived {p}. {a} saw it {w}.",
            "{w}, {a} discovered {c.a} {p}.",
        ),
        (
            "It was a {k} {c.noun}, and it was afraid because {r}.",
            "The {k} {c.noun} was afraid because {r}.",
            "Whenever somebody came, the {k} {c.noun} ran away. It was afraid because {r}.",
        ),
        ('"Give it time," said {b}.', '"You must be patient," said {b}, who knew a lot about animals.',
         '{b} gave {a.him} some advice: "Be slow and quiet."'),
        actions("a"),
        (
            "At last the {c.noun} came out and ate {n} {f.s}.",
            "On the third day the {c.noun} ate {n} {f.s}.",
            "Little by little it came nearer, and on Sunday the {c.noun} ate {n} {f.s}.",
        ),
        FIELD,
        (
            "{a} was glad because {s}.",
            "How glad {a} was, because {s}!",
            "That day {a} was glad, because {s}.",
        ),
        (
            "",
            "When the nights grew cold, {a} put {l.a} {g} {q} for the {c.noun} to sleep on.",
            "Before the first snow {a} laid {l.a} {g} {q}, and there the {c.noun} slept.",
            "In winter {l.a} {g} lay {q}, just for the {c.noun}.",
        ),
        ("", "{b} brought {m} {h.s} to celebrate.", "To celebrate, {b} baked {m} {h.s}.",
         '"Well done," said {b}, and put {m} {h.s} on the table.'),
    ),
    (
        where("c", "p", "Where did {a} see {c}?", "Where did {a} first see {c}?"),
        colour("c", "k"), why("c", "r", "Why was {c} afraid?", "What made {c} afraid?"), first("a", "x"),
        count("f", "n", "did {c} eat"), why("a", "s", "Why was {a} glad?", "What made {a} glad?"), colour("g", "l"),
        where("g", "q", "Where was the {g}?", "Where did the {g} lie?"), count("h", "m", "were there to celebrate"),
        who("c", "a", "saw {c}"),
    ),
    {
        "afraid": lines("""
            it had never met people before
            a big dog had chased it
            the thunder had been so loud
            it was all alone
            somebody had thrown a stone at it
            it had lost its mother
            it did not know the way home
            the wind made strange sounds
            it had once been caught in a trap
            everything was new to it
            a cart had nearly hit it
            the children had shouted
            """),
        "patient": lines("""
            @he had waited so long
            it trusted @him at last
            nobody else had done it
            @he had a new friend
            @his patience had paid off
            it was not hungry any more
            it did not run away
            @he had always wanted a pet
            it had looked straight at @him
            the plan had worked
            it let @him touch its head
            it came when @he called
            """),
        "tame": lines("""
            sat down in the grass
            hummed a soft tune
            held out a hand
            put down some food
            took off @his noisy boots
            waited without a word
            spoke in a whisper
            filled a dish with water
            hid behind a bush
            counted slowly to ten
            made a bed of straw
            lay flat on the ground
            """),
    },
)  # fmt: skip

RESCUE = Piece(
    "rescue",
    "w:when c:young k:colour~c p:high~c a:child~c b:person~c t:ladder g:wear~b l:colour~g j2:colour~t d2:child~c "
    "f:baked n:few~f r:upthere~c s:nohelp~a x:coax~a y:coax~a z:coax~a m:num e:onlookers~m",
    (
        (
            "{w}, there was a great noise in the street.",
            "{w}, {a} heard a thin little cry.",
            "Something was wrong. {a} could hear it {w}, even through the closed window.",
        ),
        (
            "A {k} {c.noun} sat {p}. It had climbed up there because {r}.",
            "There, {p}, sat a {k} {c.noun}. It had climbed up because {r}.",
            "A {k} {c.noun} was {p} and did not dare to come down. It had climbed up because {r}.",
        ),
        actions("a"),
        ("It did not move.", "The {c.noun} only cried louder.", "Nothing helped."),
        (
            "",
            "{a} could not go up there alone, because {s}.",
            "{a} did not dare to climb because {s}.",
            "{a} would have climbed, but {a.he} did not because {s}.",
        ),
        HOME,
        (
            "",
            "Soon {m} {e.s} were standing in the street.",
            "By then {m} {e.s} had stopped to watch.",
            "In a moment {m} {e.s} had gathered.",
        ),
        (
            "Then {b} came in {l.a} {g}, with {j2.a} {t}.",
            "{b} put {j2.a} {t} against the wall and pulled off {b.his} {l} {g}.",
            "{b} ran home in {b.his} {l} {g} and came back with {j2.a} {t}.",
        ),
        (
            "Step by step {b.he} went up. At last {b} brought the {c.noun} down.",
            "A minute later {b} brought the {c.noun} down.",
            "Everybody held their breath until {b} brought the {c.noun} down.",
        ),
        (
            "It belonged to {d2}, who thanked them with {n} {f.s}.",
            "{d2} was the owner. {d2.he} hugged it and fetched {n} {f.s} for them.",
        ),
        ("", "And the {c.noun}? It went to sleep.", '"Stay on the ground," said {a} to the {c.noun}.'),
    ),
    (
        colour("c", "k"), where("c", "p", "Where was {c}?", "Where did {c} sit?"), why("c", "r",
        "Why had {c} climbed up?", "Why did {c} climb up?"),
        first("a", "x"), why("a", "s", "Why did {a} not climb up?"), count("e", "m", "were watching"), colour("g",
        "l", "b"), colour("t", "j2"),
        who("c", "b", "brought {c} down"), who("c", "d2", "was the owner of {c}"),
        count("f", "n", "did {d2} give them"),
    ),
    {
        "upthere": lines("""
            a dog had barked at it
            it had followed a butterfly
            it wanted to catch a bird
            the children had chased it
            it was looking for its mother
            a cart had frightened it
            it was curious
            it liked the warm stones
            the wind had scared it
            it had seen a mouse
            a goose had hissed at it
            it wanted to see the world
            """),
        "nohelp": lines("""
            @he was afraid of heights
            @his arm was in a sling
            it was forbidden
            the wall was wet
            there was nothing to hold on to
            @he was too small
            @he had hurt @his knee
            @he had fallen once before
            the stones were loose
            @his hands were shaking
            @he wore new shoes
            the wind was too strong
            """),
        "coax": lines("""
            called its name
            held up some food
            whistled softly
            clapped @his hands
            put down a dish of milk
            shook a bag of food
            spread out a blanket
            asked an old man
            sang to it
            knocked on the nearest door
            ran around the house
            waved a feather
            """),
    },
)  # fmt: skip

GARDEN = Piece(
    "garden",
    "w:when a:person f:roots~a n:num~f c:grazer~f k:colour~c b:adult~a p:outspot~a t:wear k2:colour~t g:bucket "
    "l:colour~g q:grounds~g h:roots m:num~h r:grow~a s:forgive~a x:guard~a y:guard~a z:guard~a d2:child~h",
    (
        (
            "{a} grew {f.s} because {r}.",
            "That year {a} grew {f.s}, because {r}.",
            "Nobody in the village had such fine {f.s} as {a}. {a.he} grew them because {r}.",
        ),
        (
            "But {w} {n} {f.s} were missing.",
            "{w}, {a} counted them. {n} {f.s} were missing!",
            '"Somebody has taken {n} {f.s}!" {a.he} cried {w}.',
        ),
        (
            "",
            "Was it {b}, who had walked past in {k2.a} {t}?",
            "{a} had seen {b} near the fence, in {k2.a} {t}.",
            '"It must be the one in the {k2} {t}," said {a}, and meant {b}.',
        ),
        (
            "{a} hid {p} to find out.",
            "In the evening {a} hid {p} and waited.",
            "That night {a} hid {p}.",
        ),
        actions("a"),
        HOME,
        (
            "At midnight the thief came. It was a {k} {c.noun}!",
            "When the moon rose, a {k} {c.noun} came and began to eat.",
            "Something rustled, and out came a {k} {c.noun} with a full mouth.",
        ),
        (
            "{a} forgave it because {s}.",
            "{a} was not angry for long. {a.he} forgave it because {s}.",
            "{a} wanted to be strict, but {a.he} forgave it because {s}.",
        ),
        (
            "",
            "After that {d2} planted {m} {h.s} for the {c.noun}, and {l.a} {g} of water stood {q}.",
            "{d2} even planted {m} {h.s} for the {c.noun}, and put {l.a} {g} of water {q}.",
        ),
    ),
    (
        why("a", "r", "Why did {a} grow {f.s}?"), count("f", "n", "were missing"), colour("t", "k2", "b"), colour("c",
        "k"),
        where("a", "p", "Where did {a} hide?", "Where did {a} wait?"), first("a", "x"), why("a", "s",
        "Why did {a} forgive it?", "Why did {a} forgive {c}?"),
        count("h", "m", "did {d2} plant"), where("g", "q", "Where was the {g}?", "Where did the {g} stand?"),
        colour("g", "l"),
        who("h", "d2", "planted the {h.s}"), who("f", "a", "grew {f.s}", "grew the {f.s}"),
    ),
    {
        "grow": lines("""
            @he wanted to win a prize
            the soil was good for them
            @he liked the taste
            @he sold them in town
            @his father had done the same
            it kept @him busy
            the family was large
            @he had read a book about it
            a friend had given @him seeds
            @he made the best soup with them
            the doctor had told @him to
            they hardly needed water
            """),
        "forgive": lines("""
            it was so thin
            it had three little ones
            the winter had been hard
            it looked at @him without fear
            everybody gets hungry
            @he had been young once
            there was enough for all
            it only had three legs
            @he loved animals
            it was its nature
            @he had to laugh
            the nights were cold
            """),
        "guard": lines("""
            drank strong tea
            put on a thick sweater
            counted the stars
            listened to an owl
            lit a small lamp
            ate a cheese sandwich
            rubbed @his eyes
            sang very softly
            closed the gate
            spread out a net
            wrote in @his diary
            yawned a dozen times
            """),
    },
)  # fmt: skip

MARKET = Piece(
    "market",
    "w:when a:person f:fruit n:num~f t:holder k:colour~t p:stall~t c:child~f b:trade~f g:wear~b l:colour~g h:yard "
    "m:few~h r:sell~a s:buyall~b x:dayout~a y:dayout~a z:dayout~a",
    (
        (
            "{w}, {a} went to market because {r}.",
            "It was market day, and {a} went because {r}.",
            "{a} got up before sunrise. {a.he} had to go to market because {r}.",
        ),
        (
            "In {a.his} {k} {t} {a.he} had {n} {f.s}.",
            "{a.he} carried {n} {f.s} in {k.a} {t}.",
            "There were {n} {f.s} in {a.his} {k} {t}, washed and shining.",
        ),
        WAY,
        (
            "{a.he} found a good place for the {t} {p}, and {c} came to help.",
            "{a.he} put the {t} down {p}. {c} came along to help.",
            "The {t} stood {p}, and {c} helped.",
        ),
        ('"Go and look around," said {c}. "I will watch the stall."', "{c} watched the stall for a while.",
         "Soon {c} watched the stall, so {a} could look around."),
        actions("a"),
        (
            "When {a} came back, everything was sold. {b} had bought all the {f.s}, because {s}.",
            "And then? {b} bought all the {f.s} because {s}.",
            'Meanwhile {b} had bought all the {f.s} because {s}.',
        ),
        (
            "",
            "There {b.he} went, in {l.a} {g}, with {m} {h.s} behind {b.him}.",
            "One could see {b.him} far off, in {l.a} {g}, with {m} {h.s} on a rope.",
            "{b.he} wore {l.a} {g} and drove {m} {h.s} home as well.",
        ),
        ("{a} and {c} shared the money.", '"You are better at this than I am," said {a} to {c}.',
         "What a good day that was!", "On the way home {c} sang."),
    ),
    (
        why("a", "r", "Why did {a} go to market?"), colour("t", "k"), count("f", "n", "were in the {t}",
        "did {a} have"),
        where("t", "p", "Where was the {t}?", "Where did the {t} stand?"), who("t", "c", "watched the stall"),
        first("a", "x"),
        who("f", "b", "bought the {f.s}", "bought all the {f.s}"), why("b", "s", "Why did {b} buy the {f.s}?"),
        colour("g", "l", "b"),
        count("h", "m", "did {b} have"),
    ),
    {
        "sell": lines("""
            the trees were full
            the roof had to be mended
            @he needed new shoes
            winter was coming
            @he wanted to buy a cow
            @his cousin had no time
            the cellar was full
            @he liked the noise and the people
            the rent had to be paid
            @his mother was ill
            @he owed somebody money
            they would not keep for long
            """),
        "buyall": lines("""
            there was a wedding the next day
            @he had eleven children
            @he loved jam
            they were so cheap
            @his own had been eaten by birds
            @he had never tasted better ones
            the king was coming to dinner
            @he wanted to make juice
            @he was in a good mood
            @his shop was empty
            the doctor had told @him to eat more fruit
            @he wanted to please @his wife
            """),
        "dayout": lines("""
            watched a puppet show
            listened to the band
            bought a glass of lemonade
            greeted an old friend
            stroked a sleepy donkey
            tried on a funny mask
            smelled the flowers
            tasted some honey
            looked at the paintings
            rested on a bench
            talked to a sailor
            fed the pigeons
            """),
    },
)  # fmt: skip

PLOTS_BEASTS = (SHY, RESCUE, GARDEN, MARKET)
