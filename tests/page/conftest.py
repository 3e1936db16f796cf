"""What the tests of the page in a real browser share: a small model at a pace, a store, the server, and a visit."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import uvicorn

from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.sample.runner import Chunk, Runner
from sayso.serve.app import make_app
from sayso.serve.listen import listen
from sayso.token.train import train

if TYPE_CHECKING:
    from playwright import sync_api

CONTEXT = 512
PATIENCE = 60_000  # milliseconds that a page may take on a slow, busy machine


class Pace:
    """Lets a model say its tokens freely, or only as many as it is given."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.steps = threading.Semaphore(0)
        self.free.set()

    def wait(self) -> None:
        """Wait for leave to say one more."""
        if not self.free.is_set():
            self.steps.acquire()

    def give(self, tokens: int) -> None:
        """Give leave for so many more."""
        self.steps.release(tokens)

    def let_go(self) -> None:
        """Give leave for all that come."""
        self.free.set()
        self.steps.release()


class AtPace:
    """A runner that says letters only, at a pace."""

    def __init__(self, runner: Runner, pace: Pace, letters: list[int]) -> None:
        self.runner, self.pace, self.letters = runner, pace, letters

    def hidden(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """As the runner."""
        return self.runner.hidden(chunks)

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """As the runner, after that."""
        self.pace.wait()
        logits = self.runner.head(hidden)
        only = torch.full_like(logits, float("-inf"))
        only[:, self.letters] = logits[:, self.letters]
        return only


@pytest.fixture
def pace() -> Iterator[Pace]:
    given = Pace()
    yield given
    given.let_go()


@pytest.fixture
def replier() -> Replier:
    """A small random model."""
    tokenizer = train("character", ["the cat sat on the mat"], 300)
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
    return Replier(model.eval(), tokenizer)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    kept = Store(tmp_path / "store.sqlite")
    yield kept
    kept.close()


@pytest.fixture
def serve(replier: Replier, store: Store, pace: Pace) -> Iterator[Callable[..., str]]:
    """Start the real application on a free port; gives its address."""
    running = []

    def start(**options: Any) -> str:
        listening = listen("127.0.0.1", 0)
        app = make_app(replier, store, "tuned", fingerprint="0123456789ab", **options)
        runners = app.state.models.main.worker.engine.runners
        for adapter, runner in runners.items():
            runners[adapter] = AtPace(runner, pace, replier.tokenizer.encode("thecatsaton"))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread, listening))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    pace.let_go()  # or a server whose test failed would wait for ever
    for server, thread, listening in running:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def visit(browser: "sync_api.Browser", serve: Callable[..., str]) -> Iterator[Callable[..., "sync_api.Page"]]:
    """Open the page in a fresh browser context; what the page complains of in the console fails the test.

    But for answers that are errors, which the browser writes there by itself.
    """
    from playwright import sync_api

    sync_api.expect.set_options(timeout=PATIENCE)
    contexts: list[sync_api.BrowserContext] = []
    complaints: list[str] = []

    def complain(line: "sync_api.ConsoleMessage") -> None:
        if line.type in ("error", "warning") and not line.text.startswith("Failed to load resource"):
            complaints.append(line.text)

    def go(address: str | None = None, path: str = "/", **settings: Any) -> "sync_api.Page":
        context = browser.new_context(
            **{"viewport": {"width": 1100, "height": 750}, "reduced_motion": "reduce", **settings}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", complain)
        page.goto((address or serve()) + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []
