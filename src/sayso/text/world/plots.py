"""The plots of the small world, first half: a want, an obstacle, help and an outcome, each beat in several wordings.

Roles by letter: a the hero, b c d others; t a thing, k its colour; g another thing, l its colour; p q places; f h things that
are counted, n m their numbers; x y z three actions in order; r s reasons.
"""

from __future__ import annotations

from .piece import ASIDE, Piece, colour, count, first, site, spot, where, who, why

ACT = (
    "First {a.he} {x}, then {a.he} {y}, and at last {a.he} {z}.",
    "First {a.he} {x}. Then {a.he} {y} and {z}.",
    "{a} {x}. After that {a.he} {y}, and then {a.he} {z}.",
    "Before anything else {a.he} {x}. Then {a.he} {y}, and finally {a.he} {z}.",
    "{a} began at once: {a.he} {x}, {y} and {z}.",
)
SAD = "Why was {a} sad?", "Why did {a} feel sad?", "What made {a} so sad?"

LOST = Piece(
    "lost",
    "w:when a:child t:toy~a k:colour~t b:child~t p:spot~t g:wear~b l:colour~g f:baked n:num~f r:sadlost~a x:search~a y:search~a z:search~a",
    (
        (
            "{w}, {a} could not find {a.his} {k} {t}.",
            "{w}, {a} wanted to play with {a.his} {k} {t}, but it was gone.",
            "{a} had {k.a} {t}. {w}, it was nowhere to be seen.",
            '"My {k} {t} is gone!" cried {a} {w}.',
        ),
        ("{a.he} was sad because {r}.", "{a.he} was very sad, because {r}.", "{a} felt sad because {r}."),
        ACT,
        ("It did not help.", "There was no sign of it.", "", "But the {t} stayed lost."),
        ASIDE,
        (
            '"Let me look," said {b}, a friend in {l.a} {g}.',
            "Then {b} came by in {l.a} {g} and offered to help.",
            'A friend in {l.a} {g} walked up. It was {b}. "Two can look better than one," {b.he} said.',
            "{b}, who wore {l.a} {g}, heard about it and came over.",
        ),
        (
            "{b} found the {t} {p}.",
            "Soon {b} found the {t}. It was {p}.",
            "It was {b} who found the {t} {p}.",
            '"Here it is!" called {b}. {b.he} had found the {t} {p}.',
        ),
        (
            "{a} was so glad that {a.he} gave {b} {n} {f.s}.",
            "To say thank you, {a} gave {b.him} {n} {f.s}.",
            "{a} laughed again and gave {b.him} {n} {f.s} from the kitchen.",
        ),
        ("", "", "They played together until it was dark.", "From then on {a} kept it close.", '"What would I do without you?" said {a}.'),
    ),
    (
        colour("t", "k", "a"), colour("g", "l", "b"), why("a", "r", *SAD), first("a", "x"), who("t", "b", "found the {t}"),
        spot("t", "p", "Where did {b} find the {t}?", "Where was the {t} found?"), count("f", "n", "did {a} give {b}"),
    ),
)  # fmt: skip

