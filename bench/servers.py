"""The servers of `bench.serve_load`, each in its own process: ours, llama.cpp's and `transformers serve`.

All support OpenAI's /v1/completions. Ours and llama.cpp open one GGUF file; at fewer bits, ours quantizes its weights.
"""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import torch
import xllamacpp

from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.serve.app import make_app
from sayso.serve.listen import listen
from sayso.serve.server import Server
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train
from sayso.weights.folder import model_of, save_model
from sayso.weights.gguf.read import read_gguf
from sayso.weights.gguf.write import write_gguf

SHAPE = {"layers": 6, "width": 384, "heads": 12, "kv_heads": 6, "head_size": 32, "mlp_width": 1024, "context": 2048}
VOCABULARY, NAME = 2048, "model"


@dataclass(frozen=True)
class Setting:
    """Settings of all servers."""

    file: Path
    folder: Path
    """The same model in the layout of `transformers`."""
    bits: int
    context: int
    rows: int
    threads: int


@contextmanager
def served(server: Callable[[Setting, int], None], setting: Setting) -> Iterator[str]:
    """Run a server in its own process; yield its address when it answers."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=server, args=(setting, port))
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


def our_server(setting: Setting, port: int) -> None:
    """Run our server until the process is terminated."""
    from bench.contenders import quantized

    torch.set_num_threads(setting.threads)
    config, state, tokenizer = read_gguf(setting.file)
    model = model_of(config, state, setting.file).eval()
    if setting.bits != 32:
        model = quantized(model, setting.bits)
    replier, store = Replier(model, tokenizer), Store(setting.folder.with_name("store.sqlite"))
    app = make_app(replier, store, NAME, engine=Engine(model, rows=setting.rows))
    Server(app, app.state.models.drain, grace=1).run(sockets=[listen("127.0.0.1", port)])


def llama_cpp(setting: Setting, port: int) -> None:
    """Run llama.cpp's server until the process is terminated."""
    settings: Any = xllamacpp.CommonParams()
    settings.model.path = str(setting.file)
    settings.n_ctx, settings.n_parallel, settings.kv_unified = setting.rows * setting.context, setting.rows, True
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = setting.threads
    settings.hostnames, settings.port, settings.verbosity = ["127.0.0.1"], port, -1
    settings.fit_params = False
    server = xllamacpp.Server(settings)
    print(f"llama.cpp listens at {server.listening_address}", file=sys.stderr, flush=True)
    while True:
        time.sleep(3600)


def transformers(setting: Setting, port: int) -> None:
    """Run `transformers serve` until the process is terminated; its continuous batching needs a GPU."""
    command = ["transformers", "serve", str(setting.folder), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--device", "cpu"]
    os.environ |= {"OMP_NUM_THREADS": str(setting.threads), "HF_HUB_OFFLINE": "1"}
    os.execvp(command[0], command)


def written(place: Path, model: Transformer, tokenizer: Tokenizer, kind: str) -> tuple[Path, Path]:
    """Write a model as a GGUF file and as a folder, and return their paths."""
    write_gguf(model, tokenizer, place / "model.gguf", kind, NAME)
    save_model(model, tokenizer, place / "model", {})
    return place / "model.gguf", place / "model"


def small_model(text: str) -> tuple[Transformer, Tokenizer]:
    """Return a model with random weights, none of them zero, and a tokenizer trained on a text."""
    model, generator = Transformer(ModelConfig(vocab_size=VOCABULARY, **SHAPE)).eval(), torch.Generator().manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.05, generator=generator)
    return model, train("bpe", [text] * 50, VOCABULARY)
