"""Machines in weights: the hull = all keys, weights = definition, and a stack machine = a plain interpreter of it."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.rasp.machine.cache import HullCache, PlainCache
from sayso.rasp.machine.dense import dense
from sayso.rasp.machine.dialect import (
    Field,
    Head,
    Lookup,
    NextToken,
    Stream,
    Vocabulary,
    at_least,
    equals,
    gated,
    keys,
    position,
    relu,
    square,
    total,
    where,
)
from sayso.rasp.machine.interpreter import Values, next_tokens
from sayso.rasp.machine.run import Streaming, encode, generate
from sayso.rasp.machine.stack import STOPS, Sizes, assemble, interpret, stack_machine
from sayso.rasp.machine.weights import Weights, compile_program

SMALL = st.integers(-4, 4)
LARGE = st.integers(-(10**9), 10**9)
LENGTH = 16
SIZES = Sizes(numbers=16, instructions=32, cells=4)
COUNTDOWN = """
    push 5
    store 0
loop:
    load 0
    print
    load 0  # one less
    push 1
    sub
    dup
    store 0
    jump_if loop
    push 3
    push 7
    swap
    less
    print
    halt
"""


@pytest.fixture(scope="module")
def machine() -> Weights:
    """A small machine as weights."""
    return compile_program(stack_machine(SIZES))


@settings(max_examples=300, deadline=None)
@given(st.one_of(*(st.lists(st.tuples(st.tuples(some, some), st.tuples(some, some))) for some in (SMALL, LARGE))))
def test_the_hull_finds_the_key_that_trying_all_finds(steps: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    """In any direction, also for equal keys, keys on a line, and products that are equal."""
    cache, known = HullCache(), []
    for key, (a, b) in steps:
        cache.add(*key)
        known.append(key)
        ranks = [(a * x + b * y, x, y, number) for number, (x, y) in enumerate(known)]
        assert cache.best(a, b) == max(ranks)[-1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL)), max_size=30))
def test_the_plain_cache_breaks_ties_alike(steps: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    """So that a program runs the same with either."""
    plain, hull = PlainCache(), HullCache()
    for key, query in steps:
        plain.add(*key)
        hull.add(*key)
        assert plain.best(*query) == hull.best(*query)


def test_positions_stay_corners_of_the_hull() -> None:
    """The keys (k, -k^2) are all found again, each by the query of its position."""
    cache = HullCache()
    for place in range(2000):
        cache.add(place, -place * place)
    assert len(cache.upper.xs) == 2000
    assert [cache.best(2 * place, 1) for place in range(2000)] == list(range(2000))


def _stream(draw: st.DrawFn, known: list[Stream]) -> Stream:
    """Draw a stream that is computed from known ones."""
    one, other, third = (draw(st.sampled_from(known)) for _ in range(3))
    number = draw(SMALL)
    return draw(
        st.sampled_from(
            [
                one + number * other,
                relu(one - number),
                where(at_least(one, number), other, third),
                gated(equals(one, number), other),
                total(one),
                keys(one).at(other + number, third)[0],
                keys(position).at(position + number, third)[0],
            ]
        )
    )


@st.composite
def programs(draw: st.DrawFn) -> NextToken:
    """A random program of the dialect over the tokens a, b, c."""
    tokens = Vocabulary({name: {"one": draw(SMALL), "two": draw(SMALL)} for name in "abc"})
    known: list[Stream] = [Field("one"), Field("two"), position]
    for _ in range(draw(st.integers(1, 6))):
        known.append(_stream(draw, known))
    return NextToken(tokens, {"one": known[-1], "two": known[-2]})


def _sum_of_sums() -> NextToken:
    one = Field("one")
    return NextToken(Vocabulary({"a": {"one": 1}, "b": {"one": 2}}), {"one": total(total(one)), "two": total(one)})


@settings(max_examples=150, deadline=None)
@given(programs(), st.text("abc", min_size=1, max_size=12))
def test_weights_compute_what_a_program_means(program: NextToken, tokens: str) -> None:
    """On random programs, the next tokens are the nearest, and scores are what their distances say."""
    weights = compile_program(program)
    ids = encode(weights, tokens)
    values = Values(program, tokens)
    found = {name: np.array(values.of(stream)) for name, stream in program.fields.items()}
    for cache in (HullCache, PlainCache):
        stream = Streaming(weights, cache)
        rows = np.array([stream.read(index) for index in ids])
        names = list(program.vocabulary.tokens)
        logits = rows @ weights.unembed.T
        assert [names[index] for index in logits.argmax(1)] == next_tokens(program, tokens)
        for name, column in zip(names, logits.T, strict=True):
            fields = program.vocabulary.tokens[name]
            assert list(column) == list(sum(2 * fields[key] * found[key] - fields[key] ** 2 for key in found))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(
    ["push 0", "push 1", "push 15", "drop", "dup", "swap", "add", "sub", "less", "equal", "load 0", "load 3",
     "store 0", "store 3", "jump_if end", "jump_if start", "jump end", "print"]), max_size=28))  # fmt: skip
def test_the_weights_run_any_program_as_the_interpreter(machine: Weights, lines: list[str]) -> None:
    """Each token is that of the plain interpreter, with the hull and with the plain cache, to the end or 200 steps."""
    program = assemble("\n".join(["start:", *lines, "end:", "halt"]), SIZES)
    expected = list(islice(interpret(program, SIZES), 200))
    for cache in (HullCache, PlainCache):
        assert list(islice(generate(machine, program, STOPS, cache), len(expected))) == expected


def test_a_run_ends_with_its_token(machine: Weights) -> None:
    """`generate` stops after "halted"; the numbers printed are those of the program."""
    program = assemble(COUNTDOWN, SIZES)
    found = list(generate(machine, program, STOPS))
    assert found == list(interpret(program, SIZES))
    assert [token for token in found if token.startswith("printed")] == [f"printed {n}" for n in (5, 4, 3, 2, 1, 0)]
    assert found[-1] == "halted"


@pytest.mark.parametrize(("factor", "tokens"), [(2**52 - 1, 1), (2**52, 0), (2**51, 1), (2**51 - 1, 2)])
def test_numbers_beyond_float64_are_refused(factor: int, tokens: int) -> None:
    """The logit, 2 x - 1 with an x that is the factor times the number of tokens, is a sum of less than 2^53."""
    vocabulary = Vocabulary({"a": {"one": 1}})
    weights = compile_program(NextToken(vocabulary, {"one": relu(factor * total(Field("one")))}))
    stream = Streaming(weights)
    for _ in range(tokens):
        stream.read(0)
    with pytest.raises(UserError, match=rf"At token {tokens + 1} a number may pass 9,007,199,254,740,992"):
        stream.read(0)


def test_a_machine_runs_until_the_square_of_a_position_is_too_large(machine: Weights) -> None:
    """Rows are bounded one by one: that of the largest coefficients has no squares."""
    stream = Streaming(machine)
    stream.time = 94_906_265
    index = encode(machine, ["push 3"])[0]
    stream.read(index)
    with pytest.raises(UserError, match=r"At token 94,906,267 a number may pass"):
        stream.read(index)


def test_infinite_numbers_are_refused() -> None:
    """Within one step; as a key, beside a zero, and by the ordinary Transformer."""
    x: Stream = Field("one")
    for _ in range(12):
        x = square(x)
    for stream in (x, x - square(x), *keys(x).at(position, x)):
        weights = compile_program(NextToken(Vocabulary({"a": {"one": 9}}), {"one": stream}))
        with pytest.raises(UserError, match="At token 1 a number may pass"):
            Streaming(weights).read(0)
        with pytest.raises(UserError, match="too large for float32"):
            dense(weights, LENGTH)


def test_a_program_may_be_constant() -> None:
    """The next token is the nearest to a number."""
    program = NextToken(Vocabulary({"a": {"one": 1}, "b": {"one": 3}}), {"one": position * 0 + 3})
    assert list(islice(generate(compile_program(program), "a"), 3)) == ["b"] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pusch 3\nhalt", r"no instruction 'pusch'. Did you mean 'push'\? \(line 1\)"),
        ("push 16\nhalt", r"from 0 to 15.*got 16 \(line 1\)"),
        ("push\nhalt", r"'push' takes one argument; got 0 \(line 1\)"),
        ("push x\nhalt", r"takes a number; got 'x'"),
        ("add 1\nhalt", r"'add' takes no argument; got 1"),
        ("store 4\nhalt", r"from 0 to 3.*got 4"),
        ("loop:\njump lop", r"no label 'lop'. Did you mean 'loop'\? \(line 2\)"),
        ("a:\na:\nhalt", r"label 'a' is there twice \(line 2\)"),
        ("push 1", r"ends with halt or jump; got 'push 1' \(line 1\)"),
        ("push 1\njump_if end\nhalt\nend:", r"label 'end' has no instruction after it"),
        ("", r"1 to 32 instructions; got 0"),
        ("halt\n" * 33, r"1 to 32 instructions; got 33"),
    ],
)
def test_a_mistake_in_a_program_is_told_with_its_line(text: str, message: str) -> None:
    """One sentence each."""
    with pytest.raises(UserError, match=message):
        assemble(text, SIZES)


def test_an_unknown_token_and_an_empty_prompt_are_refused(machine: Weights) -> None:
    """The nearest token is named."""
    with pytest.raises(UserError, match=r"no token 'pish 3'. Did you mean 'push 3'"):
        next(generate(machine, ["pish 3", "run"]))
    with pytest.raises(UserError, match="a prompt of one token or more"):
        next(generate(machine, []))
    with pytest.raises(UserError, match="multiplied by an integer"):
        position * 0.5  # type: ignore[operator]
    for half in (lambda: position + 0.5, lambda: gated(position, 0.5), lambda: where(position, 1, "2")):
        with pytest.raises(UserError, match="added to streams and integers; got"):
            half()


def test_thousands_of_steps_are_exact() -> None:
    """The machine of 256 numbers counts down two nested loops."""
    program = assemble(PAIRS)
    expected = list(islice(interpret(program), 3000))
    assert list(islice(generate(compile_program(stack_machine()), program, STOPS), 3000)) == expected


PAIRS = """
    push 200
    store 0
