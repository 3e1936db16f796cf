"""Plots on a day out: a map, a shared lunch, a drifting boat.

Roles and phrases as in `plots_home.py`.
"""

from __future__ import annotations

from .piece import FIELD, WAY, Piece, actions, colour, count, first, lines, spot, where, who, why

TREASURE = Piece(
    "treasure",
    "w:when a:child t:small~a k:colour~t b:adult~t c:child~t q:wildsite~a p:outspot~t g:holder~c l:colour~g "
    "f:riches n:num~f r:luck~c s:giveup~a x:expedition~a y:expedition~a z:expedition~a",
    (
        (
            "{w}, {a} found an old map in a book.",
            "An old map fell out of a book, right at {a}'s feet.",
            '"Look, a treasure map!" said {a} {w}.',
            "It began with an old map, which {a} found {w}.",
        ),
        ("", "{b} had drawn the map long ago.", "It was {b} who had drawn the map, many years before.",
         "As everyone knew, {b} had drawn the map."),
        actions("a"),
        WAY,
        (
            "The map led {a.him} and {c} to a place {q}.",
            "{c} came along, and in the afternoon they stood {q}, just as on the map.",
            "{a} and {c} followed the lines until they stood {q}.",
        ),
        ("After an hour {a} gave up because {s}.", "They dug and dug. Then {a} gave up because {s}.",
         '"Enough," said {a}, who gave up because {s}.'),
        (
            "But {c} went on, and {p} {c.he} saw {k.a} {t}.",
            "{c} did not. {c.he} looked again, and there was {k.a} {t} {p}.",
            'Just then {c} shouted. {c.he} had seen {k.a} {t} {p}.',
        ),
        (
            "",
            "Beside it stood {l.a} {g} with {n} {f.s} in it.",
            "There was {l.a} {g} as well, with {n} {f.s} inside.",
            "Next to it was {l.a} {g}, full of dust and {n} {f.s}.",
        ),
        (
            "{c} laughed because {r}.",
            "They shared it all, and {c} laughed because {r}.",
            "All the way home {c} laughed, because {r}.",
        ),
    ),
    (
        who("q", "b", "had drawn the map", "drew the map"), first("a", "x"),
        why("a", "s", "Why did {a} give up?"), colour("t", "k"), colour("g", "l"),
        spot("t", "p", "Where did {c} see the {t}?"), count("f", "n", "were in the {g}"), why("c", "r",
        "Why did {c} laugh?", "What made {c} laugh?"),
        who("t", "c", "saw the {t}", "found the {t}"), where("a", "q", "Where did the map lead?",
        "Where did the map lead {a}?"),
    ),
    {
        "luck": lines("""
            nobody would believe it
            @he could buy a pony now
            the old story was true
            @he had felt it all day
            @his pockets were full
            @he was rich at last
            @he had only been curious
            the map had been right
            the dust made @him sneeze
            it had been so easy
            @he had nearly gone home
            they had walked past it three times
            """),
        "giveup": lines("""
            @his back hurt
            @he had not eaten
            it began to rain
            the ground was like stone
            @he did not believe in it any more
            @he had blisters
            there were too many flies
            @he wanted to go home
            the spade was broken
            it was getting dark
            they had found only worms
            @he was thirsty
            """),
        "expedition": lines("""
            packed some bread
            put on strong boots
            filled a bottle with water
            took a walking stick
            wrote a short note
            borrowed a spade
            called a friend
            copied the map
            looked for a compass
            buttoned @his jacket
            said goodbye to the cat
            cleaned the lantern
            """),
    },
)  # fmt: skip

LUNCH = Piece(
    "lunch",
    "w:when a:child b:child~a q:outing~a r:nolunch~a t:lunchbox k:colour~t f:fruit n:few~f h:baked m:few~h "
    "c:child~h g:wear~c l:colour~g p:spot~t s:share~b x:play~a y:play~a z:play~a",
    (
        (
            "{w}, the whole class was {q}.",
            "The class had a day out {q}.",
            "{w}, there was a picnic {q}, and everybody was there.",
            "It was noon, and the children sat {q} in the sun.",
        ),
        (
            "Everybody ate. Only {a} was hungry, because {r}.",
            "{a} was hungry because {r}.",
            "All the others had something to eat. {a} was hungry because {r}.",
        ),
        (
            '"Take some of mine," said {b}, and gave {a.him} {n} {f.s}.',
            "{b} saw it and gave {a.him} {n} {f.s}.",
            "Without a word {b} gave {a.him} {n} {f.s}.",
        ),
        (
            "",
            "{c}, who wore {l.a} {g}, put down {m} {h.s} as well.",
            "Then {c} came over in {l.a} {g} and brought {m} {h.s}.",
            "And {c}, in {l.a} {g}, added {m} {h.s}.",
        ),
        ("{b} did it because {s}.", '"Why are you so kind?" somebody asked {b}. It was because {s}.',
         "{b} shared because {s}."),
        FIELD,
        actions("a"),
        (
            "When {a} came home, there was {a.his} {k} {t}. It stood {p}.",
            "And the lunch? It was {p} all day, in {a.his} {k} {t}.",
            "At home {a} found {a.his} {k} {t} {p}, still full.",
        ),
        ("The next day it was {a} who shared.", "", "{a} laughed and ate it for supper.",
         "After that they always ate together."),
    ),
    (
        where("a", "q", "Where was the class?", "Where did the children eat?"),
        why("a", "r", "Why was {a} hungry?", "What was the reason that {a} was hungry?"), count("f", "n",
        "did {b} give {a}", "did {a} get"),
        count("h", "m", "did {c} bring"), who("f", "b", "gave {a} the {f.s}"), who("h", "c", "brought the {h.s}"),
        colour("g", "l", "c"),
        colour("t", "k", "a"), spot("t", "p", "Where did {a} find the {t}?"), why("b", "s", "Why did {b} share?"),
        first("a", "x"),
    ),
    {
        "nolunch": lines("""
            @he had left @his lunch at home
            a crow had stolen @his bread
            @he had missed breakfast
            @he had dropped @his sandwich in the mud
            @he had given @his bread to a poor man
            @his bag was empty
            a goat had eaten @his sandwich
            @he had got up too late
            @he had lost @his bag on the train
            @he had forgotten what day it was
            @he had run all the way
            @his lunch had fallen into the water
            """),
        "share": lines("""
            @he had too much
            @his mother always packed for two
            friends help each other
            @he had been hungry once too
            it tasted better together
            @he could not bear to watch
            it was the right thing to do
            it was only fair
            @he was already full
            @he had promised to be kinder
            nobody should eat alone
            @he knew how it felt
            """),
        "play": lines("""
            climbed a tree
            built a little dam
            ran a race
            flew a paper plane
            drew a picture
            slept in the grass
            caught a grasshopper
            told a funny story
            sang a song
            skipped stones
            made a crown of flowers
            learned a new game
            """),
    },
)  # fmt: skip

