"""Compiled RASP programs: weights = tensors = interpreter, in the published number of layers, or a refusal."""

import importlib
import json
import os
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.cli.main import run as command
from sayso.lens import trace
from sayso.model.norm import RMSNorm
from sayso.rasp import (
    Selector,
    SOp,
    aggregate,
    indicator,
    indices,
    length,
    lookup,
    run,
    select,
    selector_width,
    tokens,
    where,
)
from sayso.rasp.compile.circuit import ORDINARY, Architecture
from sayso.rasp.compile.domain import Apply, CompileError, Embedded, Node, Total, joint_domain
from sayso.rasp.compile.encode import Encoder
from sayso.rasp.compile.line import find_line, rounding
from sayso.rasp.compile.lower import Lowering
from sayso.rasp.compile.margin import Margin, margin_of
from sayso.rasp.compile.program import compile_program
from sayso.rasp.compile.store import lineage_of, load, save
from sayso.rasp.interpreter import EvaluationError
from sayso.rasp.notation import statements
from sayso.rasp.session import Session
from sayso.rasp.tensors import run_batch
from sayso.rasp.values import RELATIONS
from sayso.weights.folder import load_model

FILE = Path(os.environ.get("SAYSO_TEST_DATA", "no such folder")) / "rasp" / "conformance.json"
CASES: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
needs_data = pytest.mark.skipif(not CASES, reason="SAYSO_TEST_DATA names no folder with RASP's cases")
LENGTH = 6
SO_FAR = select(indices, indices, "<=")
Steps = list[tuple[int, int, int, int]]
ARCHITECTURES = [Architecture(norm, mlp) for norm in ("none", "rms", "layer") for mlp in ("relu", "gelu", "swiglu")]


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """The bench that draws programs and runs each in three ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent)
        yield importlib.import_module("bench.rasp_random")


NUMBERS = st.integers(0, 99)
STEPS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=12)
BATCHES = st.lists(st.lists(st.integers(0, 2), max_size=LENGTH), min_size=3, max_size=8)


@settings(max_examples=150, deadline=None)
@given(STEPS, BATCHES, st.booleans(), st.booleans(), st.sampled_from(ARCHITECTURES))
def test_random_programs_are_equal_in_three_executions(
    bench: ModuleType, steps: Steps, batch: list[list[int]], causal: bool, division: bool, architecture: Architecture
) -> None:
    """Interpreter = tensors = weights, or a refusal; the bench raises an error for a difference."""
    bench.refusal_of(bench.built(steps, division=division), batch, causal=causal, architecture=architecture)


def test_equal_numbers_of_several_kinds_stay_apart() -> None:
    """A mean is a fraction, also where it is 0 or 1, so a slot may have 0 and 0/1 among its values."""
    node = Embedded("mixed", (0, Fraction(0), 1, True, Fraction(1, 2)))
    codes, values = joint_domain([node], "mixed")[node]
    assert [(type(value), value) for value in values] == [(type(value), value) for value in node.values]
    assert codes.tolist() == [0, 1, 2, 3, 4]
    tables = where(indices == 0, lookup({0: 1, 1: 0}, tokens), lookup({0: True, 1: False}, tokens))
    found, expected = compile_program(tables, [0, 1], LENGTH)([0, 0, 1]), run(tables, [0, 0, 1])
    assert [(type(value), value) for value in found] == [(type(value), value) for value in expected]


def test_no_inputs_give_no_values() -> None:
    assert compile_program(indices + 1, "ab", LENGTH).batch([]) == []


@cache
def library(file: str, expression: str, causal: bool = False) -> SOp:
    """An expression after a file of the library."""
    session = Session(causal=causal)
    session.text(f'load "{file}";\nprogram = {expression};')
    found = session.scope.get("program")
    assert isinstance(found, SOp)
    return found


def sums(rng: random.Random, size: int) -> str:
    """A sum of two numbers of equally many digits."""
    digits = max((size - 1) // 2, 1)
    return "+".join("".join(rng.choices("0123456789", k=digits)) for _ in range(2))


LIBRARY: list[tuple[str, str, Any, bool, list[int]]] = [
    ("length", "length_by_attention", "ab", False, [1]),
    ("reverse", "reverse", "abcdefgh", False, [1, 1]),
    ("histogram", "hist_bos", "§abc", False, [1]),
    ("histogram", "hist_nobos", "abc", False, [1]),
    ("sort", "sort_bos", "§abcd", False, [2, 1]),
    ("sort", "sorted", "abcd", False, [2, 1]),
    ("sort", "sort_unique(tokens, tokens)", "01234567", False, [1, 1]),
    ("double_histogram", "hist2_bos", "§abc", False, [2, 1]),
    ("most_frequent", "sort_by_most_freq", "§abcd", False, [2, 2, 1]),
    ("dyck", "dyck1_ptf", "()", False, [1, 1]),
    ("dyck", "dyck2_ptf", "(){}", False, [1, 1, 1, 1]),
    ("dyck", "dyck3_ptf", "(){}[]", False, [1, 1, 1, 1]),
    ("addition", "longsum", "0123456789+", False, [2, 1, 1, 1, 1]),
    ("shuffle_dyck", "shuffle_dyck2", "(){}", False, [2, 2, 0]),
    ("frac_prevs", "frac_of_x", "xy", False, [1]),
    ("slide", "slide", "ab<", False, [1, 1]),
    ("detect_pattern", "detect_ab", "ab", False, [2]),
    ("less_frequent", "less_than_three", "abc", False, [1, 1]),
    ("parity", "parity", "01", False, [1]),
    ("cumsum", "running_sum", [0, 1, 2], False, [1]),
    ("align_right", "align_right", "ab_", False, [1, 1]),
    ("first", "first_l", "helo", False, [1, 1]),
    ("minimum", "minimum", "abc", False, [2, 1, 1]),
    ("shift", "shift_by_two", "abc", False, [1]),
    ("induction", "induction", "abc", True, [1, 1, 1]),
    ("frac_prevs", "frac_of_x", "xy", True, [1]),
    ("parity", "running_parity", "01", True, [1]),
    ("copy", "copy", "ab|", True, [1, 1]),
    ("next_digit", "next_digit", "0123456789+=", True, [2, 2, 1]),
]
SIZE = 24


@pytest.mark.parametrize(("file", "name", "alphabet", "causal", "heads"), LIBRARY)
def test_library_programs_are_equal_in_weights(
    file: str, name: str, alphabet: Any, causal: bool, heads: list[int]
) -> None:
    """With the same heads per layer whenever they are compiled; on inputs of every length."""
    program, rng = library(file, name, causal), random.Random(0)
    compiled = compile_program(program, alphabet, SIZE, causal=causal)
    assert list(compiled.heads) == heads
    inputs = [[rng.choice(alphabet) for _ in range(size)] for size in range(SIZE + 1)]
    if "§" in alphabet:
        inputs = [["§", *rng.choices(alphabet[1:], k=size)] for size in range(SIZE)]
    if name == "longsum":
        inputs = [list(sums(rng, size)) for size in range(3, SIZE + 1)]
    if "unique" in name:
        inputs = [rng.sample(alphabet, k=size) for size in range(len(alphabet) + 1)]
    assert compiled.batch(inputs) == run_batch(program, inputs, causal=causal)


@pytest.mark.parametrize(("name", "alphabet"), [("copy", "abc|"), ("next_digit", "0123456789+=")])
def test_programs_whose_value_is_the_next_token(name: str, alphabet: str) -> None:
    """Texts grow by the value at their last position, in the interpreter and in weights, up to the end."""
    program, rng = library(name, name, causal=True), random.Random(5)
    compiled = compile_program(program, alphabet, SIZE, causal=True)
    for size in (1, 2, 3, 5, 6):
        if name == "copy":
            text = "".join(rng.choices("abc", k=size))
            begin, rest = f"{text}|", f"{text}|"
        else:
            first, second = 10**size - 1, rng.randrange(10**size)
            begin = "".join(f"{number:0{size}}"[::-1] + sign for number, sign in ((first, "+"), (second, "=")))
            rest = f"{first + second:0{size + 1}}"[::-1] + "="
        whole = begin + rest
        for place in range(len(begin), len(whole)):
            assert run(program, whole[:place], causal=True)[-1] == whole[place]
        assert compiled(whole[:-1])[len(begin) - 1 :] == list(rest)


@pytest.mark.parametrize(("name", "end"), [("copy", "|"), ("next_digit", "=")])
def test_next_token_programs_compile_for_64_tokens(name: str, end: str) -> None:
    """The place that they look up is copied as a number, 65 times as large along its line, and is exact enough."""
    alphabet = "abc|" if name == "copy" else "0123456789+="
    program, rng = library(name, name, causal=True), random.Random(6)
    compiled = compile_program(program, alphabet, 64, causal=True)
    weights = [[1 if letter == end else often for letter in alphabet] for often in (1, 30, 0.2)]
    inputs = [rng.choices(alphabet, weights[place % 3], k=64 - place % 9) for place in range(60)]
    assert compiled.batch(inputs) == run_batch(program, inputs, causal=True)
    place = next(at for at, one in enumerate(compiled.names.dimensions) if one.startswith("aggregate_min"))
    stream = trace(compiled.model, compiled.ids(inputs[0]), "blocks.0.hook_resid_mid")["blocks.0.hook_resid_mid"]
    copied = stream[0, 1:, place].double()
    assert copied.abs().max() > 1
    assert (copied - copied.round()).abs().max() < 2e-6 * 64


@cache
def lowered(program: SOp, alphabet: str | tuple[int, ...], size: int, causal: bool) -> Lowering:
    """The nodes of a program, which do not depend on the architecture."""

    class Lowered(Lowering):
        """What is lowered already."""

        def lower(self, program: SOp) -> Node:
            return self._nodes[program] if program in self._nodes else super().lower(program)

    found = Lowered(list(alphabet), size, causal)
    found.lower(program)
    return found


@pytest.mark.parametrize("architecture", [one for one in ARCHITECTURES if one != ORDINARY], ids=str)
@pytest.mark.parametrize(("file", "name", "alphabet", "causal", "heads"), [
    one for one in LIBRARY if one[1] in ("reverse", "sorted", "dyck2_ptf", "shuffle_dyck2", "running_sum", "induction")
])  # fmt: skip
def test_other_architectures_compute_the_same(
    file: str,
    name: str,
    alphabet: Any,
    causal: bool,
    heads: list[int],
    architecture: Architecture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without norms or with layer norms, with ReLU or with SwiGLU, in as many layers and heads."""
    program, rng = library(file, name, causal), random.Random(3)
    once = lowered(program, alphabet if isinstance(alphabet, str) else tuple(alphabet), 12, causal)
    monkeypatch.setattr("sayso.rasp.compile.program.Lowering", lambda *_: once)
    compiled = compile_program(program, alphabet, 12, causal=causal, architecture=architecture)
    config = compiled.model.config
    assert Architecture(config.norm, config.mlp) == architecture  # type: ignore[arg-type]
    kinds = {type(module) for module in compiled.model.modules() if isinstance(module, RMSNorm | nn.LayerNorm)}
    assert kinds == {"none": set(), "rms": {RMSNorm}, "layer": {nn.LayerNorm}}[architecture.norm]
    assert list(compiled.heads) == heads
    assert len(compiled.names.dimensions) == config.width
    inputs = [[rng.choice(alphabet) for _ in range(size)] for size in (*range(13), 12, 12)]
    assert compiled.batch(inputs) == run_batch(program, inputs, causal=causal)