GIFT = Piece(
    "gift",
    "w:when a:child b:person~a t:goods~b k:colour~t g:holder l:colour~g p:spot~t c:child~t f:stuff n:num~f r:party~b x:ready~a y:ready~a z:ready~a",
    (
        (
            "{a} wanted to surprise {b}, because {r}.",
            "{w}, {a} planned a surprise for {b} because {r}.",
            'There was to be a party for {b}, because {r}. "I need a present," thought {a}.',
        ),
        (
            "In a shop {a.he} bought {k.a} {t} and {n} {f.s}.",
            "With all {a.his} money {a.he} bought {k.a} {t} and {n} {f.s}.",
            "{a.he} chose {k.a} {t} and {n} {f.s}, and paid for them with {a.his} own coins.",
        ),
        (
            "The {t} had to stay a secret, so {a} hid it {p}.",
            "{a.he} hid the {t} {p}, where no one would look.",
            "{a} put the {t} {p} and told nobody.",
        ),
        ASIDE,
        (
            "But {c} saw the {t} and packed it into {l.a} {g}.",
            "It was {c} who packed the {t} into {l.a} {g}, with a ribbon on top.",
            '"You need paper for that," said {c}, and {c} packed the {t} into {l.a} {g}.',
        ),
        ("On the day of the party {a} was up early.", "At last the day came.", "Then it was time to go."),
        ACT,
        (
            '"For me?" asked {b}, and {b.his} eyes grew wide.',
            "{b} was so happy that {b.he} hugged them both.",
            "{b} looked inside, and for a moment {b.he} could not speak.",
            '"It is just what I wished for," said {b}.',
        ),
    ),
    (
        why("b", "r", "Why was there a surprise for {b}?", "Why did {a} want to surprise {b}?"), colour("t", "k"), colour("g", "l"),
        count("f", "n", "did {a} buy"), spot("t", "p", "Where did {a} hide the {t}?", "Where was the {t} hidden?"),
        who("t", "c", "packed the {t}"), first("a", "x"),
    ),
)  # fmt: skip

BORROWED = Piece(
    "borrowed",
    "w:when b:adult t:tool~b k:colour~t a:child~t p:spot~t g:wear~b l:colour~g f:roots n:num~f r:cross~b x:work~a y:work~a z:work~a q:site~a",
    (
        (
            "{w}, {a} borrowed {k.a} {t} from {b} and took it home.",
            "{a} had to help {q}, but {a.he} had no {t}. So {a.he} borrowed {k.a} {t} from {b}.",
            '"May I take your {t}?" {a} asked {b}. It was {k.a} {t}, almost new.',
        ),
        ("Then {a} went to work {q}.", "{a.he} spent the whole day {q}."),
        ACT,
        (
            "In the evening {a} left the {t} {p} and forgot about it.",
            "When it got late, {a} ran home and left the {t} {p}.",
            "{a.he} was so tired that {a.he} left the {t} {p}.",
        ),
        ASIDE,
        (
            "The next day {b} came in {l.a} {g}. {b.he} was angry because {r}.",
            "Soon there was a knock. There stood {b} in {l.a} {g}, angry because {r}.",
            "{b} was angry because {r}. {b.he} pulled on {l.a} {g} and went to see {a}.",
        ),
        (
            '"I am sorry," said {a}, and {a.he} brought the {t} back with {n} {f.s} from the garden.',
            "{a} blushed. {a.he} gave back the {t}, and {n} {f.s} with it.",
            "{a} cleaned the {t} well and brought it back with {n} {f.s}.",
        ),
        ("{b} had to smile.", '"Well, well," said {b}, "no harm done."', "", "After that they were friends again."),
    ),
    (
        colour("t", "k"), colour("g", "l", "b"), who("t", "a", "borrowed the {t}"), first("a", "x"),
        spot("t", "p", "Where did {a} leave the {t}?", "Where was the {t} left?"),
        why("b", "r", "Why was {b} angry?", "What made {b} angry?", "Why did {b} get angry?"),
        count("f", "n", "did {b} get"), where("a", "q", "Where did {a} work?", "Where was {a} working?"),
    ),
)  # fmt: skip

