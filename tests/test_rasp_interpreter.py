"""The exact interpreter of RASP: equal to brute force on random programs; its rules for None, types and dialects."""

import operator
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.rasp import (
    Selector,
    aggregate,
    contains,
    indicator,
    indices,
    length,
    lookup,
    matrix,
    run,
    select,
    selector_width,
    tokens,
    where,
)
from sayso.rasp.expression import ordered
from sayso.rasp.interpreter import EvaluationError
from sayso.rasp.notation import notation
from sayso.rasp.session import Session
from sayso.rasp.tensors import run_batch

RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@dataclass(frozen=True)
class Both:
    """An expression, and the same by brute force: a function of the input, whether causal, and the position."""

    built: Any
    value: Callable[..., Any]

    def __repr__(self) -> str:
        return str(self.built)


LEAVES = st.sampled_from(
    [
        Both(tokens, lambda xs, causal, i: xs[i]),
        Both(indices, lambda xs, causal, i: i),
        Both(length, lambda xs, causal, i: i + 1 if causal else len(xs)),
    ]
) | st.integers(-2, 3).map(lambda number: Both(number + 0 * indices, lambda xs, causal, i: number))


def none_or(function: Callable[..., Any], *values: Any) -> Any:
    """An operation on None gives None."""
    return None if any(value is None for value in values) else function(*values)


def selectors(numbers: st.SearchStrategy[Both]) -> st.SearchStrategy[Both]:
    """Selections by comparison, and combinations of them; by brute force, whether row i selects column j."""

    def comparing(key: Both, query: Both, relation: str) -> Both:
        def selects(xs: Any, causal: bool, i: int, j: int) -> bool:
            pair = key.value(xs, causal, j), query.value(xs, causal, i)
            return bool(none_or(RELATIONS[relation], *pair))

        return Both(select(key.built, query.built, relation), selects)

    one = st.builds(comparing, numbers, numbers, st.sampled_from(list(RELATIONS)))

    def inverted(inner: Both) -> Both:
        return Both(~inner.built, lambda xs, causal, i, j: not inner.value(xs, causal, i, j))

    def joined(left: Both, right: Both, union: bool) -> Both:
        if union:
            return Both(left.built | right.built, lambda *at: left.value(*at) or right.value(*at))
        return Both(left.built & right.built, lambda *at: left.value(*at) and right.value(*at))

    return one | one.map(inverted) | st.builds(joined, one, one, st.booleans())


def selected(selector: Both, xs: Any, causal: bool, i: int) -> list[int]:
    """The columns that row i selects and may see."""
    return [j for j in range(i + 1 if causal else len(xs)) if selector.value(xs, causal, i, j)]


def grown(numbers: st.SearchStrategy[Both]) -> st.SearchStrategy[Both]:
    """One operation on top of random programs."""

    def arithmetic(left: Both, right: Both, sign: str) -> Both:
        function = ARITHMETIC[sign]
        return Both(function(left.built, right.built), lambda *at: none_or(function, left.value(*at), right.value(*at)))

    def chosen(relation: str, left: Both, right: Both, yes: Both, no: Both) -> Both:
        compared = RELATIONS[relation]

        def value(*at: Any) -> Any:
            holds = none_or(compared, left.value(*at), right.value(*at))
            return None if holds is None else yes.value(*at) if holds else no.value(*at)

        return Both(where(compared(left.built, right.built), yes.built, no.built), value)

    def mean(selector: Both, values: Both, default: int | None) -> Both:
        def value(xs: Any, causal: bool, i: int) -> Any:
            found = [values.value(xs, causal, j) for j in selected(selector, xs, causal, i)]
            if not found:
                return default
            return found[0] if len(found) == 1 else none_or(lambda *v: Fraction(sum(v)) / len(v), *found)

        return Both(aggregate(selector.built, values.built, default), value)

    def width(selector: Both) -> Both:
        return Both(selector_width(selector.built), lambda xs, causal, i: len(selected(selector, xs, causal, i)))

    def rounded(number: Both) -> Both:
        return Both(round(number.built), lambda *at: none_or(round, number.value(*at)))

    picks = selectors(numbers)
    return (
        st.builds(arithmetic, numbers, numbers, st.sampled_from(list(ARITHMETIC)))
        | st.builds(chosen, st.sampled_from(list(RELATIONS)), numbers, numbers, numbers, numbers)
        | st.builds(mean, picks, numbers, st.none() | st.integers(0, 2))
        | st.builds(width, picks)
        | st.builds(rounded, numbers)
    )


