"""Plots at home: lost and found, a surprise, baking, something broken.

Roles by letter: a is the hero, b c others; t a thing, k its colour; g another thing, l its colour; p q places; f h
things that are counted, n m their numbers; x y z three actions in order; r s reasons. Phrases refer to the person who
acts as @he, @him, @his.
"""

from __future__ import annotations

from .piece import HOME, Piece, actions, colour, count, first, lines, site, spot, where, who, why

LOST = Piece(
    "lost",
    "w:when a:child t:toy~a k:colour~t b:child~t p:spot~t g:wear~b l:colour~g f:baked n:few~f r:dear~a x:search~a "
    "y:search~a z:search~a",
    (
        (
            "{w}, {a} could not find {a.his} {k} {t} anywhere.",
            '"Has anybody seen my {k} {t}?" {a} asked {w}. Nobody had.',
            "{a} had {k.a} {t} and hardly ever put it down. But {w} it was gone.",
            "{w}, {a} wanted to play with {a.his} {k} {t}, but it was not in its place.",
            "How could {k.a} {t} simply disappear? {w}, that was all {a} could think about.",
        ),
        (
            "{a} was sad because {r}.",
            "{a.he} was very sad, because {r}.",
            "{a} felt sad and did not want to eat, because {r}.",
            "It was not a big thing to lose, but {a} was sad because {r}.",
        ),
        actions("a"),
        ("It was no use.", "There was no sign of it.", "", "Still no {t}.", "But the {t} stayed lost."),
        HOME,
        (
            '"Two can look better than one," said {b}, and {b.he} threw {b.his} {l} {g} over a chair.',
            "At noon {b} came over in {b.his} {l} {g} and offered to help.",
            "Then {b} from next door came in, still in {b.his} {l} {g}.",
            '"You look as if it were raining," said {b}, who had come in {l.a} {g}. Then {b.he} heard the story.',
        ),
        (
            "{b} found the {t} within a minute. It was {p}.",
            "It was {b} who found the {t} {p}, covered in dust.",
            '"Is this it?" {b} called soon after. {b.he} had found the {t} {p}.',
            "They looked together, and {b} found the {t} {p}.",
        ),
        (
            "",
            "{a} was so glad that {a.he} gave {b} {n} {f.s}.",
            "To say thank you, {a} gave {b.him} {n} {f.s}.",
            '"You have earned this," said {a}, and gave {b.him} {n} {f.s}.',
        ),
        (
            "", "They played together until it was dark.", "That night {a} did not let go of it.",
            '"What would I do without you?" said {a}.', "And after that they both went out to play.",
        ),
    ),
    (
        colour("t", "k", "a"), colour("g", "l", "b"), why("a", "r", "Why was {a} sad?", "Why did {a} feel sad?",
        "What made {a} so sad?"),
        first("a", "x"), who("t", "b", "found the {t}"), spot("t", "p", "Where did {b} find the {t}?",
        "Where was the {t} found?"),
        count("f", "n", "did {a} give {b}", "did {b} get"),
    ),
    {
        "dear": lines("""
            it had been a present from @his grandmother
            @he had only had it for a week
            @he took it everywhere
            @his father had made it
            it could not be bought in any shop
            @he had promised to take care of it
            it came from an old friend
            @he had wanted to show it at school
            @he had saved money for it all year
            it had once belonged to @his mother
            it reminded @him of the summer
            @he had won it at the fair
            """),
        "search": lines("""
            emptied @his pockets
            looked under the carpet
            asked the neighbours
            moved all the chairs
            went back along the road
            lit a lantern
            turned over the pillows
            opened all the boxes
            put up a little notice
            shook out the blankets
            asked @his father
            searched the whole garden
            looked through the toy chest
            """),
    },
)  # fmt: skip