def test_a_layer_norm_whose_mean_loses_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its rounding may change is computed from the constant of the norm, and compared with each gap."""
    gpt2, reverse = Architecture("layer", "gelu"), library("reverse", "reverse")
    compile_program(reverse, "ab", 8, architecture=gpt2)
    monkeypatch.setattr("sayso.rasp.compile.weights._norm_size", lambda _: 2.0**40)
    with pytest.raises(CompileError, match="A layer norm rounds it too coarsely in float32"):
        compile_program(reverse, "ab", 8, architecture=gpt2)


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_a_number_beside_which_no_norm_is_exact_is_refused(norm: Any) -> None:
    """The square of the constant of the norm, 8,192 times as large, would be infinite in float32."""
    mean, alphabet = aggregate(select(1, 1), tokens), [0, 2 * 10**14]
    with pytest.raises(CompileError, match=r"as large as 6e\+14, beside which a norm .* in sum of tokens"):
        compile_program(mean, alphabet, 3, architecture=Architecture(norm, "gelu"))
    inputs = [[0], alphabet, [0, 0, alphabet[1]]]
    plain = compile_program(mean, alphabet, 3, architecture=Architecture("none", "gelu"))
    assert plain.batch(inputs) == run_batch(mean, inputs)


@pytest.mark.parametrize("large", [2**50, 10**40, 10**400, Fraction(1, 10**40), Fraction(1, 10**400)], ids=range(5))
def test_sums_that_float32_does_not_hold_are_refused(large: Any) -> None:
    """Whatever the size of the numbers that are only copied, compared or looked up."""
    alphabet, plain = [0, large], Architecture("none", "relu")
    with pytest.raises(CompileError, match=r"Its sums do not fit float32: .* in sum of tokens"):
        compile_program(aggregate(select(1, 1), tokens), alphabet, 3, architecture=plain)
    moved = aggregate(select(indices, indices - 1), tokens) - indices
    inputs = [[0], alphabet, [large, 0, large]]
    after = where(indices == 0, 0, moved)
    assert compile_program(after, alphabet, 3, architecture=plain).batch(inputs) == run_batch(after, inputs)


def test_the_rounding_of_a_weight_grows_with_its_logarithm() -> None:
    """The score of the beginning token is the logarithm of the weight, and rounded; another total may raise it."""
    node = Lowering(list("ab"), 64, False).lower(length)
    assert isinstance(node, Total)

    def demand(*slopes: float) -> None:
        encoder = Encoder(Embedded("tokens", ("a", "b")), Embedded("indices", tuple(range(64))), ORDINARY)
        for slope in slopes:
            encoder._demand(node, slope)

    demand(60.0)
    with pytest.raises(CompileError, match=r"cannot be separated in float32: .* in length"):
        demand(600.0)  # with 8 roundings, whatever the weight, it would pass


@pytest.mark.parametrize(("family", "norm", "mlp", "file", "name", "alphabet", "causal"), [
    ("gpt2", "layer", "gelu", "induction", "induction", "abc", True),
    ("gpt2", "layer", "gelu", "frac_prevs", "frac_of_x", "xy", True),
    ("gpt2", "layer", "gelu", "reverse", "reverse", "abc", False),
    ("gpt2", "layer", "gelu", "dyck", "dyck2_ptf", "(){}", False),
    ("gpt2", "layer", "relu", "induction", "induction", "abc", True),
    ("gpt2", "layer", "relu", "dyck", "dyck2_ptf", "(){}", False),
    ("smollm3", "rms", "swiglu", "histogram", "hist_nobos", "abc", True),
    ("smollm3", "rms", "swiglu", "histogram", "hist_nobos", "abc", False),
])  # fmt: skip
def test_transformers_opens_what_has_a_family(
    family: str, norm: Any, mlp: Any, file: str, name: str, alphabet: str, causal: bool, tmp_path: Path
) -> None:
    """The same values by its own forward pass; a program in both directions needs a mask that shows every position."""
    hub = pytest.importorskip("transformers", reason="transformers is needed: pip install -e '.[bench]'")
    program, rng = library(file, name, causal), random.Random(4)
    compiled = compile_program(program, alphabet, 12, causal=causal, architecture=Architecture(norm, mlp))
    save(compiled, tmp_path / "model", lineage_of(compiled, program, name))
    assert read_json(tmp_path / "model/config.json")["model_type"] == family
    loaded = load(tmp_path / "model").compiled
    theirs = hub.AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager")
    choices = torch.tensor(list(compiled.vocabulary.results))
    for size in (1, 2, 7, 12):
        given = rng.choices(alphabet, k=size)
        expected = run(program, given, causal=causal)
        assert loaded(given) == expected
        seen = None if causal else torch.zeros(1, 1, size + 1, size + 1)  # added to the scores
        with torch.no_grad():
            logits = theirs(torch.tensor([compiled.ids(given)]), attention_mask=seen).logits
        best = choices[logits[0, 1:, choices].argmax(-1)].tolist()
        assert [compiled.vocabulary.results[index] for index in best] == expected


def test_long_inputs_of_a_program_with_many_sums() -> None:
    """Thousands of means at one position, of which only those that are 0 differ from the others."""
    program, rng = library("shuffle_dyck", "shuffle_dyck2"), random.Random(2)
    inputs = ["(){}" * 16, "({)}" * 16, "(" * 32 + ")" * 32, "(" * 32 + ")" * 31 + "}", rng.choices("(){}", k=64)]
    assert compile_program(program, "(){}", 64).batch(inputs) == run_batch(program, inputs)


def test_no_program_takes_more_layers_than_published() -> None:
    """Layers by RASP's own scheduler; one more head only where a head would have to compute "or"."""
    published = {"length_by_attention": [1], "reverse": [1, 1], "hist_bos": [1], "hist_nobos": [2], "sort_bos": [1, 1],
                 "hist2_bos": [2, 1], "sort_by_most_freq": [2, 1, 1], "dyck1_ptf": [1, 1], "dyck2_ptf": [1, 2, 1, 1],
                 "dyck3_ptf": [1, 2, 1, 1], "longsum": [2, 1, 1, 1, 1]}  # fmt: skip
    if CASES:
        known = CASES["rasp_published"]["layers_heads"]
        assert {name: heads for name, heads in published.items() if name != "length_by_attention"} | {
            "length": [1]
        } == known
    ours = {name: heads for _, name, _, causal, heads in LIBRARY if name in published and not causal}
    assert ours.keys() == published.keys()
    for name, heads in published.items():
        assert len(ours[name]) <= len(heads), name
        more = sum(ours[name]) - sum(heads)
        assert more <= (1 if name in ("sort_bos", "sort_by_most_freq") else 0), name