PROGRAMS = st.recursive(LEAVES, grown, max_leaves=8)
INPUTS = st.lists(st.integers(0, 3), max_size=6)


@settings(max_examples=100, deadline=None)
@given(PROGRAMS, INPUTS, st.booleans())
def test_random_programs_equal_brute_force(program: Both, xs: list[int], causal: bool) -> None:
    """Every value is exactly what the definition says, in both dialects."""
    expected = [program.value(xs, causal, i) for i in range(len(xs))]
    assert run(program.built, xs, causal=causal) == expected


@settings(max_examples=100, deadline=None)
@given(PROGRAMS, INPUTS)
def test_random_programs_survive_the_text_language(program: Both, xs: list[int]) -> None:
    """Written down and read back, a program computes the same."""
    session = Session()
    session.text(f"tokens = tokens_asis;\nprogram = {notation(program.built, 1000)};")
    assert run(session.scope.get("program"), xs) == run(program.built, xs)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(selectors(LEAVES), INPUTS, st.booleans())
def test_random_selectors_equal_brute_force(selector: Both, xs: list[int], causal: bool) -> None:
    """Rows are queries, columns keys; in the causal dialect, nothing right of the diagonal."""
    size = range(len(xs))
    expected = [[j in selected(selector, xs, causal, i) for j in size] for i in size]
    assert matrix(selector.built, xs, causal=causal) == expected


@settings(max_examples=100, deadline=None)
@given(PROGRAMS, st.lists(INPUTS, max_size=3), st.booleans())
def test_tensors_equal_the_interpreter_on_random_programs(program: Both, batch: list[list[int]], causal: bool) -> None:
    """Inputs of several lengths in one batch have the values that each has alone."""
    expected = [run(program.built, xs, causal=causal) for xs in batch]
    assert run_batch(program.built, batch, causal=causal) == expected


def test_tensors_compute_with_texts_types_and_none() -> None:
    """Beside numbers: concatenation, lookups, None, the largest, booleans that stay booleans, and no input at all."""
    before = aggregate(select(indices, indices - 1), tokens)
    assert run_batch(before + tokens, ["abc", "", "d"]) == [[None, "ab", "bc"], [], [None]]
    assert run_batch(lookup({"a": 1, "b": None}, tokens).is_in([1]), ["ab"]) == [[True, None]]
    assert run_batch(aggregate(select(1, 1), tokens, how="max"), [[1, 3, 2]], causal=True) == [[1, 3, 3]]
    assert [str(value) for value in run_batch(tokens, [[True, 1]])[0]] == ["True", "1"]
    assert run_batch(tokens, []) == []
    assert run_batch(where(indices == 0, tokens, tokens + "x"), ["ab"]) == [["a", "bx"]]


@pytest.mark.parametrize(
    ("built", "batch"),
    [
        (1 / indices, ["a"]),
        (aggregate(select(indices, 0, ">"), tokens), ["ab", "abc"]),
        (where(indices == 0, tokens, 0), ["a", "ab"]),
        (aggregate(select(1, 1), indices, how="max"), ["a"]),
        (aggregate(select(tokens, tokens, "<"), 1), [["a", "b"], ["a", 1]]),
    ],
)
def test_tensors_raise_what_the_interpreter_raises(built: Any, batch: list[Any]) -> None:
    """The same sentence, for the first input that has no value."""
    with pytest.raises(EvaluationError) as expected:
        [run(built, sequence) for sequence in batch]
    with pytest.raises(EvaluationError) as raised:
        run_batch(built, batch)
    assert str(raised.value) == str(expected.value)
    with pytest.raises(UserError, match="at most 4,096 positions"):
        run_batch(tokens, ["a", "b" * 5000])


