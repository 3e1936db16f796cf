"""Notes: a few plain sentences about several people, with a question for nearly every fact.

They are an easier form of stories: the same questions in the same words about a shorter text, so that a model learns
early to look up answers. Like stories, they are drawn from typed pools and have facts.
"""

from __future__ import annotations

import random

from .asides import ASIDES
from .draw import Redraw, generator
from .piece import Piece, actions, colour, count, first, site, spot, who
from .story import CAPITAL, PLOTS, Fact, Story, cast, facts_of, stated, wording
from .words import Word

PHRASES = {name: lines for plot in PLOTS for name, lines in plot.phrases.items()}
HAD = Piece(
    "had", "d:person v:toy~d j:colour~v",
    (("{d} had {j.a} {v}.", "{d} came along with {j.a} {v}.", "{d} held {j.a} {v} in one hand."),),
    (colour("v", "j", "d"), who("v", "d", "had {v.the}")),
)  # fmt: skip
PICKED = Piece(
    "picked", "d:person e:fruit~d i:num~e",
    (("{d} picked {i} {e.s}.", "There were {i} {e.s}, and {d} picked them."),),
    (count("e", "i", "did {d} pick"), who("e", "d", "picked the {e.s}")),
)  # fmt: skip
_BAKED = Piece(
    "baked", "d:person e:baked~d i:num~e",
    (("{d} baked {i} {e.s}.", "{i} {e.s} were baked by {d}."),),
    (count("e", "i", "did {d} bake"), who("e", "d", "baked the {e.s}")),
)  # fmt: skip
STAYED = Piece(
    "stayed",
    "d:person u:site~d",
    (("{d} was {u}.", "{d} stayed {u}.", "All the while {d} was {u}."),),
    (*site("d", "u"),),
)
LAY = Piece(
    "lay",
    "v:gift j:colour~v u:spot~v",
    (("{j.a} {v} was {u}.", "There was {j.a} {v} {u}."),),
    (spot("v", "u"), colour("v", "j")),
)
# Several of a kind in one breath: what stands before a number or a colour does not tell whose it is, only what follows.
COUNTED = Piece(
    "counted", "d:person e:fruit~d i:num~e f:baked~d j:num~f g:collect~d k:num~g",
    (
        (
            "{d} had {i} {e.s}, {j} {f.s} and {k} {g.s}.",
            "There were {k} {g.s}, {i} {e.s} and {j} {f.s}.",
            "{d} brought {j} {f.s}, {k} {g.s} and {i} {e.s}.",
            "On the table, there were {i} {e.s} and {k} {g.s}, and {j} {f.s} as well.",
        ),
    ),
    (count("e", "i"), count("f", "j"), count("g", "k")),
)  # fmt: skip
LOOKED = Piece(
    "looked", "v:toy j:colour~v t:tool k:colour~t",
    (
        (
            "There was {j.a} {v} and {k.a} {t}.", "{k.a} {t} and {j.a} {v} stood there.",
            "Somebody had left {j.a} {v}, {k.a} {t} and nothing else.",
        ),
    ),
    (colour("v", "j"), colour("t", "k")),
)  # fmt: skip
DID = tuple(
    Piece(
        name, f"d:person x:{name}~d y:{name}~d z:{name}~d", (actions("d"),), (first("d", "x"),), {name: PHRASES[name]}
    )
    for name in ("chore", "cook", "fix", "work")
)
BUSY = tuple(
    piece
    for pieces in ASIDES.values()
    for piece in pieces
    if "{a}" not in str(piece.beats) and any(ask.family == "why" for ask in piece.asks)
)
_PLAIN = (HAD, PICKED, _BAKED, STAYED, LAY)
VALUED = (HAD, LAY, LOOKED, PICKED, _BAKED, COUNTED, COUNTED)
_MOST = 3  # plain sentences in addition to the one with an order and the one with a reason
STATED = 0.25  # share of the colours and counts that a sentence of its own repeats, in the words of an answer
LISTS = 0.8  # share of the notes that list several colours and counts, where guessing from the noun alone fails
LIST = (3, 6)  # sentences of a list


def draw_pieces(rng: random.Random) -> list[Piece]:
    """Return the pieces of one note: a list, or an order and a reason with some plain sentences."""
    if rng.random() < LISTS:
        return [rng.choice(VALUED) for _ in range(rng.randint(*LIST))]
    return [rng.choice(DID), rng.choice(BUSY), *(rng.choice(_PLAIN) for _ in range(rng.randint(0, _MOST)))]


def notes(rng: random.Random, split: str) -> Story:
    """Return two to six sentences, in any order. Raises `Redraw` if a pool has no value left."""
    pieces = draw_pieces(rng)
    rng.shuffle(pieces)
    taken: set[str] = set()
    values: list[tuple[str, Word]] = []
    facts: list[Fact] = []
    sentences: list[str] = []
    for piece in pieces:
        roles = cast(rng, piece, split, taken, values)
        sentences += [wording(rng, beat, roles) for beat in piece.beats]
        facts += facts_of(piece, roles)
    for fact in facts:
        if fact.family in ("colour", "count") and rng.random() < STATED:
            sentences.insert(rng.randint(0, len(sentences)), fact.reply(rng.choice(fact.questions())))
    text = CAPITAL.sub(lambda match: match[0].upper(), " ".join(sentences))
    return Story("notes", text, *stated(text, facts, values))


def make_notes(seed: int, index: int, split: str, *purpose: object) -> tuple[random.Random, Story]:
    """Return a generator for questions, and the notes of (seed, index, split, purpose)."""
    for attempt in range(1000):
        rng = generator(seed, index, split, "notes", *purpose, attempt)
        try:
            return rng, notes(rng, split)
        except Redraw:
            continue
    raise AssertionError("the pools of the notes leave no free value")
