"""Plots out of doors: a borrowed tool, a storm, a race, a map, a shared lunch, a drifting boat.

Roles and phrases as in `plots_home.py`.
"""

from __future__ import annotations

from .piece import FIELD, HOME, WAY, Piece, actions, colour, count, first, lines, site, spot, where, who, why

BORROWED = Piece(
    "borrowed",
    "w:when b:adult t:tool~b k:colour~t a:child~t q:site~a p:outspot~t g:wear~b l:colour~g f:roots n:num~f "
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

PLOTS_OUT = (BORROWED, STORM, RACE, TREASURE, LUNCH, ADRIFT)