STORM = Piece(
    "storm",
    "w:when a:person b:person~a c:child p:room~a q:site~c t:goods~c k:colour~t g:wear~b l:colour~g f:yard n:num~f r:worried~a x:ready~c y:ready~c z:ready~c",
    (
        (
            "The storm came {w}.",
            "{w}, the wind began to howl.",
            "Nobody had expected the storm.",
            "{w}, thunder rolled over the village.",
        ),
        (
            "{a} stood {p} and was worried because {r}.",
            "{a} waited {p}. {a.he} was worried because {r}.",
            '"This is bad," said {a}, who was {p}. {a.he} was worried because {r}.',
        ),
        ("{n} {f.s} were still in the field.", "Out in the rain stood {n} {f.s}, all wet.", "{n} {f.s} cried in the yard."),
        ASIDE,
        (
            "{b} put on {l.a} {g} and ran out to save the {f.s}.",
            "So {b} took {l.a} {g}, ran out and saved the {f.s}.",
            '"I will go," said {b}. In {l.a} {g} {b.he} ran out and saved the {f.s}.',
        ),
        (
            "{c} was on the way home from school, with {k.a} {t} under one arm.",
            "Only {c} was missing. {c.he} had gone to fetch {k.a} {t} for the house.",
            "But where was {c}? {c.he} had gone out with {k.a} {t}.",
        ),
        (
            "When the storm was over, they found {c} {q}, safe and sound.",
            "Later they found {c} {q}. {c.he} was cold but safe.",
            "At last {c} was found {q}, wet to the skin.",
        ),
        (
            "At home {c} {x}, {y} and {z}.",
            "As soon as {c} was home, {c.he} {x}. Then {c.he} {y}, and after that {c.he} {z}.",
            "Once at home, {c} first {x}, then {y} and at last {z}.",
        ),
    ),
    (
        why("a", "r", "Why was {a} worried?", "What made {a} worried?", "Why did {a} feel worried?"), *site("a", "p"),
        count("f", "n", "were outside"), who("a", "b", "saved the {f.s}"), colour("g", "l", "b"), colour("t", "k"),
        where("c", "q", "Where did they find {c}?", "Where was {c} found?"), first("c", "x"),
    ),
)  # fmt: skip

RACE = Piece(
    "race",
    "w:when a:child b:child c:actor~a t:ride~a k:colour~t g:wear~b l:colour~g q:site~a p:spot~t f:stuff n:num~f r:proud~b s:tired~a x:ready~a y:ready~a z:ready~a",
    (
        (
            "{w}, {a} and {b} wanted to know who was faster.",
            '"I am faster than you," said {a}. "Let us see," said {b}.',
            "There was a great race {w}.",
        ),
        ACT,
        (
            "The race began {q}. {a} came with {k.a} {t}, and {b} wore {l.a} {g}.",
            "They met {q}: {b} in {l.a} {g}, and {a} with {k.a} {t}.",
            "{a} brought {k.a} {t} and {b} wore {l.a} {g}. The race started {q}.",
        ),
        ("{c} gave the sign.", "{c} rang a bell, and off they went.", "{c} counted to three, and the race was on."),
        ASIDE,
        (
            "Halfway there {a} stopped to rest because {s}.",
            "{a} was ahead, but then {a.he} stopped because {s}.",
            "After a while {a} stopped and sat down, because {s}.",
        ),
        ("In the end it was {b} who won the race.", "So {b} won the race.", "{b} ran past and won the race."),
        (
            "The prize was {n} {f.s}, and {b} was proud because {r}.",
            "{b} got {n} {f.s} as a prize. {b.he} was proud because {r}.",
            "{b.he} won {n} {f.s} and was proud, because {r}.",
        ),
        ('"Next time!" said {a}, and they shook hands.', "", "{a} clapped louder than anyone.", "{a} left the {t} behind and walked home with {b}."),
    ),
    (
        first("a", "x"), where("a", "q", "Where did the race begin?", "Where did the race start?"), colour("t", "k", "a"), colour("g", "l", "b"),
        why("a", "s", "Why did {a} stop?", "Why did {a} rest?"), who("g", "b", "won the race"), count("f", "n", "did {b} win"),
        why("b", "r", "Why was {b} proud?", "What made {b} proud?", "Why did {b} feel proud?"),
    ),
)  # fmt: skip

