"""RASP programs as weights: depth, width, parameters, compile time and speed of the library's programs.

`ours` are the layers of all programs of the library whose layers RASP's own scheduler has published, and `peer` are the
scheduler's; fewer is better. Beside it: the sizes that tracr gives some of them, at its own alphabets and lengths.
Times are seconds of the processor on one thread, so that other work on the machine does not count. Every program is
run on a few inputs of every kind of length, and must be equal to the tensor interpreter.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.harness import parser, result, say, sized
from sayso.rasp.compile.program import Compiled, compile_program
from sayso.rasp.expression import SOp
from sayso.rasp.session import Session
from sayso.rasp.tensors import run_batch

LENGTH, ROWS, ROUNDS = sized((64, 16, 3), (6, 2, 1))


@dataclass(frozen=True)
class Program:
    """A program of the library."""

    file: str
    result: str
    alphabet: Sequence[object]
    published: tuple[int, ...] = ()
    """Heads in each layer by RASP's scheduler."""
    causal: bool = False


@dataclass(frozen=True)
class Peer:
    """What tracr compiles a program to."""

    layers: int
    width: int
    hidden: int
    parameters: int | None = None
    """Of the layers and of the embeddings of its tokens and indices."""


PROGRAMS = (
    Program("length", "length_by_attention", "ab", (1,)),
    Program("reverse", "reverse", "abcdefgh", (1, 1)),
    Program("histogram", "hist_bos", "§abc", (1,)),
    Program("histogram", "hist_nobos", "abc", (2,)),
    Program("sort", "sort_bos", "§abcd", (1, 1)),
    Program("sort", "sorted", "abcd"),
    Program("sort", "sort_unique(tokens, tokens)", [chr(ord("A") + place) for place in range(LENGTH)]),
    Program("double_histogram", "hist2_bos", "§abc", (2, 1)),
    Program("most_frequent", "sort_by_most_freq", "§abcd", (2, 1, 1)),
    Program("dyck", "dyck1_ptf", "()", (1, 1)),
    Program("dyck", "dyck2_ptf", "(){}", (1, 2, 1, 1)),
    Program("dyck", "dyck3_ptf", "(){}[]", (1, 2, 1, 1)),
    Program("shuffle_dyck", "shuffle_dyck1", "()"),
    Program("shuffle_dyck", "shuffle_dyck2", "(){}"),
    Program("shuffle_dyck", "shuffle_dyck3", "(){}[]"),
    Program("addition", "longsum", "0123456789+", (2, 1, 1, 1, 1)),
    Program("frac_prevs", "frac_of_x", "xy"),
    Program("pair_balance", "balance", "()a"),
    Program("detect_pattern", "detect_abc", "abc"),
    Program("shift", "shift_by_two", "abc"),
    Program("less_frequent", "less_than_three", "abc"),
    Program("first", "first_l", "helo"),
    Program("align_right", "align_right", "ab_"),
    Program("slide", "slide", "ab<"),
    Program("minimum", "minimum", "abc"),
    Program("parity", "parity", "01"),
    Program("parity", "running_parity", "01"),
    Program("cumsum", "running_sum", range(3)),
    Program("cumsum", "sums_of_two", range(3)),
    Program("cumsum", "countdown_sum", range(3)),
    Program("induction", "induction", "abc", causal=True),
    Program("mode", "mode", "abc", causal=True),
    Program("copy", "copy", "abc|", causal=True),
    Program("next_digit", "next_digit", "0123456789+=", causal=True),
)
PEERS = (
    (Program("reverse", "reverse", "abcd"), 5, Peer(4, 43, 30)),
    (Program("histogram", "hist_nobos", "abcd"), 5, Peer(1, 19, 12)),
    (Program("sort", "sort_unique(tokens, tokens)", range(1, 5)), 5, Peer(2, 23, 12)),
    (Program("sort", "sort(tokens, tokens)", range(1, 5)), 5, Peer(3, 43, 20)),
    (Program("histogram", "sort(tokens, -hist_nobos)", range(1, 5)), 5, Peer(5, 66, 30)),
    (Program("frac_prevs", 'frac_prevs("l")', "helo"), 5, Peer(2, 14, 1)),
    (Program("pair_balance", "balance", "abc()"), 10, Peer(2, 23, 4)),
    (Program("shuffle_dyck", "shuffle_dyck2", "(){}"), 5, Peer(8, 55, 212, 246_884)),
    (Program("detect_pattern", "detect_abc", "abc"), 6, Peer(3, 26, 6)),
    (Program("histogram", 'count(tokens, "a")', "abc"), 8, Peer(1, 24, 18)),
)


