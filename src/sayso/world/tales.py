"""Short tales for instructions: two to six sentences built to order, so that conditions on them hold by construction.

A tale has a start, trouble, help, a turn and an ending; a shorter one omits the middle. Roles: a and b are two
children, c an animal, t a toy, k its colour, p a place, q one outdoors, f a fruit, n a number.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from . import words as w
from .draw import draw_word
from .piece import lines
from .story import sentence
from .words import Word

GLAD = ("happy", "glad", "smiled", "laughed", "joy", "cheered", "hugged", "safe", "friends", "danced", "proud", "sang")
SAD = ("sad", "cried", "lonely", "lost", "gone", "afraid", "angry", "tears", "broken", "alone", "sorry", "never")
DAYS = lines("""
    one day
    one morning
    last summer
    on Sunday
    after lunch
    one evening
    in spring
    on a rainy day
    """)
LONGEST_TALE = 6


@dataclass(frozen=True)
class Tale:
    """Wordings of each part, one sentence each; `topic` is the role that the tale is about."""

    topic: str
    start: tuple[str, ...]
    quick: tuple[str, ...]  # trouble and help in one sentence
    trouble: tuple[str, ...]
    more: tuple[str, ...]
    help: tuple[str, ...]
    turn: tuple[str, ...]
    glad: tuple[str, ...]


FLOWN = Tale(
    "t",
    (
        "{w}, {a} took {a.his} {k} {t} {p.to}.", "{a} had {k.a} {t}, and {w} {a.he} took it {p.to}.",
        "{a} and {b} were {p} with {k.a} {t}.", "There was once {a.a} called {a}, who had {k.a} {t} and lived near "
                                                "{p.the}.",
    ),
    ("The wind carried it off, but {b} caught it.", "It fell into the water, but {b} had a long stick.",
     "{c} ran away with it, but {b} was faster."),
    (
        "Then a gust of wind carried it away.", "But it fell into deep water.", "Before long {c} ran off with it.",
        "After an hour it was nowhere to be found.",
    ),
    ("{a} ran until {a.his} legs hurt.", "It had begun to rain, and nobody was about.",
     "{a} looked behind every tree.", "The sun was already low."),
    (
        "{b} saw it all and came to help.", '"Do not give up," said {b}, and they went on together.',
        "{a} asked {b}, who knew every path.",
        "{b} brought a long stick and {n} {f.s} to eat.",
    ),
    ("At last they saw the {t} in a bush.", "Then {b} held up the {t} and waved.",
     "And there lay the {t}, a little wet but whole.", "An old man had found the {t} and gave it back."),
    ("{a} smiled and shared {n} {f.s} with {b}.", "{a} and {b} laughed all the way home.",
     "{a} hugged {b} and danced in the road.", "That evening {a} was happy and played with {b} by the fire."),
)  # fmt: skip
STRAY = Tale(
    "c",
    (
        "{w}, {a} saw {c.a} {p}.", "{c.a} sat {p} and shivered when {a} came by.",
        "When {a} came {p.to} {w}, {c} was sitting there.",
        "{a} met {c.a} on the way {p.to}.",
    ),
    ("It was hungry, so {a} and {b} gave it some bread.", "It had hurt its foot, but {b} had a bandage.",
     "{a} and {b} gave it {n} {f.s}."),
    ("It was hungry and would not come near.", "It had hurt its foot.",
     "Somebody had chased it, and it was very frightened.", "It did not know where its home was."),
    ("{a} tried everything, but it only looked at {a.him}.", "The night was cold.",
     "People walked past and did not care."),
    ("{b} fetched a blanket and {n} {f.s}.", '"We must be quiet," whispered {b}.',
     "{a} ran to get {b}, who knew what to do.", "{b} had an idea and brought {k.a} {t} for it to play with."),
    ("Slowly {c} came closer and began to eat.", "After a while {c} put its head on {a}'s knee.",
     "On the third day {c} got up and followed them."),
    ("From that day on, {a} and {c} were friends.", "{a} laughed, and {c} slept safe and warm in a box.",
     "How glad {a} was when {c} stayed.", "{c} was safe, and {a} sang on the way home."),
)  # fmt: skip
_BAKED = Tale(
    "f",
    (
        "{w}, {a} wanted to bake a cake with {n} {f.s}.", "{a} had {n} {f.s} and a good plan, which was to bake a "
                                                          "cake.",
        "The kitchen smelled of sugar, for {a} was baking a cake with {n} {f.s}.",
        "{a} picked {n} {f.s} {g} and took them home for a cake.",
    ),
    ("The oven went out, but {b} lit it again.", "There was no flour in the house, so {b} ran home for some.",
     "{b} came in and helped."),
    ("But there was no flour in the house.", "But the oven went out.",
     "Then {c} jumped on the table and ate half of it.", "The cake fell on the floor with a splash."),
    ("{a} sat down and thought.", "There was only one hour left.", "The guests were already at the door."),
    ("{b} came in and rolled up {b.his} sleeves.", "{b} ran home and brought what was missing.",
     '"Let us begin again," said {b}.', "Luckily {b} lived next door."),
    ("The second cake was even better than the first.", "An hour later a new cake stood on the table.",
     "They made small cakes from what was left."),
    ("Everybody laughed and ate, and nothing was left over.", "{a} was proud, and {b} got the largest piece.",
     "They sang and ate until the plates were clean.", "{a} smiled and gave {b} the first piece."),
)  # fmt: skip
BRAVE = Tale(
    "q",
    (
        "All the children {q} could swim except {a}.", "{a} did not dare to climb the big tree {q}.",
        "{w}, {a} stood on a rock {q} and looked down.",
        "{a} wanted to cross the old bridge {q}.",
    ),
    ("{a.his} knees began to shake, but {b} held out a hand.", '"You can do it," said {b}, and {a} closed both eyes.',
     "{b} went first, and {a} came after."),
    ("{a.his} knees began to shake.", "The others called and waved, and that made it worse.", "It looked so high.",
     "{a.he} tried twice, and twice {a.he} turned back."),
    ("The clouds moved slowly.", "A minute went by, and then another.", "{c} watched from the grass."),
    ("{b} held out a hand.", '"Look at me and not at the ground," said {b}.', "{b} stood next to {a.him} and waited.",
     "{b} told {a.him} to take one step, and then one more."),
    ("{a} closed {a.his} eyes and did it.", "Then, step by step, {a} went on.", "Suddenly it was quite easy."),
    ("{a} laughed out loud, and {b} laughed too.", "{a} was so proud that {a.he} did it three more times.",
     "Everybody cheered for {a}.", "After that day {a} and {b} were the best of friends."),
)  # fmt: skip
NEW = Tale(
    "b",
    (
        "{b} was new at school and knew nobody.", "{w}, a child called {b} moved into the house near {p.the}.",
        "{b} sat {p} all by {b.self}.", "Nobody played with {b}, who had come from far away.",
    ),
    ("Then {a} came over with {n} {f.s}.", "Nobody spoke to {b.him} until {a} did.",
     "{a} sat down next to {b.him} and told a joke."),
    ("The others did not ask {b.him} to play.", "{b.he} missed {b.his} old home.",
     "Somebody had taken {b.his} {k} {t}.", "{b.he} hardly said a word."),
    ("It went on like that for a week.", "It rained every day.", "Only {c} kept {b.him} company."),
    ("Then {a} sat down next to {b.him}.", "{a} came over with {n} {f.s}.",
     '"Do you like {f.s}?" asked {a} and held out {n} of them.', "{a} had {k.a} {t}, and {a.he} rolled it over to "
                                                                 "{b.him}."),
    ("{b} looked up and said thank you.", "They found out that they both liked riddles.",
     "Soon they were talking about everything."),
    ("By evening {a} and {b} were friends.", "{b} laughed for the first time in weeks.",
     "The next day {b} sang all the way to school.", "{b} was happy, and so was {a}."),
)  # fmt: skip
TALES = (FLOWN, STRAY, _BAKED, BRAVE, NEW)


def roles_for(rng: random.Random, split: str) -> dict[str, Word]:
    """Return words for the roles of a tale."""
    thing = draw_word(rng, w.TOYS, split)
    child = draw_word(rng, w.CHILDREN, split, {thing.key: ""})
    friend = draw_word(rng, w.CHILDREN, split, {thing.key: ""}, {child.head})
    fruit = draw_word(rng, w.FRUIT[:11], split)
    return {
        "a": Word(str(child), a="a boy" if child.he == "he" else "a girl", he=child.he, him=child.him, his=child.his),
        "b": Word(str(friend), he=friend.he, him=friend.him, his=friend.his,
        self="himself" if friend.he == "he" else "herself"),
        "c": draw_word(rng, w.PETS + w.WILD, split), "t": thing,
        "k": draw_word(rng, thing.colours, split, {thing.key: ""}),
        "p": draw_word(rng, w.SITES, split, {thing.key: ""}), "f": fruit,
        "n": draw_word(rng, w.FEW, split, {fruit.key: ""}),
        "q": draw_word(rng, w.OUTINGS, split), "g": draw_word(rng, w.GROUNDS, split, {fruit.key: ""}),
        "w": rng.choice(DAYS),
    }  # fmt: skip


def tale(rng: random.Random, kind: Tale, roles: dict[str, Word], size: int) -> list[str]:
    """Return `size` sentences (2 to `LONGEST_TALE`) with a happy ending."""
    middle = [kind.trouble, kind.more, kind.help, kind.turn]
    if size == 3:
        parts = [kind.start, kind.quick, kind.glad]
    else:
        kept = {2: (), 4: (0, 2), 5: (0, 2, 3), 6: (0, 1, 2, 3)}[size]
        parts = [kind.start, *(middle[i] for i in kept), kind.glad]
    return [sentence(part[int(rng.random() * len(part))].format_map(roles)) for part in parts]