outer:
    push 100
    store 1
inner:
    load 1
    push 1
    sub
    dup
    store 1
    jump_if inner
    load 0
    push 1
    sub
    dup
    print
    dup
    store 0
    jump_if outer
    halt
"""


@torch.no_grad()
def test_the_ordinary_transformer_gives_the_same_tokens(machine: Weights) -> None:
    """In float32, with softmax attention, for a whole run; the logits are as far apart as they are meant to be."""
    program = assemble(COUNTDOWN, SIZES)
    tokens = list(interpret(program, SIZES))
    model = dense(machine, 128)
    assert model.dtype == torch.float32
    ids = encode(machine, program + tokens)
    logits = model(torch.tensor([ids]))[0, len(program) - 1 : -1]
    names = list(machine.vocabulary.tokens)
    assert [names[index] for index in logits.argmax(-1)] == tokens
    first, second = logits.topk(2).values.T
    assert (first - second).min() > 31.9
    with pytest.raises(UserError, match=r"up to 128 tokens; got 129"):
        dense(machine, 129)


@settings(max_examples=100, deadline=None)
@given(programs(), st.text("abc", min_size=1, max_size=12))
@example(_sum_of_sums(), "aab")
def test_the_transformer_computes_what_a_program_means(program: NextToken, tokens: str) -> None:
    """In runs within its limits, wherever one token is nearer than all others."""
    weights = compile_program(program)
    values = Values(program, tokens)
    expected = next_tokens(program, tokens)
    columns = [values.of(stream) for stream in program.fields.values()]
    streams = list(values.known)
    if max(abs(number) for stream in streams for number in values.of(stream)) > 2**16 or any(
        not _is_within(values, stream.head) for stream in streams if isinstance(stream, Lookup)
    ):
        return
    with torch.no_grad():
        logits = dense(weights, LENGTH)(torch.tensor([encode(weights, tokens)]))[0]
    names = list(program.vocabulary.tokens)
    for place, row in enumerate(logits):
        wanted = [(name, column[place]) for name, column in zip(program.fields, columns, strict=True)]
        known = program.vocabulary.tokens.values()
        distances = sorted(sum((fields.get(name, 0) - number) ** 2 for name, number in wanted) for fields in known)
        if distances[0] < distances[1] < 2**16:
            assert names[int(row.argmax())] == expected[place]


def _is_within(values: Values, head: Head) -> bool:
    """Whether keys and queries are small, and no two different keys are equally near to a query."""
    known, queries = values.of(head.keys.key), values.of(head.query)
    if max(map(abs, known + queries)) > LENGTH:
        return False
    for place, query in enumerate(queries):
        nearest = set(known[: place + 1])
        least = min(abs(query - key) for key in nearest)
        if sum(abs(query - key) == least for key in nearest) > 1:
            return False
    return True