def test_means_are_exact() -> None:
    """Thirds stay thirds, and a value selected alone keeps its type."""
    mean = aggregate(select(indices, indices, "<="), indicator(tokens == "x"))
    assert run(10 * mean, "xxyxyx") == [10, 10, Fraction(20, 3), Fraction(15, 2), 6, Fraction(20, 3)]
    assert run(round(3 * aggregate(select(1, 1), tokens)), [1, 1, 0]) == [2, 2, 2]
    assert run(aggregate(select(indices, length - 1 - indices), tokens), "hello") == list("olleh")


def test_none_is_a_value() -> None:
    """It comes from an empty selection, passes through operations, and selects nothing."""
    same = select(indices, tokens)
    assert run(aggregate(same, aggregate(same, indices)), [1, 2, 3, 4]) == [2, 3, None, None]
    shifted = aggregate(select(indices, indices - 1), tokens)
    assert run(shifted, "abc") == [None, "a", "b"]
    assert run(shifted == "a", "abc") == [None, True, False]
    assert run(where(shifted == "a", 1, 2), "abc") == [None, 1, 2]
    assert run(where(indices > 0, shifted, "-"), "abc") == ["-", "a", "b"]
    assert run(shifted.is_in("ab"), "abc") == [None, True, True]
    assert run(lookup({"a": 1, "b": 2}, shifted), "abc") == [None, 1, 2]
    assert matrix(select(shifted, shifted, "!="), "ab") == [[False, False], [False, False]]
    assert run(aggregate(select(1, 1), where(indices > 0, indices, shifted)), [1, 2, 3]) == [None] * 3


def test_the_causal_dialect_sees_no_later_position() -> None:
    """Lengths, negated selectors and the aggregates of RASP-L."""
    assert run(length, "abc", causal=True) == [1, 2, 3]
    assert run(selector_width(~select(indices, indices, ">")), "abc", causal=True) == [1, 2, 3]
    assert run(aggregate(select(1, 1), tokens, how="max"), [1, 3, 2], causal=True) == [1, 3, 3]
    assert run(aggregate(select(1, 1), tokens, how="min"), [3, 1, 2], causal=True) == [3, 1, 1]
    with pytest.raises(UserError, match="The max of the selected values exists only in the causal dialect"):
        run(aggregate(select(1, 1), tokens, how="max"), [1])


def test_operators_of_python_build_programs() -> None:
    """Both sides of each operator, booleans, indexing, membership and conversions."""
    assert run(1 - indices, "abc") == [1, 0, -1]
    assert run(6 / (indices + 1) % 4, "abc") == [2, 3, 2]
    assert run((indices + 1) ** 2 - 2**indices, "abc") == [0, 2, 5]
    assert run(-indices, "abc") == [0, -1, -2]
    assert run((tokens == "a") | ~(indices < 2), "aba") == [True, False, True]
    assert run(tokens[0] + tokens[-1], "abc") == ["ac"] * 3
    assert run(contains(tokens, "e"), "hey") == [True] * 3
    assert run(tokens.is_in(["a", "e"]), "hey") == [False, True, False]
    assert run(indices.is_in([tokens, 2]), [0, 0, 7]) == [True, False, True]
    assert run(lookup("xyz", indices), [9, 9]) == ["x", "y"]
    assert run(tokens + 0.1, [0.2]) == [Fraction(3, 10)]


