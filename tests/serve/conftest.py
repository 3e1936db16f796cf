"""What the tests of the server share: a small model, a store, the application, and real servers on free ports."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import openai
import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.sample.runner import Chunk, Runner
from sayso.serve.app import make_app
from sayso.serve.listen import listen
from sayso.serve.server import Server
from sayso.token.train import train

CONTEXT = 4096
HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def replier() -> Replier:
    """A small random model that, taken greedily, never ends by itself; its context is long enough to stop it."""
    tokenizer = train("bpe", ["the cat sat on the mat and the dog said hello to the cat. " * 20], 300)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, layers=1, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=64,
        context=CONTEXT,
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.normal_(std=0.25, generator=generator)
        model.unembed.weight[list(tokenizer.specials.values())] = 0
    return Replier(model.eval(), tokenizer)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    kept = Store(tmp_path / "store.sqlite")
    yield kept
    kept.close()


@pytest.fixture
def app(replier: Replier, store: Store) -> FastAPI:
    return make_app(replier, store, "tuned", fingerprint="0123456789ab")


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def official(client: TestClient) -> openai.OpenAI:
    """OpenAI's own client, talking to the application without a network."""
    return openai.OpenAI(api_key="none", base_url=f"{HERE}/v1", http_client=client, max_retries=0)


class Hooked:
    """A runner that calls something before every head."""

    def __init__(self, runner: Runner, before: Callable[[], object]) -> None:
        self.runner, self.before = runner, before

    def hidden(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """As the runner."""
        return self.runner.hidden(chunks)

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """As the runner, after that."""
        self.before()
        return self.runner.head(hidden)


@pytest.fixture
def hook() -> Callable[[Engine, Callable[[], object]], None]:
    """Call something before an engine picks tokens, in its own thread."""

    def hook(engine: Engine, before: Callable[[], object]) -> None:
        engine.runners[""] = Hooked(engine.runners[""], before)

    return hook


@pytest.fixture
def servers() -> list[Server]:
    """The real servers that run, in the order they were started."""
    return []


@pytest.fixture
def start(replier: Replier, store: Store, servers: list[Server]) -> Iterator[Callable[..., str]]:
    """Start a real server on a free port with some of the application's options; gives its address."""
    running = []

    def begin(*, rows: int, **options: int) -> str:
        app = make_app(replier, store, "tuned", engine=Engine(replier.model, rows=rows), **options)
        listening = listen("127.0.0.1", 0)
        server = Server(app, app.state.models.drain, grace=1, log_level="critical")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        servers.append(server)
        running.append((server, thread, listening))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield begin
    for server, thread, listening in running:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def address(start: Callable[..., str]) -> str:
    """A real server with one row, and room for one waiting request."""
    return start(rows=1, queue=1)