ADRIFT = Piece(
    "adrift",
    "w:when a:child c:child~a t:vessel~a k:colour~t q:water~a p:landing~t b:sailor~t g:wear~b l:colour~g f:catch "
    "n:num~f h:baked m:few~h r:untied~c s:fear~a x:build~a y:build~a z:build~a",
    (
        (
            "All summer {a} and {c} had worked on {k.a} {t}.",
            "{a} and {c} had built {k.a} {t} with their own hands.",
            "{k.a} {t} was the pride of {a} and {c}.",
        ),
        ("{w}, they took it out {q}.", "{w}, they met {q}.", "It lay {q}, and {w} they wanted to try it."),
        actions("a"),
        (
            "But {c} had not tied the {t} because {r}.",
            "Then they sat down to eat. {c} had not tied the {t}, because {r}.",
            "Nobody noticed that {c} had not tied the {t}, because {r}.",
        ),
        ("Off it went!", "The wind did the rest, and away it went.", '"Our {t}!" cried {a}, but it was already far '
                                                                     'away.'),
        FIELD,
        (
            "",
            "{a} did not swim after it, because {s}.",
            "{a} stayed on the shore because {s}.",
            "{a} wanted to jump in, but {a.he} stayed on the shore because {s}.",
        ),
        (
            "In the evening {b} came in {l.a} {g}, with {n} {f.s} in a net.",
            "Later they met {b}, in {l.a} {g}, who was carrying {n} {f.s} home.",
            "Towards evening {b} came along in {l.a} {g} with a bucket and {n} {f.s}.",
        ),
        (
            '"Are you looking for something?" asked {b}. {b.he} had found the {t} {p}.',
            "It was {b} who had found the {t} {p}.",
            "And {b} had found the {t} {p}!",
        ),
        ("", "For that {b} got {m} {h.s}.", "They gave {b} {m} {h.s}.",
         "{b} did not want any money, but {b.he} took {m} {h.s}."),
        ("", "The next time they tied two knots.", '"I will learn to tie a knot," said {c}.'),
    ),
    (
        colour("t", "k"), where("a", "q", "Where did {a} and {c} meet?", "Where were {a} and {c}?"),
        first("a", "x"), why("c", "r", "Why had {c} not tied the {t}?", "Why did {c} not tie the {t}?"),
        why("a", "s", "Why did {a} stay on the shore?", "Why did {a} not swim after it?"), colour("g", "l", "b"),
        count("f", "n", "did {b} have"),
        who("t", "b", "found the {t}", "had found the {t}"), where("t", "p", "Where was the {t} found?",
        "Where did {b} find the {t}?"),
        count("h", "m", "did {b} get"),
    ),
    {
        "untied": lines("""
            the rope was too short
            @he was thinking of lunch
            @he had seen an otter
            @his hands were cold
            @he did not know how
            somebody had called @him
            @he had trusted the wind
            the rope had been forgotten at home
            @he was laughing too hard
            the knot was too difficult
            a bee had frightened @him
            @he had left it to the others
            """),
        "fear": lines("""
            the water was too cold
            @he could not swim well
            the waves were high
            @his mother had forbidden it
            @he had eaten too much
            there were sharp stones
            it was too far
            @he wore @his best clothes
            @he had a cough
            the current was strong
            @he was afraid of the eels
            @he had hurt @his arm
            """),
        "build": lines("""
            painted a name on it
            put up a little flag
            swept out the sand
            checked every plank
            packed some sandwiches
            tested the wind
            took off @his shoes
            pushed it into the water
            drank some lemonade
            sang a sailor song
            looked for a long stick
            rolled up @his trousers
            """),
    },
)  # fmt: skip

PLOTS_TRIPS = (TREASURE, LUNCH, ADRIFT)
