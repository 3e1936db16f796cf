"""The building blocks of a story: a `Piece` has roles, beats with alternative wordings, and possible questions.

Roles are a line such as "a:child t:toy~a k:colour~t": a child, a toy whose pair with the child fits the split, and one
of the toy's possible colours. A beat offers sentences that state the same facts, so an `Ask` holds for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from .words import Word

HOME, WAY, FIELD = ("home",), ("way",), ("field",)  # beats that an aside of that kind may fill


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
    """A plot or an aside; `phrases` are its own pools of actions and reasons."""

    name: str
    roles: str
    beats: tuple[tuple[str, ...], ...]
    asks: tuple[Ask, ...]
    phrases: Mapping[str, tuple[Word, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Role:
    """A role's name, its pool, and the roles that its word is paired with."""

    name: str
    pool: str
    against: tuple[str, ...]


@cache
def parse_roles(text: str, asks: tuple[Ask, ...]) -> tuple[Role, ...]:
    """Return the roles in "a:child t:toy~a b:child~a,t"; a pair in a question is drawn as one even if not declared."""
    asked = [{ask.subject, ask.value} for ask in asks]
    roles: list[Role] = []
    for part in text.split():
        name, _, rest = part.partition(":")
        pool, _, against = rest.partition("~")
        declared = against.split(",") if against else []
        implied = [role.name for role in roles if {role.name, name} in asked]
        roles.append(Role(name, pool, tuple(dict.fromkeys((*declared, *implied)))))
    return tuple(roles)


def slot(role: str, form: str = "") -> str:
    """Return the template's slot for a role, or for a form of its word: "{t}", "{t.the}"."""
    return "{" + role + (f".{form}" if form else "") + "}"


def where(subject: str, value: str, *questions: str) -> Ask:
    """Ask where somebody or something was."""
    return Ask("where", subject, value, questions, slot(value))


def spot(thing: str, value: str, *questions: str) -> Ask:
    """Ask where a thing was that is in only one place, or where it was found."""
    return where(thing, value, f"Where was {slot(thing, 'the')}?", *questions)


def site(person: str, value: str) -> tuple[Ask, Ask]:
    """Ask where a person was, and who was there."""
    return where(person, value, f"Where was {slot(person)}?"), who(value, person, f"was {slot(value)}")


def who(subject: str, value: str, *did: str) -> Ask:
    """Ask who did it: the answer is the person in role `value`; `did` are wordings of the same action."""
    return Ask("who", subject, value, tuple(f"Who {deed}?" for deed in did), slot(value))


def colour(thing: str, value: str, owner: str = "") -> Ask:
    """Ask what colour a thing had."""
    the = slot(thing, "the")
    named = f"{slot(owner)}'s {slot(thing)}" if owner else the
    plain = f"What colour was {the}?"
    forms = (f"What colour was {named}?", plain, f"Which colour was {named}?", f"What was the colour of {named}?")
    return Ask("colour", thing, value, forms, slot(value))


def count(items: str, value: str, *did: str) -> Ask:
    """Ask how many of something there were; each of `did` may end the question ("did {a} pick")."""
    noun = slot(items, "s")
    forms = tuple(f"How many {noun} {end}?" for end in did)
    forms += (f"How many {noun} were there?", f"Can you say how many {noun} there were?")
    return Ask("count", items, value, forms, slot(value))


def why(subject: str, value: str, *questions: str) -> Ask:
    """Ask why: the answer is the clause in role `value`."""
    return Ask("why", subject, value, questions, f"because {slot(value)}")


def first(person: str, value: str) -> Ask:
    """Ask what somebody did first."""
    name = slot(person)
    forms = (
        f"What did {name} do first?",
        f"What was the first thing that {name} did?",
        f"What did {name} do before anything else?",
        f"What did {name} begin with?",
    )
    return Ask("first", person, value, forms, f"{slot(person, 'he')} {slot(value)}")


def actions(doer: str) -> tuple[str, ...]:
    """Return the wordings of three actions of one person in order."""
    forms = (
        "First {@} {x}, then {@.he} {y}, and at last {@.he} {z}.",
        "First {@} {x}. Then {@.he} {y} and {z}.",
        "{@} {x}. After that {@.he} {y}, and then {@.he} {z}.",
        "Before anything else {@} {x}. Then {@.he} {y}, and finally {@.he} {z}.",
        "{@} {x}, {y} and {z}.",
        "{@} lost no time: {@.he} {x}, {y} and {z}.",
        "{@} {x} and {y}, and when that was done, {@.he} {z}.",
        "What did {@} do? {@.he} {x}, then {@.he} {y}, and in the end {@.he} {z}.",
        "{@} {x}. Then {@.he} {y}. {@.he} even {z}.",
        "Before {@} {y} and {z}, {@.he} {x}.",
        "{@} {y} and {z}, but first of all {@.he} {x}.",
        "To begin with, {@} {x}. Next {@.he} {y}. Last of all {@.he} {z}.",
    )
    return tuple(form.replace("@", doer) for form in forms)


def lines(text: str) -> tuple[Word, ...]:
    """Return a pool of phrases, one per line; each is its own key."""
    return tuple(Word(line.strip(), head=line.strip()) for line in text.strip().splitlines())


@cache
def phrases_for(phrases: tuple[Word, ...], doer: str) -> tuple[Word, ...]:
    """Return phrases as templates for the role `doer`, each with its general form as key."""
    forms = ("his", "him", "he")  # longer ones first
    made = []
    for phrase in phrases:
        text = str(phrase)
        for form in forms:
            text = text.replace("@" + form, slot(doer, form))
        made.append(Word(text, key=str(phrase), head=str(phrase)))
    return tuple(made)