SURPRISE = Piece(
    "surprise",
    "w:when b:adult a:child~b t:gift~b k:colour~t g:bigholder l:colour~g p:spot~t c:child~t f:party n:num~f "
    "r:feast~b x:decorate~a y:decorate~a z:decorate~a",
    (
        (
            "{a} wanted to give {b} a surprise, because {r}.",
            "{w}, {a} planned a surprise for {b} because {r}.",
            "There had to be a surprise for {b}, {a} decided, because {r}.",
        ),
        (
            "In the little shop {a} bought {k.a} {t} and {n} {f.s}.",
            "With all {a.his} money {a} bought {k.a} {t} and {n} {f.s}.",
            "{a} looked at everything in the shop, and in the end {a.he} bought {k.a} {t} and {n} {f.s}.",
            'The shop was full of pretty things. "I will take {k.a} {t} and {n} {f.s}," said {a} at last.',
        ),
        (
            "Nobody was to see the {t}, so {a} hid it {p}.",
            "{a} hid the {t} {p}, where no one would look.",
            "Until the great day {a} kept the {t} {p}.",
        ),
        (
            "{c} could keep a secret, and {c.he} wrapped the {t} and put it into {l.a} {g}.",
            "It was {c} who wrapped the {t} and laid it in {l.a} {g}.",
            '"You need paper for that," said {c}. {c.he} wrapped the {t} and hid the parcel in {l.a} {g}.',
        ),
        HOME,
        ("At last the day came.", "The day came, and {a} was up before the sun.", "Then there was only one hour left."),
        actions("a"),
        (
            '"For me?" asked {b}, and {b.his} eyes grew wide.',
            "When {b} came in, for a moment {b.he} could not speak. Then {b.he} hugged them both.",
            '"It is just what I wished for," said {b}.',
            "{b} opened the door and stood still. Then {b.he} began to laugh for joy.",
        ),
    ),
    (
        why("b", "r", "Why was there a surprise for {b}?", "Why did {a} plan a surprise?"), colour("t", "k"),
        colour("g", "l"),
        count("f", "n", "did {a} buy"), spot("t", "p", "Where did {a} hide the {t}?", "Where was the {t} hidden?"),
        who("t", "c", "wrapped the {t}"), first("a", "x"), who("t", "a", "bought the {t}"),
    ),
    {
        "feast": lines("""
            it was @his birthday
            @he had been ill all winter
            @he had helped so many people
            @he had come home from the sea
            @he had worked for forty years
            @he had looked sad for days
            @he was moving to another town
            @he had always been kind
            @he had won a prize
            @he had just got married
            @he had never had a real party
            @he had saved a child from the river
            """),
        "decorate": lines("""
            hung up paper flowers
            set the table
            lit the candles
            swept the floor
            cut the cake
            tuned the fiddle
            put on clean clothes
            blew up the balloons
            filled the glasses
            called the guests
            put out the chairs
            wrote a big sign
            """),
    },
)  # fmt: skip

BAKING = Piece(
    "baking",
    "w:when a:person h:fruitbake~a b:child~h g:wear~a l:colour~g c:pet t:holder~c k:colour~t f:fruit n:num~f "
    "m:num~h r:bake~a s:call~a x:cook~a y:cook~a z:cook~a p:spot~h",
    (
        (
            "{w}, {a} made {h.s} because {r}.",
            "A sweet smell came from the kitchen. {a} was making {h.s}, because {r}.",
            "{a} made {h.s} {w}, because {r}.",
        ),
        ("", "{a.he} took off {a.his} {l} {g} and set to work.", "{a.his} {l} {g} hung on the door.",
         "{a.he} hung {a.his} {l} {g} on a nail and began."),
        actions("a"),
        (
            "{a.he} cut up {n} {f.s}, and soon {m} {h.s} stood on the table.",
            "It took {n} {f.s} to make {m} {h.s}, golden and round.",
            "With {n} {f.s} {a.he} baked {m} {h.s}.",
        ),
        HOME,
        ("Then {a} left the kitchen because {s}.", "But {a} had to leave, because {s}.",
         "Just then {a} left the house because {s}."),
        (
            "When {a.he} came back, the table was empty!",
            "Ten minutes later all the {h.s} were gone.",
            '"Who took my {h.s}?" cried {a} afterwards.',
        ),
        (
            "",
            "{c} lay beside {k.a} {t} and looked away.",
            "Everybody looked at {c}, who sat behind {k.a} {t}.",
            "There was only {c}, sniffing at {k.a} {t}.",
        ),
        (
            "But it was {b} who had hidden the {h.s} {p}, as a joke.",
            'Then {b} began to laugh. {b.he} had hidden the {h.s} {p}. "It was only a joke!"',
            "In the end {b} could not keep a straight face. {b.he} had hidden the {h.s} {p}.",
        ),
        ("They all sat down and ate.", "", "What a meal that was!", '"You will wash the dishes," said {a}, and '
                                                                    '{a.he} meant it.'),
    ),
    (
        colour("g", "l", "a"), why("a", "r", "Why did {a} make {h.s}?", "Why was {a} making {h.s}?"), first("a", "x"),
        count("f", "n", "did {a} use"), count("h", "m", "did {a} bake"), why("a", "s", "Why did {a} leave?",
        "Why did {a} go out?"),
        colour("t", "k"), who("h", "b", "had hidden the {h.s}", "hid the {h.s}"),
        where("h", "p", "Where were the {h.s}?", "Where were the {h.s} hidden?"),
    ),
    {
        "bake": lines("""
            guests were coming
            there was a feast that night
            @he wanted to thank the doctor
            the school had asked for them
            @his sister loved them
            the fair was the next day
            @he wanted to cheer up a friend
            the plates were empty
            @he had found an old recipe
            it was too wet to go outside
            @he had lost a bet
            the whole family was hungry
            """),
        "call": lines("""
            the postman knocked
            a goose was in the garden
            the milk was finished
            somebody called @his name
            a neighbour needed help
            the church bell rang
            it had begun to rain on the washing
            @he had forgotten the sugar
            @he heard a strange noise
            the baby woke up
            a cart had stopped outside
            the hens were out again
            """),
        "cook": lines("""
            washed @his hands
            melted the butter
            measured the flour
            lit the oven
            cracked the eggs
            tied on an apron
            warmed the milk
            read the recipe
            greased the pan
            weighed the sugar
            wiped the table
            fetched the salt
            """),
    },
)  # fmt: skip

