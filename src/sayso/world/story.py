"""Tell a story: takes a plot and one or two asides, returns the text and its facts.

Every fact is a question that the text answers, with the roles that word it and its held-out combination. Questions use
only facts whose combination belongs to the split.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from . import words as w
from .asides import ASIDES
from .draw import Redraw, draw_word, generator, split_of
from .piece import Ask, Piece, parse_roles, phrases_for
from .plots_beasts import PLOTS_BEASTS
from .plots_home import PLOTS_HOME
from .plots_out import PLOTS_OUT
from .plots_people import PLOTS_PEOPLE
from .plots_trips import PLOTS_TRIPS
from .replies import restated
from .when import WHEN
from .words import Word

PLACES: dict[str, tuple[Word, ...]] = {
    "spot": w.SPOTS, "outspot": w.OUT_SPOTS, "site": w.SITES, "room": w.ROOMS, "roadside": w.ROADSIDE,
    "house": w.HOUSES,
    "track": w.TRACKS, "wildsite": w.WILDS, "shelter": w.SHELTERS, "outing": w.OUTINGS, "water": w.WATERS,
    "landing": w.LANDINGS, "stall": w.STALLS, "standing": w.STANDING, "grounds": w.GROUNDS, "den": w.DENS,
    "high": w.HIGH,
}  # fmt: skip
ACTORS: dict[str, tuple[Word, ...]] = {
    "child": w.CHILDREN, "adult": w.ADULTS, "person": w.CHILDREN + w.ADULTS, "trade": w.TRADES,
    "sailor": w.TRADES_AT_SEA + w.AUNTS + w.UNCLES, "pet": w.PETS, "wild": w.WILD, "grazer": w.GRAZERS,
    "young": w.CLIMBERS,
}  # fmt: skip
POOLS: dict[str, tuple[Word, ...]] = {
    **PLACES, **ACTORS, "when": WHEN, "num": w.TWO_TO_TWELVE, "few": w.FEW,
    "toy": w.TOYS, "toy2": w.FRAGILE, "wear": w.WEAR, "tool": w.TOOLS, "small": w.SMALL, "gift": w.GIFTS,
    "heirloom": w.HEIRLOOMS, "cover": w.COVERS, "soft": w.SOFT, "holder": w.HOLDERS, "bigholder": w.BIG_HOLDERS,
    "ride": w.RIDES, "carts": w.CARTS, "vessel": w.VESSELS, "paper": w.PAPERS, "lunchbox": w.LUNCHBOXES,
    "ladder": w.LADDERS, "bucket": w.BOWLS,
    "fruit": w.FRUIT, "roots": w.ROOTS, "dug": w.DUG, "baked": w.BAKED, "fruitbake": w.FRUIT_BAKED, "peeled": w.PEELED,
    "dishes": w.DISHES, "stuff": w.STUFF, "yard": w.YARD, "party": w.PARTY, "parts": w.HARDWARE, "stamps": w.STAMPS,
    "collect": w.COLLECTED, "riches": w.RICHES, "prize": w.PRIZES, "catch": w.CATCH, "feed": w.FEED,
    "onlookers": w.ONLOOKERS,
}  # fmt: skip
FAMILY_OF = {
    **dict.fromkeys(PLACES, "where"),
    **dict.fromkeys(ACTORS, "who"),
    "colour": "colour",
    "num": "count",
    "few": "count",
}
ACTIONS = ("x", "y", "z")  # roles of actions; other phrases are reasons
PLOTS = (*PLOTS_HOME, *PLOTS_PEOPLE, *PLOTS_OUT, *PLOTS_TRIPS, *PLOTS_BEASTS)
_LONGEST = 116  # words of a story with an aside
SHORTEST_ASIDE = 15


@dataclass(frozen=True)
class Fact:
    """An answerable question: `ask` words it with `roles`; `scene` is part of its combination."""

    ask: Ask
    roles: Mapping[str, Word]
    scene: str

    @property
    def family(self) -> str:
        """One of the six families of questions about stories."""
        return self.ask.family

    @property
    def combination(self) -> tuple[str, str, str]:
        """The held-out combination: subject, value and scene."""
        return self.roles[self.ask.subject].key, self.roles[self.ask.value].key, self.scene

    @property
    def split(self) -> str:
        """The split that may ask for it."""
        return split_of(*self.combination)

    @property
    def value(self) -> Word:
        """The word that answers it."""
        return self.roles[self.ask.value]

    @property
    def answer(self) -> str:
        """The shortest right answer, as a sentence."""
        return sentence(self.ask.answer.format_map(self.roles))

    def reply(self, question: str, value: Word | None = None) -> str:
        """Return the answer (or another `value`) in a sentence that repeats the question: "The kite was red."."""
        value = value or self.value
        answer = self.ask.answer.format_map({**self.roles, self.ask.value: value})
        return sentence(
            restated(self.family, question, self.roles[self.ask.subject], value, answer, self.roles.values())
        )

    def questions(self) -> tuple[str, ...]:
        """Return its wordings."""
        return tuple(sentence(q.format_map(self.roles), "") for q in self.ask.questions)


@dataclass(frozen=True)
class Story:
    """A text and what can be asked about it."""

    plot: str
    text: str
    facts: tuple[Fact, ...]
    values: Mapping[str, tuple[Word, ...]]  # by family, everything of that type in the story

    def others(self, fact: Fact) -> tuple[Word, ...]:
        """Return the wrong answers of the same type in the story."""
        return tuple(v for v in dict.fromkeys(self.values[fact.family]) if v != fact.value)


CAPITAL = re.compile(r"""(?:^|(?<=[.!?] )|(?<=[.!?] "))[a-z]""")


def sentence(text: str, end: str = ".") -> str:
    """Return `text` with a capital letter and, if it has no end punctuation, `end`."""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else end)