COOKING = Piece(
    "cooking",
    "w:when a:person h:baked~a b:person~h g:wear~a l:colour~g c:pet t:holder~c k:colour~t f:fruit n:num~f m:num~h r:tocook~a s:hurry~a x:cook~a y:cook~a z:cook~a p:spot~h",
    (
        (
            "{w}, {a} put on {l.a} {g} and made {h.s} because {r}.",
            "{a} made {h.s} {w}, because {r}. {a.he} wore {l.a} {g}.",
            "Smoke rose from the chimney: {a}, in {l.a} {g}, was making {h.s} because {r}.",
        ),
        ACT,
        (
            "{a.he} cut up {n} {f.s} and baked {m} {h.s}.",
            "It took {n} {f.s} to bake {m} {h.s}.",
            "With {n} {f.s} {a.he} baked {m} {h.s}, golden and round.",
        ),
        (
            "Then {a.he} went out in a hurry because {s}.",
            "{a.he} left in a hurry, because {s}.",
            "But {a.he} had to leave the kitchen because {s}.",
        ),
        ASIDE,
        (
            "When {a.he} came back, the {h.s} were gone!",
            "Later all the {h.s} were gone.",
            '"Who took my {h.s}?" cried {a} afterwards.',
        ),
        (
            "{c} sat beside {k.a} {t} and looked innocent.",
            "{c} slept in {k.a} {t}, too full to move? No, {c} was hungry.",
            "Everybody looked at {c}, who hid behind {k.a} {t}.",
        ),
        (
            "But it was {b} who had hidden the {h.s} {p}, as a joke.",
            'Then {b} laughed. {b.he} had hidden the {h.s} {p}. "It was only a joke!"',
            "It turned out that {b} had hidden the {h.s} {p} for fun.",
        ),
        ("They all sat down and ate.", "", "And {c} got the first bite.", "What a feast that was!"),
    ),
    (
        colour("g", "l", "a"), why("a", "r", "Why did {a} make {h.s}?", "Why was {a} making {h.s}?"), first("a", "x"),
        count("f", "n", "did {a} use"), count("h", "m", "did {a} bake"), why("a", "s", "Why did {a} leave?", "Why did {a} go out?"),
        colour("t", "k"), who("h", "b", "had hidden the {h.s}"), where("h", "p", "Where were the {h.s}?", "Where were the {h.s} hidden?"),
    ),
)  # fmt: skip

HIDDEN = Piece(
    "hidden",
    "w:when a:child t:small~a k:colour~t b:adult~t c:child~t q:site~a p:spot~t g:holder~c l:colour~g f:stuff n:num~f r:proud~c s:tired~a x:ready~a y:ready~a z:ready~a",
    (
        (
            "{w}, {a} found an old map in a book.",
            "An old map lay in the attic, and {a} found it {w}.",
            '"Look, a treasure map!" said {a} {w}.',
        ),
        ("{b} had drawn the map long ago.", "It was {b} who had drawn the map.", "As everybody knew, {b} had drawn the map."),
        ACT,
        (
            "The map led {a.him} and {c} to a place {q}.",
            "Together with {c} {a.he} followed the map. They dug a hole {q}.",
            "{a} and {c} followed the lines, and then they stood {q}.",
        ),
        ASIDE,
        ("After an hour {a} gave up because {s}.", "{a} wanted to give up because {s}.", '"I give up," said {a}, because {s}.'),
        (
            "But {c} kept looking, and {p} {c.he} saw {k.a} {t}.",
            "{c} did not. {c.he} looked again, and there was {k.a} {t} {p}.",
            "Just then {c} saw {k.a} {t} {p}.",
        ),
        (
            "Beside it stood {l.a} {g} with {n} {f.s} in it.",
            "There was {l.a} {g} as well, with {n} {f.s} inside.",
            "Next to it was {l.a} {g}, full of dust and {n} {f.s}.",
        ),
        (
            "{c} was proud because {r}.",
            "How proud {c} was, because {r}!",
            "They shared the treasure, and {c} was proud because {r}.",
        ),
    ),
    (
        who("t", "b", "had drawn the map"), first("a", "x"), why("a", "s", "Why did {a} give up?", "Why did {a} want to give up?"),
        colour("t", "k"), colour("g", "l"), spot("t", "p", "Where did {c} see the {t}?", "Where was the {t} hidden?"), count("f", "n", "were in the {g}"),
        why("c", "r", "Why was {c} proud?", "What made {c} proud?"), who("t", "c", "saw the {t}"),
        where("a", "q", "Where did the map lead?", "Where did the map lead {a}?"),
    ),
)  # fmt: skip

PLOTS_ONE = (LOST, GIFT, BORROWED, STORM, RACE, COOKING, HIDDEN)