_BROKEN = Piece(
    "broken",
    "w:when a:child t:toy2~a k:colour~t c:child~t b:adult~t q:room~b g:wear~b l:colour~g f:parts n:num~f h:baked "
    "m:few~h r:broke~c s:upset~a x:fix~b y:fix~b z:fix~b",
    (
        (
            "{w}, {c} broke {a}'s {k} {t} because {r}.",
            "{a} had lent {c} {a.his} {k} {t}. {w}, {c} broke it because {r}.",
            '"I did not mean to!" said {c}. {c.he} had broken {a}\'s {k} {t}, because {r}.',
        ),
        ("{a} was close to tears because {s}.", "{a} was unhappy, because {s}.", "That made {a} unhappy because {s}."),
        HOME,
        (
            '"Take it to {b}," said {a.his} mother. {b} was {q}, in {l.a} {g}.',
            "They carried it to {b}, who was {q} in {l.a} {g}.",
            "There was one person who could mend it. {b} was {q}, in {b.his} old {l} {g}.",
        ),
        actions("b"),
        (
            "{b.he} used {n} {f.s}, and then the {t} was as good as new.",
            "It took {n} {f.s} and a lot of patience, but {b} mended the {t}.",
            "With {n} {f.s} {b} mended the {t}.",
        ),
        (
            "",
            '"What do I owe you?" asked {c}. "Only {m} {h.s}," said {b}.',
            "{c} thanked {b.him} with {m} {h.s}.",
            "The next day {c} brought {b.him} {m} {h.s}.",
        ),
        ("{a} forgave {c}, and they played until supper.", "", "After that {c} was careful, very careful.",
         '"Friends again?" asked {c}. "Friends," said {a}.'),
    ),
    (
        colour("t", "k", "a"), who("t", "c", "broke the {t}"), why("c", "r", "Why did {c} break the {t}?",
        "Why had {c} broken the {t}?"),
        why("a", "s", "Why was {a} unhappy?", "What made {a} unhappy?"), *site("b", "q"), colour("g", "l", "b"),
        count("f", "n", "did {b} use"), count("h", "m", "did {b} get", "did {c} bring"), first("b", "x"),
    ),
    {
        "broke": lines("""
            @he had stepped on it
            @he had dropped it on the stairs
            @he had pulled too hard
            @he had thrown it too high
            @he had left it out in the rain
            @he had sat on it
            @he had tried to make it faster
            @he had slipped on the wet grass
            @he had not looked where @he was going
            @he had let the puppy play with it
            @he had run into a wall with it
            @he had wanted to see what was inside
            """),
        "upset": lines("""
            there was no money for a new one
            it had been a birthday present
            the holidays had only begun
            @he had painted it with @his own hands
            @he had owned it since @he was small
            it was older than @his father
            no other toy was so good
            @he had wanted to take it to the lake
            there was not another one in the village
            @his brother was in the army and had sent it
            @he needed it for the parade
            @his aunt would ask about it
            """),
        "fix": lines("""
            cleaned the pieces
            mixed the glue
            sharpened a knife
            drew a little plan
            took out the old screws
            cut a strip of leather
            sanded the wood
            oiled the joints
            bent a wire
            threaded a needle
            turned on the lamp
            put on @his glasses
            """),
    },
)  # fmt: skip


PLOTS_HOME = (LOST, SURPRISE, BAKING, _BROKEN)