@needs_data
@pytest.mark.parametrize("kind", ["tracr_bidirectional_cases", "tracr_causal_cases"])
def test_programs_that_tracr_compiles(kind: str) -> None:
    """The same outputs on its own test inputs, at its vocabularies and lengths."""
    programs = {
        "frac_prevs_1": ("frac_prevs", 'frac_prevs("l")'), "frac_prevs_3": ("frac_prevs", 'frac_prevs(")")'),
        "shift_by_two": ("shift", "shift_by_two"), "detect_pattern_ab": ("detect_pattern", "detect_ab"),
        "reverse": ("reverse", "reverse"), "length_categorical": ("length", "length_by_attention"),
        "length_numerical": ("length", "length_by_attention"), "pair_balance": ("pair_balance", "balance"),
        "shuffle_dyck2": ("shuffle_dyck", "shuffle_dyck2"), "shuffle_dyck3": ("shuffle_dyck", "shuffle_dyck3"),
        "sort_unique": ("sort", "sort_unique(tokens_int, tokens_int)"),
        "sort": ("sort", "sort(tokens_int, tokens_int)"),
        "make_count_less_freq_categorical": ("less_frequent", "less_than_three"),
        "make_count_less_freq_numerical": ("less_frequent", "less_than_three"),
        "make_count": ("histogram", 'count(tokens, "a")'),
        "make_nary_sequencemap": ("length", "indices * indices / tokens_int"),
        "selector_width": ("histogram", "selector_width(full_s)"),
    }  # fmt: skip
    causal = kind == "tracr_causal_cases"
    for case in CASES[kind]:
        name = case["name"] if case["name"] in programs else case["name"].rpartition("_")[0]
        compiled = compile_program(
            library(*programs[name], causal), case["vocab"], case["max_seq_len"] + 5, causal=causal
        )
        for got, expected in zip(compiled(case["input"]), case["expected"], strict=True):
            same = got == expected or (isinstance(expected, float) and got is not None)
            assert same, case
            assert not isinstance(expected, float) or abs(Fraction(got) - Fraction(expected)) < 1e-9, case  # type: ignore[arg-type]


