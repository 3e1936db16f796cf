"""Concurrent streams over HTTP: our server against llama.cpp's and `transformers serve`, with SmolLM2-135M-Instruct.

16 clients stream completions of 64 greedy tokens each, first with separate prompts, then with a shared prefix of 1,000
tokens, such as a system prompt. Reported are the total tokens per second, the time to the first token under load and
without, and the cost of a shared prefix: the time until all clients have their first token, relative to one alone.

    python -m bench.serve_load [--bits 8]        # 32 (float32 against F16), 8, or 4; with 32, also transformers
    python -m bench.serve_load --model small     # 10M random weights, which emphasizes the server's overhead
"""

import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import torch

from bench.harness import parser, result, rounded, say, sized, turns
from bench.servers import NAME, Setting, llama_cpp, our_server, served, small_model, transformers, written
from bench.smollm2 import TEXT, smollm2
from sayso.model import Transformer
from sayso.token.tokenizer import Tokenizer

STREAMS, NEW, SHARED, OWN, SOME = sized((16, 64, 1000, 24, 8), (2, 3, 16, 4, 2))
KINDS = {32: "f16", 8: "q8_0", 4: "q4_0"}
WORDS = TEXT.split()


@dataclass
class Side:
    """A server, and the fields of its requests."""

    address: str
    model: str
    extra: dict[str, Any] = field(default_factory=dict)
    """Extra fields, such as one that continues a reply after its end."""


def main() -> None:
    """Race the servers."""
    arguments = parser("serve_load")
    arguments.add_argument("--bits", type=int, choices=sorted(KINDS), default=8)
    arguments.add_argument("--model", choices=("smollm2", "small"), default="smollm2")
    arguments.add_argument("--rounds", type=int, default=sized(5, 1))
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = arguments.parse_args()
    say(f"load average before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        model, tokenizer = chosen(options.model)
        file, folder = written(Path(name), model, tokenizer, KINDS[options.bits])
        context = model.config.context
        setting = Setting(file, folder, options.bits, min(context, 2048), STREAMS, options.threads)
        del model
        texts = Texts(tokenizer)
        no_stop = {"ignore_eos": True}
        sides = {
            "ours": Side(stack.enter_context(served(our_server, setting)), NAME, no_stop),
            "llama.cpp": Side(stack.enter_context(served(llama_cpp, setting)), NAME, no_stop),
        }
        own = race(sides, texts, 0, options.rounds)
        shared = race(sides, texts, SHARED, options.rounds)
        waits = {name: first_tokens(side, texts, options.rounds) for name, side in sides.items()}
        prefix = {name: prefix_cost(side, texts, options.rounds) for name, side in sides.items()}
        if options.bits == 32 and options.model != "small":
            peer = Side(stack.enter_context(served(transformers, setting)), str(folder))
            own |= {"against": race({"ours": sides["ours"], "transformers": peer}, texts, 0, 2)}
    result(
        "serve_load", "tokens/s of 16 streams", own["ours"], own["llama.cpp"],
        peer_name=f"llama.cpp by xllamacpp {version('xllamacpp')}", bits=options.bits, model=options.model,
        own_prompts=own, shared_beginning=shared, seconds_to_first=waits, cost_of_a_shared_beginning=prefix,
        streams=STREAMS, new_tokens=NEW, shared_tokens=SHARED, threads=options.threads, torch=torch.__version__,
        transformers=version("transformers"),
    )  # fmt: skip


def chosen(name: str) -> tuple[Transformer, Tokenizer]:
    """Return the model to serve."""
    return smollm2() if name == "smollm2" else small_model(TEXT)


class Texts:
    """Unique prompts, so that only a shared prefix can be reused."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self._random, self._numbers = tokenizer, random.Random(0), count()

    def new(self, tokens: int) -> str:
        """Return a text of about `tokens` tokens with a unique beginning."""
        words = [str(next(self._numbers)), *self._random.choices(WORDS, k=tokens)]
        return self.tokenizer.decode(self.tokenizer.encode(" ".join(words))[:tokens])

    def prompts(self, shared: int) -> list[str]:
        """Return a prompt for each stream: `OWN` tokens after a new shared prefix."""
        prefix = f"{self.new(shared)} " if shared else ""
        return [prefix + self.new(OWN) for _ in range(STREAMS)]


def race(sides: dict[str, Side], texts: Texts, shared: int, rounds: int) -> dict[str, Any]:
    """Return the total tokens per second of all streams."""

    def load(side: Side) -> Callable[[], float]:
        def work() -> float:
            began = time.perf_counter()
            streams = streamed(side, texts.prompts(shared))
            return sum(tokens for tokens, _ in streams) / (time.perf_counter() - began)

        return work

    label = f"{shared} shared"
    return rounded(turns({name: load(side) for name, side in sides.items()}, rounds=rounds, label=label))


def first_tokens(side: Side, texts: Texts, rounds: int) -> dict[str, float]:
    """Return the seconds to the first token: alone, while 15 others stream, and for 16 at once."""
    alone, among, together = [], [], []
    for _ in range(rounds):
        alone.append(streamed(side, [texts.new(OWN)], 1)[0][1])
        together += [first for _, first in streamed(side, [texts.new(OWN) for _ in range(STREAMS)], 1)]
        with ThreadPoolExecutor(1) as others:
            streaming = others.submit(streamed, side, [texts.new(OWN) for _ in range(STREAMS - 1)], NEW)
            time.sleep(sized(1.0, 0.1))  # the others have started
            among.append(streamed(side, [texts.new(OWN)], 1)[0][1])
            streaming.result()
    middle = statistics.median
    return rounded({"alone": middle(alone), "to_15_that_speak": middle(among), "all_at_once": middle(together)})


def prefix_cost(side: Side, texts: Texts, rounds: int) -> dict[str, float]:
    """Return the time until 16 streams with a new shared prefix have their first token, relative to one alone."""
    ratios, alone = [], []
    for _ in range(rounds):
        alone.append(streamed(side, [texts.new(SHARED)], SOME)[0][1])
        prefix = texts.new(SHARED)
        prompts = [f"{prefix} {word}" for word in WORDS[:STREAMS]]
        ratios.append(max(first for _, first in streamed(side, prompts, SOME)) / alone[-1])
    return rounded({"seconds_of_one": statistics.median(alone), "times_one": statistics.median(ratios)})


def streamed(side: Side, prompts: Sequence[str], new: int = NEW) -> list[tuple[int, float]]:
    """Stream all prompts at once; return the number of tokens of each, and the seconds to its first text."""

    def one(prompt: str) -> tuple[int, float]:
        body: dict[str, Any] = {"model": side.model, "prompt": prompt, "max_tokens": new, "temperature": 0}
        body |= {"stream": True, "stream_options": {"include_usage": True}, **side.extra}
        began, first, tokens = time.perf_counter(), 0.0, 0
        with client.stream("POST", f"{side.address}/v1/completions", json=body) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    first = first or time.perf_counter() - began
                    if '"usage"' in line:
                        chunk = json.loads(line[6:])
                        tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
        return tokens, first

    with httpx2.Client(timeout=600) as client, ThreadPoolExecutor(len(prompts)) as threads:
        return list(threads.map(one, prompts))


if __name__ == "__main__":
    main()
