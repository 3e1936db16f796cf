"""Short tales for instructions: a few sentences built to order, so that conditions on them hold by construction."""

from __future__ import annotations

import random

from . import words as w
from .draw import draw
from .story import sentence
from .words import Word

GLAD = ("happy", "glad", "smiled", "laughed", "joy", "cheered", "hugged", "safe", "friends", "danced", "proud", "sang")
SAD = ("sad", "cried", "lonely", "lost", "gone", "afraid", "angry", "tears", "broken", "alone", "sorry", "never")

START = (
    "{w}, {a} went {p.to} with {k.a} {t}.",
    "{a} had {k.a} {t} and took it {p.to} {w}.",
    "There once was {a.a} called {a}, who lived near {p.the} and had {k.a} {t}.",
    "{a} loved to play {p} with {k.a} {t}.",
)
TROUBLE = (
    "But the {t} fell into the water, and {a} cried.",
    "Then the wind took the {t} away, and {a} was sad.",
    "Suddenly {c} grabbed the {t} and ran away.",
    "After a while {a} could not find the {t}.",
)
HELP = (
    "{c} saw it and came to help.",
    '"Wait for me," said {c}, and ran after it.',
    "{b} heard the noise and came with {n} {f.s} in a bag.",
    "{a} called {b}, and together they looked for it.",
    "They asked {c}, who knew every path.",
)
MORE = (
    "It began to rain, but they did not stop.",
    "They looked behind every tree.",
    "The sun was already low.",
    "It took them all afternoon.",
)
TURN = (
    "At last they got the {t} back.",
    "Then {b} came back with the {t}.",
    "In the grass, there lay the {t}.",
    "Soon the {t} was in {a.his} hands again.",
)
GLAD_END = (
    "{a} smiled and shared {n} {f.s} with {b}.",
    "{a} and {b} laughed all the way home.",
    "From that day on, they were the best of friends.",
    "{a} was so happy that {a.he} danced.",
    "{a} hugged {b}, and everybody was glad.",
    "That night {a} sang for joy.",
)
SAD_END = (
    "But it was broken, and {a} cried all night.",
    "{a} never found it, and went home alone.",
    "So {a} sat there, sad and alone.",
    "It was gone, and {a} was very sad.",
)


def roles_for(rng: random.Random, split: str) -> dict[str, Word]:
    """A child, a thing, a friend, an animal and a place for a tale."""
    thing = draw(rng, w.TOYS, split)
    child = draw(rng, w.CHILDREN, split, [thing.key])
    friend = draw(rng, w.CHILDREN, split, [thing.key], {child.key})
    fruit = draw(rng, w.FRUIT, split)
    child = Word(str(child), a="a boy" if child.he == "he" else "a girl", he=child.he, him=child.him, his=child.his)
    return {
        "a": child, "b": friend, "c": draw(rng, w.PETS + w.WILD, split), "t": thing, "k": draw(rng, thing.colours, split, [thing.key]),
        "p": draw(rng, w.SITES, split, [thing.key]), "f": fruit, "n": draw(rng, w.NUMBERS, split, [fruit.key]),
        "w": rng.choice((Word("one day"), Word("one morning"), Word("last summer"), Word("on Sunday"), Word("after lunch"))),
    }  # fmt: skip


def tale(rng: random.Random, roles: dict[str, Word], size: int = 5, glad: bool = True) -> list[str]:
    """`size` sentences (2 to 6): a start, trouble, help, a turn, and an ending of the asked mood."""
    middle = [TROUBLE, HELP, MORE, TURN]
    keep = {2: [], 3: [0], 4: [0, 3], 5: [0, 1, 3], 6: [0, 1, 2, 3]}[size]
    if not glad:
        keep = [i for i in keep if i != 3] + ([2] if 3 in keep and 2 not in keep else [])
    beats = [START, *(middle[i] for i in keep), GLAD_END if glad else SAD_END]
    return [sentence(rng.choice(beat).format_map(roles)) for beat in beats]
