"""What the reference implementations computed: RASP's own programs, tracr's in both dialects, and RASPy's."""

import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sayso.rasp import aggregate, indices, run, select, selector_width, tokens
from sayso.rasp.expression import SOp
from sayso.rasp.session import Session

FILE = Path(os.environ.get("SAYSO_TEST_DATA", "no such folder")) / "rasp" / "conformance.json"
CASES: dict[str, list[dict[str, Any]]] = json.loads(FILE.read_text()) if FILE.exists() else {}
needs_data = pytest.mark.skipif(not CASES, reason="SAYSO_TEST_DATA names no folder with RASP's cases")
PUBLISHED = {
    "hist_bos": "histogram",
    "hist_nobos": "histogram",
    "reverse": "reverse",
    "sort_bos": "sort",
    "hist2_bos": "double_histogram",
    "sort_by_most_freq": "most_frequent",
    "dyck1_ptf": "dyck",
    "dyck2_ptf": "dyck",
    "dyck3_ptf": "dyck",
    "longsum": "addition",
}
"""Name of an s-op -> the file of the library that defines it."""
OTHERS = {
    "frac_prevs_1": ("frac_prevs", 'frac_prevs("l")'),
    "frac_prevs_3": ("frac_prevs", 'frac_prevs(")")'),
    "shift_by_two": ("shift", "shift_by_two"),
    "detect_pattern_ab": ("detect_pattern", "detect_ab"),
    "reverse": ("reverse", "reverse"),
    "length_categorical": ("length", "length_by_attention"),
    "length_numerical": ("length", "length_by_attention"),
    "pair_balance": ("pair_balance", "balance"),
    "shuffle_dyck2": ("shuffle_dyck", "shuffle_dyck2"),
    "shuffle_dyck3": ("shuffle_dyck", "shuffle_dyck3"),
    "sort_unique": ("sort", "sort_unique(tokens_int, tokens_int)"),
    "sort": ("sort", "sort(tokens_int, tokens_int)"),
    "make_count_less_freq_categorical": ("less_frequent", "less_than_three"),
    "make_count_less_freq_numerical": ("less_frequent", "less_than_three"),
    "make_count": ("histogram", 'count(tokens, "a")'),
    "make_nary_sequencemap": ("length", "indices * indices / tokens_int"),
    "selector_width": ("histogram", "selector_width(full_s)"),
    "flip": ("reverse", "reverse"),
    'first("l")': ("first", 'first("l")'),
    "ralign": ("align_right", "align_right"),
    'slide(not "<")': ("slide", "slide"),
    "cumsum": ("cumsum", "running_sum"),
    "cumsum(length-indices)": ("cumsum", "countdown_sum"),
}
"""Name of a case, without its number -> a file of the library and an expression."""


def program(file: str, expression: str, causal: bool = False) -> SOp:
    """An expression after a file of the library."""
    session = Session(causal=causal)
    session.text(f'load "{file}";\n{expression};')
    found = session.scope.get("out" if not expression.isidentifier() else expression)
    assert isinstance(found, SOp)
    return found


def near(got: list[Any], expected: list[Any]) -> bool:
    """Whether values are equal; published decimals to 1e-9."""
    return len(got) == len(expected) and all(
        abs(Fraction(one) - Fraction(other)) < 1e-9 if isinstance(other, float) and one is not None else one == other
        for one, other in zip(got, expected, strict=True)
    )


def named(case: dict[str, Any]) -> str:
    """The name of a case's program, without a number at its end."""
    name: str = case.get("name") or case["program"]
    return name if name in OTHERS else name.rpartition("_")[0]


@needs_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_programs_compute_what_the_reference_does(name: str) -> None:
    """RASP's own interpreter ran on each input."""
    cases = [case for case in CASES["rasp_interpreter_cases"] if case["program"] == name]
    assert len(cases) >= 10
    built = program(PUBLISHED[name], name)
    for case in cases:
        assert near(run(built, case["input"]), case["expected"]), case


@needs_data
def test_no_published_case_is_left_out() -> None:
    """Every case of the file belongs to a program here."""
    assert {case["program"] for case in CASES["rasp_interpreter_cases"]} == set(PUBLISHED)
    others = (*CASES["tracr_bidirectional_cases"], *CASES["tracr_causal_cases"], *CASES["raspy"])
    assert {named(case) for case in others} == set(OTHERS)


