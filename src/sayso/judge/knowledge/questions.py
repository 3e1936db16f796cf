"""The questions that a model is asked, in groups, and those that it may practice on: two sides that share no subject.

Takes documents with titles, those that the life trains on and others; returns facts. `trained` are of documents that
the life trains on, `held_out` of others, and `invented` are about subjects that are in no document.
"""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sayso.judge.held_out import rank
from sayso.judge.knowledge.facts import KINDS, Fact, facts_of

GROUPS = ("trained", "held_out", "invented")
Side = Literal["exam", "practice"]
_WORD = re.compile(r"[^\W\d_]+")
_TRIES = 200  # per invented subject
_PIECE = re.compile(r"[^aeiouy\W]*[aeiouy]+(?:[^aeiouy\W](?![aeiouy]))*", re.I)


@dataclass(frozen=True)
class Corpus:
    """The facts of a corpus."""

    trained: tuple[Fact, ...]
    """Of documents in the life's training text."""
    held_out: tuple[Fact, ...]
    """Of other documents."""
    words: frozenset[str]
    """All words of all documents, in lower case."""

    def questions(self, side: Side, count: int, seed: int, groups: Sequence[str] = GROUPS) -> dict[str, list[Fact]]:
        """Return at most `count` facts for each group, of all kinds in equal numbers as far as they reach."""
        own = {name: [one for one in getattr(self, name) if side_of(one) == side] for name in GROUPS[:2]}
        found = {name: chosen(own[name], count, seed) for name in GROUPS[:2] if name in groups}
        if "invented" in groups:
            found["invented"] = invented((*self.trained, *self.held_out), self.words, side, count, seed)
        return found


def corpus_of(documents: Iterable[tuple[str, str, bool]]) -> Corpus:
    """Return the corpus of documents: title, text, and whether the life trains on it."""
    facts: dict[bool, list[Fact]] = {True: [], False: []}
    words: set[str] = set()
    for title, text, trained in documents:
        words.update(_WORD.findall(f"{title} {text}".lower()))
        facts[trained].extend(facts_of(title, text))
    return Corpus(tuple(facts[True]), tuple(facts[False]), frozenset(words))


def side_of(fact: Fact) -> Side:
    """Return the side of a fact, by a hash of its subject: a question of one side is never asked on the other."""
    return "exam" if rank(fact.subject.lower()) % 2 == 0 else "practice"


def chosen(facts: Iterable[Fact], count: int, seed: int) -> list[Fact]:
    """Return at most `count` facts, one for each subject: the kinds take turns, the order within a kind is random."""
    by_kind: dict[str, list[Fact]] = {kind: [] for kind in KINDS}
    for fact in sorted(facts, key=lambda one: rank(f"{seed} {one.question}")):
        by_kind[fact.kind].append(fact)
    taken: dict[str, Fact] = {}
    waiting = [iter(by_kind[kind]) for kind in sorted(by_kind, key=lambda kind: len(by_kind[kind])) if by_kind[kind]]
    while waiting and len(taken) < count:
        for one in tuple(waiting):
            new = next((fact for fact in one if fact.subject not in taken), None)
            if new is None:
                waiting.remove(one)
            elif len(taken) < count:
                taken[new.subject] = new
    return list(taken.values())


def invented(facts: Sequence[Fact], words: frozenset[str], side: Side, count: int, seed: int) -> list[Fact]:
    """Return at most `count` questions of `side` about subjects that no document has, made from pieces of real ones.

    A question is that of a real fact with another subject: the last word of its name is put together from the beginning
    of one name of the same kind and the end of another. That word is in no document.
    """
    generator = random.Random(f"{seed} {side}")
    named: Mapping[str, list[str]] = {kind: [one.subject for one in facts if one.kind == kind] for kind in KINDS}
    found: dict[str, Fact] = {}
    for real in chosen(facts, count, seed + 1):
        for _ in range(_TRIES):
            name = _renamed(real.subject, named[real.kind], generator)
            made = real if name is None else _about(real, name)
            if name and name not in found and side_of(made) == side and _WORD.findall(name.lower())[-1] not in words:
                found[name] = made
                break
    return list(found.values())


def _about(real: Fact, name: str) -> Fact:
    question, cloze = (_put(text, real.subject, name) for text in (real.question, real.cloze))
    return replace(real, subject=name, question=question, cloze=cloze, answers=())


def _put(text: str, subject: str, name: str) -> str:
    """Replace a subject by another, in small letters or at the beginning of a sentence."""
    big = name[0].upper() + name[1:]
    return text.replace(subject, name).replace(subject[0].upper() + subject[1:], big)


def _renamed(subject: str, others: Sequence[str], generator: random.Random) -> str | None:
    """Return a subject with another last word, made from pieces of the words of two others; None if they have none."""
    first, second = (_pieces(generator.choice(others)) for _ in range(2))
    if len(first) < 2 or len(second) < 2:
        return None
    word = (first[0] + "".join(second[1:])).lower()
    if not 4 <= len(word) <= 12:
        return None
    *before, last = subject.split()
    return " ".join([*before[:1], word.capitalize() if last[0].isupper() else word])


def _pieces(subject: str) -> list[str]:
    """Return the syllables of the last word of a name."""
    return _PIECE.findall(subject.split()[-1])