def test_a_mean_times_its_width_depends_on_the_sum_alone() -> None:
    """Without the count and the index, of which there are 64 times as many combinations."""
    total = aggregate(SO_FAR, length - indices, 0) * selector_width(SO_FAR)
    node = Lowering(list("ab"), 64, False).lower(total)
    assert isinstance(node, Apply)
    assert [(type(slot), slot.text) for slot in node.slots] == [(Total, "sum of length - indices")]
    for default, source in ((1, length - indices), (0, where(tokens == "a", None, indices))):
        other = aggregate(SO_FAR, source, default) * selector_width(SO_FAR)
        batch = ["", "ab", "bbab"]
        assert compile_program(other, "ab", 4).batch(batch) == run_batch(other, batch)
        nothing = aggregate(select(tokens, "c"), indices, default) * selector_width(select(tokens, "c"))
        assert compile_program(nothing, "abc", 4).batch(batch) == run_batch(nothing, batch)


def test_the_rounding_of_a_line_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units that are off are left out of a part, and no other: the sum of 299 steps stays what it should be."""
    node = Embedded("x", tuple(range(300)))
    places = np.arange(300)
    found = find_line({node: (places, node.values)}, places, "x")
    steps, expected = [found.step(change) for change in range(299)], places.astype(float)
    expected -= sum(step.falls for step in steps)  # all of which are on at the beginning
    whole = rounding(found, steps, np.ones(299), expected)
    for size in (1, 7, 300):
        monkeypatch.setattr("sayso.rasp.compile.line.PART", size)
        assert rounding(found, steps, np.ones(299), expected) == pytest.approx(whole, abs=1e-3)
    assert whole < 1e-3
    assert rounding(found, steps[1:], np.ones(298), expected) > 1


def test_where_tracr_is_wrong() -> None:
    """None in a second aggregate, means of thirds times ten, and lengths far beyond ten."""
    same = select(indices, tokens)
    twice = compile_program(aggregate(same, aggregate(same, indices)), [1, 2, 3, 4], 6)
    assert twice([1, 2, 3, 4]) == [2, 3, None, None]
    share = 10 * aggregate(select(indices, indices, "<="), indicator(tokens == "x"))
    expected = [10, 10, Fraction(20, 3), Fraction(15, 2), 6, Fraction(20, 3)]
    assert compile_program(share, "xy", 8)("xxyxyx") == expected
    reverse, count = aggregate(select(indices, length - 1 - indices), tokens), compile_program(length, "ab", 256)
    moved = aggregate(select(indices, indices - 1), tokens)
    backwards, shifted = (compile_program(one, "abcd", 100) for one in (reverse, moved))
    for size in (8, 10, 24, 99, 100, 255, 256):
        assert count("ab" * (size // 2) + "a" * (size % 2)) == [size] * size
        if size <= 100:
            text = random.Random(size).choices("abcd", k=size)
            assert backwards(text) == text[::-1]
            assert shifted(text) == [None, *text[:-1]]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("relation", RELATIONS)
def test_a_width_takes_one_head_without_a_beginning_token_in_the_input(relation: str, causal: bool) -> None:
    """The model adds its own; two heads are needed only by programs that may not add one (`selector_width` in RASP)."""
    inputs = [list(rest) for size in range(5) for rest in product(range(3), repeat=size)]
    for key, query in ((tokens, tokens), (indices, tokens), (tokens, length), (tokens, 1)):
        width = selector_width(select(key, query, relation) & select(tokens, indices, "!="))
        compiled = compile_program(width, range(3), 4, causal=causal)
        assert compiled.heads[-1] == 1
        assert compiled.batch(inputs) == run_batch(width, inputs, causal=causal)


def test_a_selector_of_any_shape() -> None:
    """And of several, or, not; None among keys and queries; the largest; defaults of each kind; and nothing."""
    later = select(tokens, "b") & ~select(indices, indices, "<=")
    shifted = aggregate(select(indices, indices - 1), tokens)
    programs = [
        selector_width(~(later | select(tokens, tokens))),
        selector_width(~later),
        aggregate(later & select(indices, length - 1), tokens, "-"),
        selector_width(select(shifted, tokens) | select(tokens, shifted, "!=")),
        where(shifted == "a", tokens, shifted),
        aggregate(select(tokens, "c"), indices, -1),
        lookup({"a": 1, "b": None, "c": 3}, tokens),
        aggregate(select(1, 1), lookup({"a": 1, "b": 2, "c": None}, tokens)),
        aggregate(select(1, 2), tokens, "nothing"),
        length * 0 + 1,
    ]
    rng = random.Random(1)
    inputs = [rng.choices("abc", k=size) for size in (0, 1, 2, 3, 5, 7, 7, 7)]
    for program in programs:
        assert compile_program(program, "abc", 7).batch(inputs) == run_batch(program, inputs), program
    largest = aggregate(select(tokens, 1, ">"), tokens, 0, how="max") - aggregate(select(1, 1), tokens, how="min")
    numbers = [rng.choices(range(4), k=6) for _ in range(8)]
    assert compile_program(largest, range(4), 6, causal=True).batch(numbers) == run_batch(largest, numbers, causal=True)


@pytest.mark.parametrize(
    ("build", "alphabet", "size", "told"),
    [
        (lambda: tokens + 1, "ab", 4, "It has no value for any input: '+' needs two numbers"),
        (lambda: select(tokens, 1, "<"), "ab", 4, "'<' needs two numbers or two strings"),
        (lambda: aggregate(select(1, 1), aggregate(select(tokens, "a"), indices)), "ab", 20, "a mean of 2,434"),
        (lambda: aggregate(select(1, 1), indices, how="max"), "ab", 4, "exists only in the causal dialect"),
        (lambda: tokens, "", 4, "An alphabet has one or more tokens"),
        (lambda: tokens, "ab", 0, "compiled for a length of 1 to 1,024 tokens; got 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_is_refused(build: Callable[[], Any], alphabet: str, size: int, told: str) -> None:
    """With the reason, and the expression where there is one."""
    one = build()
    with pytest.raises(UserError) as raised:
        compile_program(selector_width(one) if isinstance(one, Selector) else one, alphabet, size)
    assert told in str(raised.value)
    if isinstance(raised.value, CompileError):
        assert str(raised.value) == f"{raised.value.reason} This happens in {raised.value.expression}."


def test_an_input_outside_the_contract_is_refused() -> None:
    """Too long, or with another token."""
    compiled = compile_program(tokens, "ab", 3)
    assert compiled("aba") == ["a", "b", "a"]
    with pytest.raises(UserError, match="for inputs of up to 3 tokens; got 4"):
        compiled("abab")
    with pytest.raises(UserError, match='"c" is not in the alphabet that this program is compiled for: "a", "b"'):
        compiled("abc")


def test_tokens_that_are_written_alike_are_refused() -> None:
    """They would be one id."""
    for alphabet in (["1", 1], [Fraction(1, 2), "1/2"]):
        with pytest.raises(UserError, match="are written alike; omit one from the alphabet"):
            compile_program(tokens == alphabet[0], alphabet, 3)


def test_every_part_of_a_model_has_a_name() -> None:
    """Dimensions, heads and hidden units; those of a name do what it says."""
    compiled = compile_program(library("reverse", "reverse"), "abc", 5)
    config, names = compiled.model.config, compiled.names
    assert len(names.dimensions) == config.width
    assert len(set(names.dimensions)) == config.width
    assert max(map(len, names.units)) == config.mlp_width
    assert names.heads == (("length",), ("select(indices, (length - 1) - indices, ==)",))
    embedding = compiled.model.embed.weight[compiled.vocabulary.tokens["b"]]
    assert [names.dimensions[place] for place in embedding.nonzero()[:, 0]][:2] == ["one", "norm"]
    assert any(name.startswith("tokens") for name in names.dimensions)


def test_a_saved_program_is_the_same(tmp_path: Path) -> None:
    """Values of each type survive, and so does the text of the program."""
    half = where(tokens == "a", aggregate(select(1, 1), indicator(tokens == "a")), aggregate(select(1, 2), indices))
    for number, program in enumerate((half, tokens == "a", library("addition", "longsum"))):
        alphabet, given = ("0123456789+", "17+25") if number == 2 else ("abc", "abca")
        compiled = compile_program(program, alphabet, 5)
        save(compiled, tmp_path / str(number), lineage_of(compiled, program, "program"))
        loaded = load(tmp_path / str(number))
        card = (tmp_path / str(number) / "README.md").read_text()
        assert "Compiled with Sayso from `program`." in card
        assert "parent: none (computed from the program, not trained)" in card
        assert "inputs of at most 5 tokens" in card
        assert loaded.compiled(given) == compiled(given) == run(program, given)
        assert loaded.compiled.names == compiled.names
        session = Session()
        results = session.text(loaded.text)
        assert run(results[-1].item, given) == run(program, given)  # type: ignore[union-attr, arg-type]
        for name, weight in compiled.model.state_dict().items():
            assert torch.equal(weight, loaded.compiled.model.state_dict()[name])


def test_statements_say_all_entries() -> None:
    """A long table is not cut, as it is in messages."""
    program = lookup({str(number): Fraction(-number, 3) for number in range(20)}, tokens) + -2
    session = Session()
    assert run(session.text(statements(program))[-1].item, "7") == run(program, "7")  # type: ignore[union-attr, arg-type]
    assert "..." in str(program)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile, run, and what else opens the folder."""
    monkeypatch.chdir(tmp_path)
    assert command(["rasp", "compile", "dyck", "--length", "8", "--name", "dyck1"]) == 0
    told = capsys.readouterr()
    assert "Alphabet: ()" in told.out + told.err
    assert "2 layers with 1 + 1 heads of size " in told.out + told.err
    assert command(["rasp", "run", "dyck1", "--input", "(()"]) == 0
    assert "[P]*3 (strings)" in capsys.readouterr().out
    assert command(["rasp", "compile", "dyck", "--length", "8", "--name", "dyck1"]) == 0
    assert command(["rasp", "compile", "dyck", "--length", "9", "--name", "dyck1"]) == 2
    assert command(["rasp", "compile", "dyck", "--length", "8", "--norm", "layer", "--out", "gpt2"]) == 0
    assert read_json(Path("gpt2/config.json"))["model_type"] == "gpt2"
    assert command(["rasp", "compile", "dyck", "--length", "8", "--mlp", "swiglu", "--out", "gated"]) == 0
    assert read_json(Path("gated/config.json"))["hidden_act"] == "silu"
    assert command(["rasp", "run", "gated", "--input", "(()"]) == 0
    plain = ["--norm", "none", "--mlp", "relu", "--out", "plain"]
    assert command(["rasp", "compile", "dyck", "--length", "8", *plain]) == 0
    assert read_json(Path("plain/config.json"))["shape"]["norm"] == "none"
    assert command(["rasp", "run", "plain", "--input", "(()"]) == 0
    capsys.readouterr()
    assert command(["generate", "(", "--model", "dyck1"]) == 2
    assert "attends in both directions" in capsys.readouterr().err
    with pytest.raises(UserError, match="attends in both directions"):
        load_model(Path("life/models/dyck1"))
    assert (
        command(["rasp", "compile", "induction", "--causal", "--alphabet", "abc", "--out", "there", "--length", "16"])
        == 0
    )
    assert read_json(Path("there/config.json"))["model_type"] == "sayso"
    assert command(["generate", "abcab", "--model", "there", "--temperature", "0", "--max-tokens", "4", "--raw"]) == 0
    assert capsys.readouterr().out.endswith("cabc\n")
    for words, sentence in (
        (["run", "there"], "needs one input"),
        (["run", "there", "--input", "x"], "not in the alphabet"),
        (["run", "there", "--input", "a" * 17], "up to 16 tokens; got 17"),
        (["run", "no-model", "--input", "a"], "A model must be one of dyck1"),
        (["compile", "reverse", "--alphabet", "ab", "--tokens", "a"], "either --alphabet or --tokens"),
        (["compile", "reverse", "--result", "select(1, 1, ==)"], "is a selector"),
        (["compile", "revers"], "Did you mean 'reverse'"),
        (["compile", "reverse", "--result", "tokens + 1"], "This happens in"),
    ):
        assert command(["rasp", *words]) == 2
        assert sentence in capsys.readouterr().err
    (tmp_path / "there/rasp.json").write_text("{}")
    assert command(["rasp", "run", "there", "--input", "a"]) == 2


