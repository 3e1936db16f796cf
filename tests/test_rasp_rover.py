"""The rover puzzles: the program answers as published, and as a search that knows nothing of it."""

import random

import pytest

from sayso.base.errors import UserError
from sayso.rasp import SOp
from sayso.rasp.compile.program import compile_program
from sayso.rasp.evaluation import Defined
from sayso.rasp.interpreter import run
from sayso.rasp.session import Session
from sayso.rasp.tensors import run_batch

PUBLISHED = {
    "a<A,a<A?": "T", "a<A,a#A?": "F", "a<A,a<B?": "?", "a<A,x<A:x<B,a<B?": "T", "a#A,x#A:x<B,a<B?": "T",
    "a<A,x<A:x#B,a<B?": "F", "a#A,x#A:x#B,a<A?": "F", "a#B,x<A:x<B,a<A?": "F", "b#B,x<A:x<B,a<B?": "?",
    "x<A:x<B,x#B:x<C,b#B,b<A?": "F", "x<A:x<B,x#B:x<C,b#B,b<C?": "T", "a<A,x<A:x<B,x<B:x<C,a<C?": "T",
    "a<A,x<A:x<B,x<B:x#C,a<C?": "F", "a<A,x<A:x<B,x<C:x#B,a<C?": "F", "a<A,b<A?": "?", "a<A,a<X:b<X,b<A?": "T",
    "a<A,a<X:b#X,b<A?": "F", "a#A,a#X:b<X,b<A?": "T", "a#A,a#X:b#X,b<A?": "F", "a#A,b<X:a<X,b<A?": "F",
    "a<A,a<X:b<X,b<X:c<X,c<A?": "T", "a<A,a<X:b<X,x<A:x<C,b<C?": "T",
}  # fmt: skip
"""Puzzles and answers of the original's test (tests/in/load_rover.txt)."""
OPPOSITE = {"<": "#", "#": "<"}


@pytest.fixture(scope="module")
def rover() -> SOp:
    """The program."""
    (found,) = [one.item for one in Session().file("rover") if isinstance(one, Defined) and one.name == "rover"]
    assert isinstance(found, SOp)
    return found


def answer(puzzle: str, steps: int = 3) -> str:
    """Return the answer by a search through what is known, one step at a time."""
    *clauses, question = puzzle.rstrip("?").split(",")
    known = {clause for clause in clauses if ":" not in clause}
    rules = [tuple(clause.split(":")) for clause in clauses if ":" in clause]
    rules += [(flipped(conclusion), flipped(premise)) for premise, conclusion in rules]
    for _ in range(steps):
        known |= {made for fact in known for rule in rules if (made := applied(rule, fact))}
    return "T" if question in known else "F" if flipped(question) in known else "?"


def flipped(fact: str) -> str:
    """Return the opposite of a fact."""
    return fact[0] + OPPOSITE[fact[1]] + fact[2]


def applied(rule: tuple[str, ...], fact: str) -> str:
    """Return what a rule makes of a fact, or nothing."""
    premise, conclusion = rule
    if premise[0] == "x":
        return fact[0] + conclusion[1:] if fact[1:] == premise[1:] else ""
    return conclusion[:2] + fact[2] if fact[:2] == premise[:2] else ""


def drawn(rng: random.Random) -> str:
    """Return a random puzzle."""

    def fact(elements: str = "abc", sets: str = "ABC") -> str:
        return rng.choice(elements) + rng.choice("<#") + rng.choice(sets)

    def rule() -> str:
        kind = rng.choice([("x", "ABC"), ("abc", "X")])
        return f"{fact(*kind)}:{fact(*kind)}"

    clauses = [fact() for _ in range(rng.randint(1, 2))] + [rule() for _ in range(rng.randint(0, 4))]
    rng.shuffle(clauses)
    return ",".join([*clauses, fact()]) + "?"


def test_the_published_puzzles_have_their_answers(rover: SOp) -> None:
    for puzzle, values in zip(PUBLISHED, run_batch(rover, PUBLISHED), strict=True):
        assert values == [PUBLISHED[puzzle]] * len(puzzle), puzzle
        assert answer(puzzle) == PUBLISHED[puzzle]


def test_random_puzzles_equal_brute_force(rover: SOp) -> None:
    rng = random.Random(0)
    puzzles = [drawn(rng) for _ in range(25)]
    found = [values[0] for values in run_batch(rover, puzzles)]
    assert found == [answer(puzzle) for puzzle in puzzles]
    assert set(found) == {"T", "F", "?"}
    assert run(rover, puzzles[0]) == [found[0]] * len(puzzles[0])


def test_weights_refuse_it_with_a_reason(rover: SOp) -> None:
    with pytest.raises(UserError, match=r"values|combinations"):
        compile_program(rover, "abcABCxX<#:,?", 24)
