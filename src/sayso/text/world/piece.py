"""What a story is made of: a `Piece` (a plot or an aside) has roles, beats with alternative wordings, and what can be asked.

Roles are a line such as "a:child t:toy~a k:colour~t": a child, a toy whose pair with the child fits the split, and one of the
toy's sensible colours. A beat offers sentences that all state the same facts, so each `Ask` holds whichever is picked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

ASIDE = ("*",)  # the beat where an aside may be told


@dataclass(frozen=True)
class Ask:
    """Questions of one family with one answer; `subject` and `value` are the roles of the held-out combination."""

    family: str
    subject: str
    value: str
    questions: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Piece:
    name: str
    roles: str
    beats: tuple[tuple[str, ...], ...]
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Role:
    name: str
    pool: str
    against: tuple[str, ...]


@lru_cache(maxsize=None)
def parse_roles(text: str) -> tuple[Role, ...]:
    """Roles from "a:child t:toy~a b:child~a,t"."""
    roles = []
    for part in text.split():
        name, _, rest = part.partition(":")
        pool, _, against = rest.partition("~")
        roles.append(Role(name, pool, tuple(against.split(",")) if against else ()))
    return tuple(roles)


def where(subject: str, value: str, *questions: str, to: bool = False) -> Ask:
    return Ask("where", subject, value, questions, "{%s.to}" % value if to else "{%s}" % value)


def spot(thing: str, value: str, *questions: str) -> Ask:
    """Where a thing that is in one place only was, or was found."""
    return where(thing, value, "Where was the {%s}?" % thing, *questions)


def site(person: str, value: str) -> tuple[Ask, Ask]:
    """Where a person was who stayed there, and who was there."""
    return (
        where(person, value, "Where was {%s}?" % person),
        who(value, person, "was {%s}" % value),
    )


def who(subject: str, value: str, did: str) -> Ask:
    """Who did it: the answer is the person in `value`."""
    return Ask("who", subject, value, (f"Who {did}?",), "{%s}" % value)


def colour(thing: str, value: str, owner: str = "") -> Ask:
    named = ("{%s}'s {%s}" % (owner, thing)) if owner else "the {%s}" % thing
    questions = (
        f"What colour was {named}?", f"Which colour was {named}?", f"What was the colour of {named}?", "What colour was the {%s}?" % thing,
    )  # fmt: skip
    return Ask("colour", thing, value, questions, "{%s}" % value)


def count(items: str, value: str, did: str) -> Ask:
    """How many of something there were: `did` ends the question ("did {a} pick")."""
    noun = "{%s.s}" % items
    questions = (f"How many {noun} {did}?", f"How many {noun} were there?", f"What was the number of {noun}?", f"How many {noun} {did}?")
    return Ask("count", items, value, questions, "{%s}" % value)


def why(subject: str, value: str, *questions: str) -> Ask:
    """Why: the answer is the clause in role `value`."""
    return Ask("why", subject, value, questions, "because {%s}" % value)


def first(person: str, value: str, *more: str) -> Ask:
    """What somebody did first of several things."""
    questions = (
        "What did {%s} do first?" % person, "What was the first thing that {%s} did?" % person,
        "What did {%s} do before anything else?" % person, *more,
    )  # fmt: skip
    return Ask("first", person, value, questions, "{%s.he} {%s}" % (person, value))