def cast(
    rng: random.Random, piece: Piece, split: str, taken: set[str], values: list[tuple[str, Word]]
) -> dict[str, Word]:
    """Return words for the roles of `piece`, none with a head in `taken`; extends `taken` and `values` (by family)."""
    roles: dict[str, Word] = {}
    for role in parse_roles(piece.roles, piece.asks):
        against = {roles[name].key: scene(piece, roles, role.name, name) for name in role.against}
        phrases = piece.phrases.get(role.pool)
        if phrases:
            pool: Sequence[Word] = phrases_for(phrases, role.against[0])
        else:
            pool = roles[role.against[0]].colours if role.pool == "colour" else POOLS[role.pool]
        word = draw_word(rng, pool, split, against, taken)
        taken.add(word.head)
        if phrases and "{" in word:
            word = Word(word.format_map(roles), key=word.key, head=word.head)
        roles[role.name] = word
        family = ("first" if role.name in ACTIONS else "why") if phrases else FAMILY_OF.get(role.pool)
        if family:
            values.append((family, word))
    return roles


def scene(piece: Piece, roles: Mapping[str, Word], first: str, second: str) -> str:
    """Return the scene of a pair of roles: the piece and its hero, unless the hero is in the pair or drawn later."""
    parsed = parse_roles(piece.roles, piece.asks)
    names = [role.name for role in parsed]
    hero = next((role.name for role in parsed if role.pool in ACTORS), first)
    drawn = hero not in (first, second) and names.index(hero) < max(names.index(first), names.index(second))
    return f"{piece.name} {roles[hero].key}" if drawn else piece.name


def facts_of(piece: Piece, roles: Mapping[str, Word]) -> list[Fact]:
    """Return what can be asked about a piece with these words in its roles."""
    return [Fact(ask, roles, scene(piece, roles, ask.subject, ask.value)) for ask in piece.asks]


def tell(rng: random.Random, split: str, plot: Piece | None = None) -> Story:
    """Return a story of `plot` (None = a random one). Raises `Redraw` if a pool has no value left."""
    plot = plot or PLOTS[int(rng.random() * len(PLOTS))]
    values: list[tuple[str, Word]] = []
    taken: set[str] = set()
    roles = cast(rng, plot, split, taken, values)
    facts = facts_of(plot, roles)
    texts = ["" if beat in ASIDES else wording(rng, beat, roles) for beat in plot.beats]
    size = sum(part.count(" ") + 1 for part in texts if part)
    for place, beat in enumerate(plot.beats):
        if beat not in ASIDES or size > _LONGEST - SHORTEST_ASIDE:
            continue
        aside = ASIDES[beat][int(rng.random() * len(ASIDES[beat]))]
        all_roles = {**roles, **cast(rng, aside, split, taken, values)}
        text = " ".join(wording(rng, part, all_roles) for part in aside.beats)
        if size + text.count(" ") < _LONGEST:
            texts[place] = text
            facts += facts_of(aside, all_roles)
    story = CAPITAL.sub(lambda match: match[0].upper(), " ".join(part for part in texts if part))
    return Story(plot.name, story, *stated(story, facts, values))


def stated(
    text: str, facts: Sequence[Fact], values: Sequence[tuple[str, Word]]
) -> tuple[tuple[Fact, ...], dict[str, tuple[Word, ...]]]:
    """Return the facts and values that the text states, without those of omitted beats."""
    stated_words = set(re.findall(r"[a-z]+", text.lower()))

    def holds(word: Word) -> bool:
        return stated_words.issuperset(parts(word)) or (word.s != word and stated_words.issuperset(parts(word.s)))

    found: dict[str, tuple[Word, ...]] = {}
    for family, word in values:
        if holds(word):
            found[family] = (*found.get(family, ()), word)
    kept = tuple(fact for fact in facts if holds(fact.roles[fact.ask.subject]) and holds(fact.value))
    return kept, found


@lru_cache(maxsize=1 << 16)
def parts(text: str) -> frozenset[str]:
    """Return the words of a phrase."""
    return frozenset(re.findall(r"[a-z]+", text.lower()))


def wording(rng: random.Random, beat: Sequence[str], roles: Mapping[str, Word]) -> str:
    """Return one of the beat's sentences, chosen at random and filled in."""
    text = beat[int(rng.random() * len(beat))].format_map(roles)
    return text[:1].upper() + text[1:]


def make(seed: int, index: int, split: str, *purpose: object) -> tuple[random.Random, Story]:
    """Return a generator for questions, and the story of (seed, index, split, purpose)."""
    for attempt in range(1000):
        rng = generator(seed, index, split, *purpose, attempt)
        try:
            return rng, tell(rng, split)
        except Redraw:
            continue
    raise AssertionError("a plot's pools leave no free value")
