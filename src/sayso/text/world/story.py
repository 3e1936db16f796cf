"""Tells a story: a plot and one or two asides in, the text and its facts out.

Every fact is a question that the text answers, with the roles to word it and its held-out combination. Who reads a story can
check each statement against the facts; who asks takes only facts whose combination belongs to the split.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import words as w
from .asides import ASIDES
from .draw import Redraw, draw, generator, split_of
from .phrases import ACTIONS, PHRASES, REASONS, WHEN, phrases_for
from .piece import ASIDE, Ask, Piece, parse_roles
from .plots import PLOTS_ONE
from .words import Word

POOLS: dict[str, tuple[Word, ...]] = {
    "when": WHEN, "child": w.CHILDREN, "adult": w.ADULTS, "person": w.CHILDREN + w.ADULTS, "pet": w.PETS, "wild": w.WILD,
    "actor": w.CHILDREN + w.ADULTS + w.PETS, "toy": w.TOYS, "wear": w.WEAR, "tool": w.TOOLS, "small": w.SMALL, "goods": w.GOODS,
    "holder": w.HOLDERS, "ride": w.BOATS, "fruit": w.FRUIT, "roots": w.ROOTS, "baked": w.BAKED, "stuff": w.STUFF, "yard": w.YARD,
    "num": w.NUMBERS, "spot": w.SPOTS, "site": w.SITES, "room": w.ROOMS, "tree": w.TREES,
}  # fmt: skip
FAMILY_OF = {
    **dict.fromkeys(("spot", "site", "room", "tree"), "where"), **dict.fromkeys(("child", "adult", "person", "pet", "wild", "actor"), "who"),
    **dict.fromkeys(ACTIONS, "first"), **dict.fromkeys(REASONS, "why"), "colour": "colour", "num": "count",
}  # fmt: skip
PLOTS = PLOTS_ONE
LONGEST = 112  # words


@dataclass(frozen=True)
class Fact:
    """An answerable question: `ask` words it over `roles`; `pair` is its combination."""

    ask: Ask
    roles: Mapping[str, Word]

    @property
    def family(self) -> str:
        return self.ask.family

    @property
    def pair(self) -> tuple[str, str]:
        return self.roles[self.ask.subject].key, self.roles[self.ask.value].key

    @property
    def split(self) -> str:
        return split_of(*self.pair)

    @property
    def value(self) -> Word:
        return self.roles[self.ask.value]

    @property
    def answer(self) -> str:
        return sentence(self.ask.answer.format_map(self.roles))

    def questions(self) -> tuple[str, ...]:
        return tuple(sentence(q.format_map(self.roles), "") for q in self.ask.questions)


@dataclass(frozen=True)
class Story:
    plot: str
    text: str
    facts: tuple[Fact, ...]
    values: Mapping[str, tuple[Word, ...]]  # by family, everything of that type in the story

    def others(self, fact: Fact) -> tuple[Word, ...]:
        """The wrong answers of the same type that the story holds."""
        return tuple(v for v in self.values[fact.family] if v != fact.value)


CAPITAL = re.compile(r"(?:^|(?<=[.!?] ))[a-z]")


def sentence(text: str, end: str = ".") -> str:
    """`text` with a capital letter and `end`, if it has no end yet."""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else end)


def cast(rng: random.Random, piece: Piece, split: str, used: Sequence[Word], values: dict[str, list[Word]]) -> dict[str, Word]:
    """Words for the roles of `piece`, none of them in `used`; `values` collects them by family."""
    roles: dict[str, Word] = {}
    for role in parse_roles(piece.roles):
        against = [roles[name].key for name in role.against]
        if role.pool in PHRASES:
            pool: Sequence[Word] = phrases_for(role.pool, role.against[0])
        else:
            pool = roles[role.against[0]].colours if role.pool == "colour" else POOLS[role.pool]
        word = draw(rng, pool, split, against, (*used, *roles.values()))
        if role.pool in PHRASES:
            word = Word(word.format_map(roles), key=word.key)
        roles[role.name] = word
        if role.pool in FAMILY_OF:
            values.setdefault(FAMILY_OF[role.pool], []).append(word)
    return roles


def tell(rng: random.Random, split: str, plot: Piece | None = None, asides: int = 1) -> Story:
    """A story of a random plot (or the given one); raises Redraw where the drawn roles leave no value free."""
    plot = plot or PLOTS[int(rng.random() * len(PLOTS))]
    pieces = [plot, *rng.sample(ASIDES, asides)]
    values: dict[str, list[Word]] = {}
    scenes: list[dict[str, Word]] = []
    for piece in pieces:
        scenes.append(cast(rng, piece, split, [word for scene in scenes for word in scene.values()], values))
    told = []
    for beat in plot.beats:
        if beat is ASIDE:
            told += [wording(rng, part, scene) for piece, scene in zip(pieces[1:], scenes[1:]) for part in piece.beats]
        else:
            told.append(wording(rng, beat, scenes[0]))
    text = CAPITAL.sub(lambda match: match[0].upper(), " ".join(part for part in told if part))
    facts = tuple(Fact(ask, scene) for piece, scene in zip(pieces, scenes) for ask in piece.asks)
    return Story(plot.name, text, facts, {family: tuple(found) for family, found in values.items()})


def wording(rng: random.Random, beat: Sequence[str], roles: Mapping[str, Word]) -> str:
    text = beat[int(rng.random() * len(beat))].format_map(roles)
    return text[:1].upper() + text[1:]


def make(seed: int, index: int, split: str, *purpose: object) -> tuple[random.Random, Story]:
    """The story of (seed, index, split, purpose), and a generator for what is made of it."""
    for attempt in range(1000):
        rng = generator(seed, index, split, *purpose, attempt)
        try:
            told = tell(rng, split)
        except Redraw:
            continue
        if told.text.count(" ") < LONGEST:
            return rng, told
    raise AssertionError("a plot's pools leave no free value")