@needs_data
@pytest.mark.parametrize(("kind", "causal"), [("tracr_bidirectional_cases", False), ("tracr_causal_cases", True),
                                              ("raspy", False)])  # fmt: skip
def test_programs_of_other_implementations(kind: str, causal: bool) -> None:
    """Tracr's in both dialects, and those of RASPy's puzzles, None included."""
    for case in CASES[kind]:
        built = program(*OTHERS[named(case)], causal)
        assert near(run(built, case["input"], causal=causal), case["expected"]), case


@needs_data
def test_where_tracr_is_wrong() -> None:
    """None stays None through a second aggregate, and lengths are right beyond ten."""
    (case,) = (case for case in CASES["tracr_wrong"] if case["name"] == "none_reused")
    same = select(indices, tokens)
    assert run(aggregate(same, aggregate(same, indices)), case["input"]) == case["rasp"] != case["tracr_compiled"]
    reverse, length = program("reverse", "reverse"), program("length", "length_by_attention")
    for size in (7, 8, 10, 24, 100):
        text = [str(number) for number in range(size)]
        assert run(reverse, text) == text[::-1]
        assert run(length, text) == [size] * size


OWN: list[tuple[str, str, Any, bool, list[Any]]] = [
    ("reverse", "reverse", "", False, []),
    ("histogram", "hist_nobos", "banana", False, [1, 3, 2, 3, 2, 3]),
    ("double_histogram", "hist2_bos", "§aabbc", False, [0, 2, 2, 2, 2, 1]),
    ("most_frequent", "sort_by_most_freq", "§cbbaaa", False, ["§", "a", "b", "c", "§", "§", "§"]),
    ("dyck", "dyck2_ptf", "({)}", False, ["P", "P", "F", "F"]),
    ("shuffle_dyck", "shuffle_dyck2", "({)}", False, [1] * 4),
    ("addition", "longsum", "0999+0001", False, [0, 0, 0, 0, 0, 1, 0, 0, 0]),
    ("minimum", "minimum", "cab", False, ["a", "a", "a"]),
    ("parity", "running_parity", "1101", False, [1, 0, 0, 1]),
    ("parity", "parity", "1101", False, [1, 1, 1, 1]),
    ("cumsum", "sums_of_two", [1, 2, 3, 4], False, [1, 3, 5, 7]),
    ("cumsum", "running_sum", [1, -2, 4], False, [1, -1, 3]),
    ("induction", "induction", "abcab", True, [None, None, None, "b", "c"]),
    ("mode", "mode", "abbaa", True, ["a", "b", "b", "a", "a"]),
]


@pytest.mark.parametrize(("file", "name", "given", "causal", "expected"), OWN)
def test_own_cases(file: str, name: str, given: Any, causal: bool, expected: list[Any]) -> None:
    """Small inputs whose values anyone can check by hand."""
    assert run(program(file, name, causal), given, causal=causal) == expected


BRUTE: list[tuple[str, str, Callable[[str], list[Any]]]] = [
    ("sort", "sorted", lambda text: sorted(text)),
    ("histogram", "hist_nobos", lambda text: [text.count(one) for one in text]),
    ("reverse", "reverse", lambda text: list(text[::-1])),
]


@pytest.mark.parametrize(("file", "name", "expected"), BRUTE)
def test_longer_inputs(file: str, name: str, expected: Callable[[str], list[Any]]) -> None:
    """Equal to Python on 100 tokens."""
    text = "the quick brown fox jumps over the lazy dog, and then it sleeps for a while in the sun of the park!!"
    assert run(program(file, name), text) == expected(text)


def test_widths_have_a_definition_by_two_means() -> None:
    """The published way to count without a beginning token gives what `selector_width` gives."""
    for selector in (select(tokens, tokens, ">"), select(indices, indices, "<"), ~select(tokens, "a")):
        start = select(indices, 0)
        inverted = aggregate(selector | start, (indices == 0) & 1)
        width = round(1 / inverted - 1 + aggregate(selector & start, 1, 0))
        assert run(width, "banana") == run(selector_width(selector), "banana")
