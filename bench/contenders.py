"""SmolLM2-135M-Instruct in Sayso and in llama.cpp, at the same number of bits, for `bench.decode` and `bench.prefill`.

In 8 bits, ours has a scale per row, llama.cpp's Q8_0 one per 32 weights; in 4 bits, both have groups of 32, ours with a
zero point each; embedding and head have 8 bits in both. Unquantized weights are float32 in ours and float16 in
llama.cpp, half as many bytes.
"""

import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xllamacpp

from bench.smollm2 import smollm2
from sayso.model import Transformer
from sayso.model.adapters import linear_layers
from sayso.sample.blocks import blocks_for
from sayso.sample.native import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk, Runner, TorchRunner
from sayso.token.tokenizer import Tokenizer
from sayso.weights.gguf.write import write_gguf
from sayso.weights.quantize.integers import Grid, round_nearest
from sayso.weights.quantize.layers import Weights4, Weights8

THREADS = len(os.sched_getaffinity(0))
BITS = {32: "f16", 8: "q8_0", 4: "q4_0"}
GROUP, CONTEXT = 32, 1024

Times = tuple[float, float]
"""Prompt tokens per second, and new tokens per second."""


@dataclass(frozen=True)
class Contenders:
    """The contenders at one number of bits: each takes a prompt and a number of new tokens, and returns its speeds."""

    native: Callable[[list[int], int], Times]
    torch: Callable[[list[int], int], Times]
    llama_cpp: Callable[[list[int], int], Times]


@contextmanager
def contenders() -> Iterator[tuple[Transformer, Tokenizer, dict[int, Contenders]]]:
    """Yield the unquantized model, its tokenizer, and the contenders by number of bits."""
    torch.set_num_threads(THREADS)
    model, tokenizer = smollm2()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for bits, kind in BITS.items():
            file = Path(folder) / f"{kind}.gguf"
            write_gguf(model, tokenizer, file, kind, "smollm2")
            mine = model if bits == 32 else quantized(model, bits)
            pages = Pages(mine.config, blocks_for(CONTEXT), torch.device("cpu"), torch.float32)
            found[bits] = Contenders(timed(NativeRunner(mine, pages)), timed(TorchRunner(mine, pages)), llama_cpp(file))
        yield model, tokenizer, found


def quantized(model: Transformer, bits: int) -> Transformer:
    """Return a copy whose layers have `bits` bits, and whose head has 8."""
    copied = copy.deepcopy(model)
    for name, linear in {**linear_layers(copied), "unembed": copied.unembed}.items():
        four = bits == 4 and name != "unembed"
        grid = Grid(4, GROUP, symmetric=False) if four else Grid(8)
        copied.set_submodule(name, (Weights4 if four else Weights8)(round_nearest(linear.weight.detach(), grid)))
    return copied


def timed(runner: Runner) -> Callable[[list[int], int], Times]:
    """Return a function that reads a prompt in one pass and continues it greedily."""

    def run(prompt: list[int], new: int) -> Times:
        blocks = list(range(blocks_for(CONTEXT)))
        began = time.perf_counter()
        token = int(runner.head(runner.hidden([Chunk(prompt, 0, blocks)])[-1:]).argmax())
        read = time.perf_counter()
        for place in range(len(prompt), len(prompt) + new):
            token = int(runner.head(runner.hidden([Chunk([token], place, blocks)])).argmax())
        return len(prompt) / (read - began), new / (time.perf_counter() - read)

    return run


def llama_cpp(file: Path) -> Callable[[list[int], int], Times]:
    """Return the same function for llama.cpp's server, with the times that it reports."""
    settings: Any = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx, settings.n_parallel, settings.verbosity = CONTEXT, 1, -1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = THREADS
    server = xllamacpp.Server(settings)

    def run(prompt: list[int], new: int) -> Times:
        body = {"prompt": prompt, "max_tokens": new, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
        timings = server.handle_completions(body)["timings"]
        return timings["prompt_per_second"], timings["predicted_per_second"]

    return run