def test_an_input_without_a_value_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights have some value there, which is not printed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvaluationError):
        run(1 / (tokens - 1), [1])
    assert command(["rasp", "compile", "length", "--result", "1 / (tokens_int - 1)", "--tokens", "1", "2", "3"]) == 0
    capsys.readouterr()
    assert command(["rasp", "run", "out", "--values", "1", "2"]) == 2
    told = capsys.readouterr()
    assert "cannot be divided by 0" in told.err
    assert told.out == ""


def test_eight_bits_where_the_margin_allows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that stays right is saved, with its margin, and runs; one that does not is refused, and not saved."""
    monkeypatch.chdir(tmp_path)
    few = ["--result", "hist_nobos", "--alphabet", "ab", "--length", "5", "--norm", "none"]
    many = ["--result", "tokens_int * length", "--tokens", *map(str, range(60)), "--length", "2", "--norm", "none"]
    for name, words in (("exact", few), ("large", many), ("normed", few[:-2])):
        assert command(["rasp", "compile", "histogram", *words, "--name", name]) == 0
    capsys.readouterr()
    assert command(["quantize", "exact", "--bits", "8"]) == 0
    assert "The margin is 1.00 of 1, on all 62 inputs." in capsys.readouterr().out
    assert command(["rasp", "run", "exact-8bit", "--input", "abaab"]) == 0
    assert "[3, 2, 3, 3, 2] (ints)" in capsys.readouterr().out
    assert read_json(Path("life/models/exact-8bit/config.json"))["quantization_config"]["format"] == "pack-quantized"
    assert command(["quantize", "exact", "--bits", "8"]) == 0
    assert "already been quantized" in capsys.readouterr().out
    for ignored in (["--text", "wiki"], ["--tokens", "9"], ["--n", "0"], ["--device", "cuda"]):
        assert command(["quantize", "exact", "--bits", "8", "--name", "other", *ignored]) == 2
        assert f"on the CPU alone; omit {ignored[0]}." in capsys.readouterr().err
    monkeypatch.setattr("sayso.run.rasp_weights.run", lambda *_, **__: [0])
    assert command(["rasp", "run", "exact-8bit", "--input", "abaab"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "The interpreter gives [0] (ints), which rounding to 8 bits has changed." in told
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert command(["quantize", "large", "--bits", "8"]) == 2
    told = capsys.readouterr().err
    assert "'life/models/large' has no margin for 8 bits: for [" in told
    assert "Compile it for a smaller --length" in told
    assert not Path("life/models/large-8bit").exists()
    assert command(["quantize", "normed", "--bits", "8"]) == 2
    assert "--head 0" in capsys.readouterr().err
    assert command(["quantize", "normed", "--bits", "8", "--head", "0"]) == 0
    for name, sentence in (("exact-8bit", "quantized to 8 bits already"), ("exact", "--method nearest")):
        assert command(["quantize", name, "--bits", "4" if name == "exact" else "8", "--name", "other"]) == 2
        assert sentence in capsys.readouterr().err


def test_a_program_without_a_choice_has_the_whole_margin_and_one_without_values_is_not_rounded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one value, there is no other whose logit could be larger; what has no input with values cannot be checked."""
    monkeypatch.chdir(tmp_path)
    plain = ["--alphabet", "a", "--length", "1", "--norm", "none", "--name", "one"]
    assert command(["rasp", "compile", "length", "--result", "length * 0", *plain]) == 0
    assert "1 layer with 0 heads of size 1, 2 dimensions, 1 hidden unit, " in " ".join(capsys.readouterr().out.split())
    assert command(["quantize", "one"]) == 0
    assert "The margin is 1.00 of 1, on all 1 input." in capsys.readouterr().out
    assert read_json(Path("life/runs/quantize-one-8bit/scores.json"))["margin"] == 1
    nothing = Margin(1.0, (), 0, all=False)
    monkeypatch.setattr("sayso.run.quantize_rasp.margin_of", lambda *_: nothing)
    assert command(["quantize", "one", "--name", "other"]) == 2
    assert "No input of 'life/models/one' that was tried has values" in " ".join(capsys.readouterr().err.split())
    assert not Path("life/models/other").exists()


def test_the_margin_of_weights() -> None:
    """It is 1 as compiled; inputs without a value do not count; wrong weights have none, and name the input."""
    program = 1 / (tokens - 1)
    compiled = compile_program(program, [1, 2, 3], 4)
    margin = margin_of(compiled, program)
    assert margin.smallest == pytest.approx(1, abs=1e-3)
    assert (margin.inputs, margin.all) == (2 + 4 + 8 + 16, True)
    assert not margin_of(compiled, program, most=20).all
    compiled.model.unembed.weight.neg_()
    assert margin_of(compiled, program).smallest <= -1
    compiled.model.unembed.weight.fill_(torch.nan)
    assert margin_of(compiled, program).smallest == -torch.inf