def main() -> None:
    """Compile all programs, check them, and compare their sizes with those of the peers."""
    parser("rasp", __doc__).parse_args()
    torch.set_num_threads(1)
    ours = peer = 0
    told = {}
    for one in PROGRAMS:
        facts = measured(one)
        told[one.result] = facts
        say(f"{one.result}: {facts}")
        if one.published:
            ours, peer = ours + len(facts["heads"]), peer + len(one.published)
    beside = {}
    for one, length, their in PEERS:
        compiled = compile_program(expression(one), one.alphabet, length)
        sizes = size_of(compiled) | {"counted_as_tracr": counted_as_tracr(compiled)}
        beside[one.result] = {"ours": sizes, "tracr": vars(their)}
        say(f"{one.result}: {sizes}; tracr {vars(their)}")
    slowest = max(told, key=lambda name: told[name]["compile_s"])
    result(
        "rasp",
        "layers, fewer is better",
        ours,
        peer,
        length=LENGTH,
        slowest_to_compile={slowest: told[slowest]["compile_s"]},
        programs=told,
        tracr=beside,
    )


def measured(one: Program) -> dict[str, Any]:
    """Return the sizes of a program, the seconds of the processor to compile it, and the tokens a second that it reads.

    Raises `RuntimeError` if the weights and the interpreter differ.
    """
    program, times, speeds = expression(one), [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        compiled = compile_program(program, one.alphabet, LENGTH, causal=one.causal)
        times.append(time.process_time() - began)
    inputs = list(examples(one, random.Random(0)))
    found, expected = compiled.batch(inputs), run_batch(program, inputs, causal=one.causal)
    if found != expected:
        raise RuntimeError(f"{one.result} differs from the interpreter.")
    longest = [max(inputs, key=len)] * ROWS
    for _ in range(ROUNDS):
        began = time.process_time()
        compiled.batch(longest)
        speeds.append(sum(map(len, longest)) / (time.process_time() - began))
    return size_of(compiled) | {"compile_s": round(min(times), 3), "tokens_s": round(max(speeds))}


def expression(one: Program) -> SOp:
    """Return the s-op of a program, after its file of the library."""
    session = Session(causal=one.causal)
    session.text(f'load "{one.file}";\nprogram = {one.result};')
    found = session.scope.get("program")
    assert isinstance(found, SOp)
    return found


def size_of(compiled: Compiled) -> dict[str, Any]:
    """Return the depth, the width and the parameters of a compiled program."""
    config, model = compiled.model.config, compiled.model
    return {
        "heads": compiled.heads,
        "width": config.width,
        "head_size": config.head_size,
        "hidden": config.mlp_width,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "in_layers": sum(weight.numel() for weight in model.blocks.parameters()),
    }


def counted_as_tracr(compiled: Compiled) -> int:
    """Return the parameters without the output head and without the embeddings of bytes that no input has."""
    rows = len(compiled.vocabulary.tokens) + 1 + compiled.model.config.context
    return sum(weight.numel() for weight in compiled.model.blocks.parameters()) + rows * compiled.model.config.width


def examples(one: Program, rng: random.Random) -> list[list[object]]:
    """Return inputs of several lengths, the longest last, for which a program has values."""
    found = []
    for size in sorted({1, 2, LENGTH // 2, LENGTH - 1, LENGTH}):
        drawn: list[object] = rng.choices(one.alphabet, k=size)
        if "unique" in one.result:
            drawn = rng.sample(one.alphabet, k=size)
        elif "§" in one.alphabet:
            drawn = ["§", *rng.choices(one.alphabet[1:], k=size - 1)]
        elif one.file == "addition":
            digits = max((size - 1) // 2, 1)
            drawn = list("+".join("".join(rng.choices("0123456789", k=digits)) for _ in range(2)))
        found.append(drawn)
    return found


if __name__ == "__main__":
    main()
