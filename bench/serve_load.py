"""Many streams at once over HTTP: our server against llama.cpp's, with one GGUF file that both open.

16 clients stream completions of 64 greedy tokens each; then the same with a shared beginning of 1,000 tokens, as a
system prompt is. Tokens a second of all together, and the median time to the first. Each server has its own process.

    make bench NAME=serve_load [KIND=f16]
"""

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import torch
import xllamacpp

from bench.harness import pair, race, result
from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.run.serve import listen
from sayso.sample.engine import Engine
from sayso.serve.app import make_app
from sayso.serve.server import Server
from sayso.token.train import train
from sayso.weights.folder import model_of
from sayso.weights.gguf.read import read_gguf
from sayso.weights.gguf.write import write_gguf

SHAPE = {"layers": 6, "width": 384, "heads": 12, "kv_heads": 6, "head_size": 32, "mlp_width": 1024, "context": 2048}
VOCABULARY, STREAMS, NEW, SHARED, OWN = 2048, 16, 64, 1000, 24
TEXT = ["The quick brown fox jumps over the lazy dog and runs home before it rains."] * 50


def main() -> None:
    """Race both, with prompts of their own and with a shared beginning."""
    parser = argparse.ArgumentParser(prog="serve_load")
    parser.add_argument("--kind", default="f16", help="how the file keeps its weights")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file, tokenizer = Path(name) / "model.gguf", train("bpe", TEXT, VOCABULARY)
        write_gguf(new_model(), tokenizer, file, options.kind, "model")
        with served(our_server, file, options.threads) as ours, served(their_server, file, options.threads) as theirs:
            first: dict[str, list[float]] = {ours: [], theirs: []}
            seeds = count()

            def load(address: str, shared: int) -> float:
                tokens, waits = streamed(address, prompts(shared, next(seeds)))
                first[address].append(statistics.median(waits))
                return tokens

            plain = race(lambda: load(ours, 0), lambda: load(theirs, 0), rounds=options.rounds, label="own prompts")
            waited = {address: statistics.median(found[1:]) for address, found in first.items()}
            for found in first.values():
                found.clear()
            prefix = race(
                lambda: load(ours, SHARED),
                lambda: load(theirs, SHARED),
                rounds=options.rounds,
                label="shared beginning",
            )
            after = {address: statistics.median(found[1:]) for address, found in first.items()}
    result(
        "serve_load", "tokens/s", *plain, peer_name=f"llama.cpp by xllamacpp {xllamacpp.__version__}",
        kind=options.kind, streams=STREAMS, new_tokens=NEW, shape=SHAPE, threads=options.threads,
        seconds_to_first=[waited[ours], waited[theirs]], shared_beginning=pair(prefix), shared_tokens=SHARED,
        shared_seconds_to_first=[after[ours], after[theirs]], torch=torch.__version__,
    )  # fmt: skip


def new_model() -> Transformer:
    """Return random weights, none of them zero."""
    config = ModelConfig(vocab_size=VOCABULARY, **SHAPE)
    model, generator = Transformer(config).eval(), torch.Generator().manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.05, generator=generator)
    return model


def prompts(shared: int, seed: int) -> list[list[int]]:
    """Return a prompt each, the same `shared` tokens first: new ones each time, so that only that is used again."""
    generator = torch.Generator().manual_seed(seed)
    beginning = torch.randint(5, 300, (shared,), generator=torch.Generator().manual_seed(7)).tolist()
    return [[*beginning, *torch.randint(5, 300, (OWN,), generator=generator).tolist()] for _ in range(STREAMS)]


def streamed(address: str, given: list[list[int]]) -> tuple[int, list[float]]:
    """Stream all at once; return how many tokens came, and of each stream the seconds to the first text."""

    def one(prompt: list[int]) -> tuple[int, float]:
        body: dict[str, Any] = {"prompt": prompt, "max_tokens": NEW, "temperature": 0, "stream": True}
        body |= {"ignore_eos": True, "stream_options": {"include_usage": True}}
        began, first, tokens = time.perf_counter(), 0.0, 0
        with client.stream("POST", f"{address}/v1/completions", json=body) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line[6:])
                    first = first or time.perf_counter() - began
                    tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
        return tokens, first

    with httpx2.Client(timeout=600) as client, ThreadPoolExecutor(STREAMS) as threads:
        found = list(threads.map(one, given))
    return sum(tokens for tokens, _ in found), [first for _, first in found]


@contextmanager
def served(server: Any, file: Path, threads: int) -> Iterator[str]:
    """Run a server in a process of its own; yield its address when it answers."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=server, args=(file, port, threads))
    process.start()
    address = f"http://127.0.0.1:{port}"
    try:
        while process.is_alive() and not _answers(address):
            time.sleep(0.1)
        assert process.is_alive(), f"{server.__name__} did not start"
        yield address
    finally:
        process.terminate()
        process.join()


def _answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/health").status_code == 200
    except httpx2.TransportError:
        return False


def our_server(file: Path, port: int, threads: int) -> None:
    """Serve the file by ours, until the process is ended."""
    torch.set_num_threads(threads)
    config, state, tokenizer = read_gguf(file)
    store = Store(file.with_name("store.sqlite"))
    replier = Replier(model_of(config, state, file).eval(), tokenizer)
    app = make_app(replier, store, "model", engine=Engine(replier.model, rows=STREAMS))
    Server(app, app.state.worker.drain, grace=1).run(sockets=[listen("127.0.0.1", port)])


def their_server(file: Path, port: int, threads: int) -> None:
    """Serve the file by llama.cpp, until the process is ended."""
    settings: Any = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx, settings.n_parallel, settings.kv_unified = STREAMS * SHAPE["context"], STREAMS, True
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.hostnames, settings.port, settings.verbosity = ["127.0.0.1"], port, -1
    settings.fit_params = False
    server = xllamacpp.Server(settings)
    print(f"llama.cpp listens at {server.listening_address}", file=sys.stderr, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
