"""What the tests of the server share: a small model, a store, the application, and real servers on free ports."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.sample.runner import Chunk, Runner
from sayso.serve.app import make_app
from sayso.serve.follow import Follow, Follower, Following
from sayso.serve.listen import listen
from sayso.serve.recording import Share
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels, start_model
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


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the application itself never look at the aliases, so that a test decides when."""
    monkeypatch.setattr("sayso.serve.follow.EVERY", 3600.0)


Assign = Callable[[str, str], Assignment]


@pytest.fixture
def assign(store: Store) -> Assign:
    """Let an alias name a model from now on."""
    aliases = Aliases(store)
    return lambda alias, model: aliases.assign(alias, model, f"{model}-all", after=aliases.current(alias))


@dataclass
class Bench:
    """A served alias `stable` of the model `old`, next to which a test tries out what `candidate` names: `new`."""

    client: TestClient
    store: Store
    models: ServedModels
    candidate: Follow
    followers: list[Follower] = field(default_factory=list)

    def look(self) -> None:
        """As happens once a second."""
        assert self.client.portal is not None
        for follower in self.followers:
            self.client.portal.call(follower.look)

    def ask(self, user: str = "", **fields: Any) -> str:
        """Return which model answers a user of the API."""
        body: dict[str, Any] = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 2} | fields
        made = self.client.post("/v1/chat/completions", json=body | ({"user": user} if user else {})).json()
        assert made["system_fingerprint"] == f"{made['model']}-weights"
        return str(made["model"])

    def talk(self) -> list[dict[str, Any]]:
        """Return the turns of a new conversation on the page."""
        talk = self.client.post("/api/conversations").json()["id"]
        said = self.client.post("/api/messages", json={"conversation_id": talk, "content": "the cat"}).json()["id"]
        self.client.post("/api/replies", json={"message_id": said, "max_tokens": 3, "seed": 5})
        turns: list[dict[str, Any]] = self.client.get(f"/api/conversations/{talk}").json()["turns"]
        return turns

    @staticmethod
    def wait(look: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
        """Return what there is once it is enough."""
        end = time.monotonic() + 60
        while not enough(found := look()) and time.monotonic() < end:
            pass
        assert enough(found)
        return found

    def metrics(self, kind: str) -> dict[tuple[str, ...], float]:
        """Return the values of a metric by its labels, in the order of the labels' names."""
        families = text_string_to_metric_families(self.client.get("/metrics").text)
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if sample.name == kind
        }


Trial = Callable[..., AbstractContextManager[Bench]]


@pytest.fixture
def trial(replier: Replier, store: Store, assign: Assign, still: None) -> Trial:
    """Serve `stable`, with the replies of the API recorded or not; all models have the same weights."""

    def load(entry: Assignment) -> ServedModel:
        mark = f"{entry.model}-weights"
        return start_model(replier, entry.model, mark, Engine(replier.model, rows=4), 16, entry.alias)

    @contextmanager
    def serve(record: Share = "off") -> Iterator[Bench]:
        aliases, stable, candidate = Aliases(store), assign("stable", "old"), assign("candidate", "new")
        main = Follow(stable, lambda: aliases.current("stable"), load, aliases.others)
        other = Follow(candidate, lambda: aliases.current("candidate"), load)
        engine, follows = Engine(replier.model, rows=4), Following(main)
        app = make_app(
            replier, store, "old", fingerprint="old-weights", engine=engine, following=follows, record=record
        )
        with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
            yield Bench(client, store, app.state.models, other, [Follower(main, app.state.models)])

    return serve