@pytest.mark.parametrize(
    ("build", "sequence", "told"),
    [
        (lambda: tokens + 1, "a", "'+' needs two numbers or two strings; got \"a\" and 1."),
        (lambda: tokens * 2, "a", "'*' needs numbers; got the string \"a\"."),
        (lambda: tokens < 1, "a", "'<' needs two numbers or two strings"),
        (lambda: select(tokens, indices, "<"), "a", "'<' needs two numbers or two strings"),
        (lambda: 1 / indices, "ab", "A number cannot be divided by 0; got 1 / 0."),
        (lambda: 1 % indices, "ab", "A remainder needs a divisor other than 0"),
        (lambda: 2 ** (indices / 2), "ab", "A power needs an integer exponent"),
        (lambda: 0 ** (-1 - indices), "ab", "0 has no negative powers"),
        (lambda: (indices + 10) ** 999999, "ab", "has more than 10,000 bits"),
        (lambda: where(indices == 0, tokens, 0), "ab", 'must have one type; got the string "a" and the number 0.'),
        (lambda: lookup({"a": 1}, tokens), "b", 'There is no entry for "b"; the entries are "a".'),
        (
            lambda: aggregate(select(1, 1), tokens),
            "ab",
            'Only numbers have a mean, but position 0 selects 2 strings, such as "a"',
        ),
    ],
)
def test_a_wrong_type_is_one_sentence_with_the_expression(build: Any, sequence: str, told: str) -> None:
    """It says the rule, the value, and in which expression."""
    built = build()
    evaluate = matrix if isinstance(built, Selector) else run
    with pytest.raises(EvaluationError) as raised:
        evaluate(built, sequence)
    assert told in str(raised.value)
    assert str(raised.value).endswith(f"This happens in {built}.")


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: select(tokens, tokens, "="), "got '='. Did you mean"),
        (lambda: aggregate(tokens, tokens), "A selector is needed here"),
        (lambda: tokens + select(1, 1), "An s-op or a constant is needed here"),
        (lambda: select(1, 1) & tokens, "'and' needs two selectors or none"),
        (lambda: tokens[tokens], "An s-op is indexed with an integer"),
        (lambda: tokens + object(), "A value must be a string, a finite number"),
        (lambda: tokens + float("inf"), "A value must be a string, a finite number"),
        (lambda: 1 if tokens == "a" else 2, "has no truth value"),
        (lambda: "a" in tokens, "Write contains(tokens, 'a')"),
        (lambda: aggregate(select(1, 1), tokens, how="mode"), "takes the mean, max or min; got 'mode'"),
        (lambda: run(tokens, "a" * 5000), "at most 4,096 positions; got 5,000"),
    ],
)
def test_an_impossible_program_is_refused_when_it_is_built(build: Any, told: str) -> None:
    """Before it meets an input."""
    with pytest.raises(UserError) as raised:
        build()
    assert told in str(raised.value)


def test_what_is_shared_is_computed_once() -> None:
    """A chain that doubles its last expression 200 times has 201 operations, however deep."""
    chain = indices + 0
    for _ in range(2000):
        chain = chain + chain * 0
    assert len(ordered(chain)) < 2 * 2000 * 2 + 10
    assert run(chain, "ab") == [0, 1]


def test_expressions_are_shown_as_programs() -> None:
    """In the notation of the language, short."""
    assert str(aggregate(select(tokens, "a"), indices + 1)) == 'aggregate(select(tokens, "a", ==), indices + 1, None)'
    assert str(where(tokens.is_in("ab"), round(indices / 2), -indices)) == (
        '(round(indices / 2)) if (tokens in ["a", "b"]) else (-indices)'
    )
    assert str(lookup(range(20), indices + (indices + (indices + (indices + 1))))).endswith(
        "7: 7, ...}[indices + (indices + ...)]"
    )
    assert str(~select(1, 1)) == "not (select(1, 1, ==))"
    assert repr(tokens) == "tokens"
    assert str(indices * 0.5) == "indices * (1/2)"


def test_no_torch_is_imported() -> None:
    """The language needs no tensor."""
    code = "import sys, sayso.rasp; assert 'torch' not in sys.modules and 'lark' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
