"""The cost of the deterministic mode: tokens per second with and without it, for prompts and for 16 decoding rows.

SmolLM2-135M-Instruct in float32: with the native pass, and with torch, as used without a compiler. In 8 or 4 bits, the
native pass is the same in both modes.
"""

import time
from collections.abc import Callable

import torch

from bench.contenders import THREADS
from bench.harness import parser, result, rounded, sized, turns
from bench.smollm2 import smollm2
from sayso.sample.blocks import blocks_for
from sayso.sample.native import NativeRunner
from sayso.sample.native.both import BothRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import AloneRunner, Chunk, Runner, TorchRunner

ROWS, PROMPT, ROUNDS = sized((16, 256, 3), (2, 64, 1))


def main() -> None:
    """Time the runners that the engine chooses from, in turns."""
    parser("deterministic").parse_args()
    torch.set_num_threads(THREADS)
    model, _ = smollm2()
    pages = Pages(model.config, ROWS * blocks_for(PROMPT), torch.device("cpu"), torch.float32)
    pages.clear(range(len(pages)))
    runners: dict[str, Runner] = {
        "native": BothRunner(model, pages),
        "native, deterministic": NativeRunner(model, pages),
        "torch": TorchRunner(model, pages),
        "torch, deterministic": AloneRunner(model, pages),
    }
    each = blocks_for(PROMPT)
    decode = [Chunk([5 + row], PROMPT // 4, range(row * each, (row + 1) * each)) for row in range(ROWS)]
    works = {"prompt": [Chunk(list(range(5, 5 + PROMPT)), 0, range(each))], "decode": decode}
    found = {
        work: rounded(turns({name: timed(one, chunks) for name, one in runners.items()}, rounds=ROUNDS, label=work))
        for work, chunks in works.items()
    }
    ours, plain = found["prompt"]["native, deterministic"], found["prompt"]["native"]
    result(
        "deterministic", "prompt tokens/s", ours, plain, peer_name="not deterministic", tokens_s=found,
        prompt=PROMPT, rows=ROWS, threads=THREADS, torch=torch.__version__,
    )  # fmt: skip


def timed(runner: Runner, chunks: list[Chunk]) -> Callable[[], float]:
    """Return a function that runs a pass, with the head of each row, and returns its tokens per second."""

    def work() -> float:
        began = time.perf_counter()
        hidden = runner.hidden(chunks)
        runner.head(hidden[-len(chunks) :])
        return sum(len(chunk.ids) for chunk in chunks) / (time.perf_counter() - began)

    return work


if __name__ == "__main__":
    main()
