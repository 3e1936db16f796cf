"""What several test files need: a full disk, a tiny life that every act wrote, a browser; and what was skipped."""

import json
import os
import resource
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.aliases import Aliases
from sayso.feedback.detectors.detector import Detector
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.measures import catch_up
from sayso.feedback.ratings import Rater
from sayso.feedback.scans import Scans
from sayso.feedback.store import Generation, Store
from sayso.feedback.tables import (
    answers,
    canary,
    candidates,
    cases,
    categories,
    flags,
    guidelines,
    messages,
    notes,
    now,
    queue,
    readings,
    reviews,
    sampled,
    samples,
    signals,
    triage,
)
from sayso.feedback.traces import Trace
from sayso.judge.endpoint import Endpoint

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # before torch is imported: the cores are shared
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
ENABLE = {
    "PostgreSQL": (
        bool(os.environ.get("SAYSO_TEST_POSTGRES")),
        "set SAYSO_TEST_POSTGRES to the URL of an empty database",
    ),
    "published vectors and models": (
        bool(os.environ.get("SAYSO_TEST_DATA")),
        "set SAYSO_TEST_DATA to a folder that holds them",
    ),
    "published tokenizers": (
        bool(os.environ.get("SAYSO_TEST_TOKENIZERS")),
        "run tools/published_tokenizers.sh FOLDER and set SAYSO_TEST_TOKENIZERS to it",
    ),
    "the page": (
        bool(shutil.which("chromium") or shutil.which("chromium-browser")),
        "install Chromium (apt-get install chromium)",
    ),
    "compiled kernels": (bool(shutil.which("c++") or shutil.which("g++")), "install a C++ compiler"),
    "a GPU": (bool(shutil.which("nvidia-smi")), "run on a machine with CUDA"),
}
"""What some tests need -> whether it is here, and how to get it."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name in one line what was skipped, and how to enable it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        ways = "; ".join(f"{what}: {how}" for what, (here, how) in ENABLE.items() if not here)
        terminalreporter.write_line(f"Skipped {len(skipped)} tests. To run more of them: {ways or 'see -rs'}.")


@contextmanager
def _small_disk(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file grow beyond so many bytes: what a full disk looks like to a write."""
    return _small_disk


@contextmanager
def _served(replier: Any, where: Path) -> Iterator[str]:
    """Serve a model under the name `tuned` on a free port, with a store of its own; yield the address of its API."""
    from sayso.serve.app import make_app
    from sayso.serve.listen import listen
    from sayso.serve.server import Server

    store = Store(where)
    app = make_app(replier, store, "tuned", fingerprint="0123456789ab")
    listening = listen("127.0.0.1", 0)
    server = Server(app, app.state.models.drain, grace=1, log_level="critical")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()
    listening.close()
    store.close()


@pytest.fixture
def served() -> Callable[[Any, Path], AbstractContextManager[str]]:
    """Serve a model over HTTP."""
    return _served


@pytest.fixture
def judge() -> Iterator[tuple[Endpoint, list[str], list[str]]]:
    """A real server: its address, what it was asked, and what it is to answer (the last answer again and again)."""
    asked, answers = list[str](), ["It is not. Verdict: no"]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body["messages"][0]["content"])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            data = json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "judge"), asked, answers
    server.shutdown()
    thread.join()
    server.server_close()


class OtherServer:
    """A real server whose responses a test decides; of a stream each part is sent when the one before has been."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        """The bodies of its POST requests, with the header `key`."""
        self.models: tuple[int, str, bytes] = 200, "application/json", b'{"data": [{"id": "large"}, {"id": "small"}]}'
        """Status, content type and body of the list of models; also of a chat without a stream."""
        self.chat: tuple[int, str, bytes] | None = None
        self.events: list[Any] = []
        """Of a chat: objects to send as events, or functions of the request that return one, bytes to send as they are,
        and `threading.Event`s to wait for."""
        self.cut = threading.Event()
        """Set when a reader has closed a stream before its end."""


@pytest.fixture
def other() -> Iterator[OtherServer]:
    """A server on a free port."""
    state = OtherServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.whole(*state.models)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append(body | {"key": self.headers.get("Authorization")})
            if state.chat is not None:
                return self.whole(*state.chat)
            self.begin(200, "text/event-stream")
            for part in state.events:
                if isinstance(part, threading.Event):
                    part.wait()
                    continue
                event = part(body) if callable(part) else part
                try:
                    self.wfile.write(part if isinstance(part, bytes) else b"data: %s\n\n" % json.dumps(event).encode())
                except OSError:
                    state.cut.set()
                    return None
            return None

        def begin(self, status: int, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()

        def whole(self, status: int, kind: str, content: bytes) -> None:
            self.begin(status, kind)
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield state
    for part in state.events:
        if isinstance(part, threading.Event):
            part.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a place without a store: a file, or a schema of its own in PostgreSQL."""
    given = os.environ.get("SAYSO_TEST_POSTGRES")  # the address of an empty database that may be written
    if request.param == "sqlite":
        return str(tmp_path / "store.sqlite")
    if not given:
        pytest.skip("set SAYSO_TEST_POSTGRES to the address of an empty PostgreSQL database to test with it")
    schema = os.environ.get("PYTEST_XDIST_WORKER", "main")
    engine = sql.create_engine(given)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    engine.dispose()
    address = sql.make_url(given).update_query_dict({"options": f"-csearch_path={schema}"})
    return address.render_as_string(hide_password=False)


@pytest.fixture
def store(store_address: str) -> Iterator[Store]:
    """An empty store, in each kind of database."""
    kept = Store(store_address)
    yield kept
    kept.close()


@pytest.fixture
def fill() -> Callable[[Store, str, str], list[int]]:
    """Leave every kind of row about a user's conversation of the page, and one of the API; return their numbers."""
    return _fill


def _fill(store: Store, user: str, secret: str) -> list[int]:
    made = Generation("tuned", "0123456789ab", {"temperature": 0.8, "seed": 7}, "stop", 5, 3, 0.1)
    talk = store.new_conversation(user)
    said = store.say(talk.id, f"My secret is {secret}")
    prompt = store.prompt(said.id)
    trace = Trace(route="page", prompt_ids=[ord(one) for one in secret], completion_ids=[2], logprobs=[-1.0])
    shown = store.reply(said.id, f"So it is {secret}", prompt, made, trace=trace).id
    other = store.reply(said.id, "I see.", prompt, made, trace=trace).id
    store.edit(shown, f"{secret} it is", by=Rater(user))
    choice = store.choose(shown, other)
    [hidden] = Generations(store).record(
        [RecordedReply(conversation=user, user=user, prompt=prompt, content=secret, generation=made, trace=trace)]
    )
    store.thumb(hidden, 1)
    aliases = Aliases(store)
    assigned = aliases.assign("stable", "tuned", "0" * 12, after=aliases.current("stable"))
    api = store.message(hidden).conversation_id
    with store.engine.execution_options(writes=True).begin() as connection:
        for message in (shown, hidden):
            at = {"message_id": message, "created_at": now()}
            connection.execute(candidates.insert().values(at | {"set_id": "s", "purpose": "shown", "policy": "stable"}))
            connection.execute(signals.insert().values(at | {"kind": "copied"}))
            flag = flags.insert().values(at | {"detector": "loop", "version": "1", "detail": secret})
            flagged = connection.execute(flag.returning(flags.c.id)).scalar_one()
            row = {"flag_id": flagged, "state": "real", "annotator": user, "created_at": now()}
            connection.execute(triage.insert().values(row))
            digest = sha256(f"{user} {message}".encode()).hexdigest()
            case = {
                "flag_id": flagged,
                "digest": f"00000001{digest[8:]}",  # odd: its question may be trained on
                "detector": "loop",
                "prompt": prompt,
                "reply": secret,
            }
            connection.execute(cases.insert().values(at | case | {"state": "open"}))
            answer = {"model": "0" * 12, "task": "cases", "prompt": "", "item": case["digest"], "answer": secret}
            connection.execute(answers.insert().values(answer | {"created_at": now()}))
        _note(connection, (shown, hidden), user, secret)
        asked = connection.scalar(sql.select(messages.c.prompt_id).where(messages.c.id == hidden))
        pair = {"kind": "pair", "conversation_id": talk.id, "first_id": shown, "second_id": other}
        compared = {"act": "compare", "left_id": other, "rating_id": choice.id, "value": 1}
        prompt_of_api = {"kind": "write", "conversation_id": api, "prompt_id": asked}
        for item, review in ((pair, compared), (prompt_of_api, {"act": "write", "message_id": hidden})):
            insert = queue.insert().values(item | {"origin": user, "created_at": now()}).returning(queue.c.id)
            row = {"queue_id": connection.execute(insert).scalar_one(), "annotator": user, "state": "done"}
            connection.execute(reviews.insert().values(review | row | {"at": now(), "created_at": now()}))
        row = {"text": "Be kind.", "reviews": 2, "reasons": ["clearer"], "tags": [], "annotator": user}
        connection.execute(guidelines.insert().values(row | {"created_at": now()}))
        for name in (str(talk.id), user):
            row = {"alias": "stable", "assignment_id": assigned.id, "arm": "current", "conversation": name}
            connection.execute(canary.insert().values(row | {"created_at": now()}))
    Scans(store).done([Detector("judge-0", "1", lambda _: None, question="Is it rude?")], hidden)
    catch_up(store, 60)
    return [talk.id, api]


def _note(connection: sql.Connection, replies: tuple[int, ...], user: str, text: str) -> None:
    """Leave a sample of which the first conversation was read, and a note about each reply, the first one grouped."""
    by = {"annotator": user, "created_at": now()}
    made = {"name": "", "filters": {"only": "flagged"}, "seed": 7, "matched": 2}
    sample = connection.execute(samples.insert().values(made | by).returning(samples.c.id)).scalar_one()
    kind = {"name": f"Of {sample}, {text[:1]}", "definition": "", "updated_at": now()}
    category = connection.execute(categories.insert().values(kind | by).returning(categories.c.id)).scalar_one()
    for place, message in enumerate(replies, 1):
        row = {"sample_id": sample, "message_id": message}
        connection.execute(sampled.insert().values(row | {"position": place}))
        if place == 1:
            connection.execute(readings.insert().values(row | by))
        note = {"message_id": message, "text": text} | by
        first = connection.execute(notes.insert().values(note).returning(notes.c.id)).scalar_one()
        if place == 1:
            connection.execute(notes.insert().values(note | {"first_id": first, "category_id": category}))


@pytest.fixture
def replied() -> Callable[..., int]:
    """Leave a reply in a conversation of its own, some hours ago; return its number."""
    return _replied


def _replied(
    store: Store,
    asked: str,
    said: str,
    hours: float = 1.0,
    *,
    model: str = "tuned",
    route: str = "page",
    first: float | None = 0.1,
    seconds: float = 1.1,
    tokens: int = 11,
) -> int:
    made = Generation(model, "0123456789ab", {}, "stop", 5, tokens, seconds)
    trace = Trace(route=route, prompt_ids=[1], completion_ids=[2], logprobs=[-1.0], first_seconds=first)
    prompt = [{"role": "user", "content": asked}]
    if route == "page":
        number = store.reply(store.say(store.new_conversation().id, asked).id, said, prompt, made, trace=trace).id
    else:
        key = uuid.uuid4().hex
        reply = RecordedReply(conversation=key, prompt=prompt, content=said, generation=made, trace=trace)
        [number] = Generations(store).record([reply])
    at = datetime.now(UTC) - timedelta(hours=hours)
    with store.engine.execution_options(writes=True).begin() as connection:
        update = messages.update().where(messages.c.id == number)
        connection.execute(update.values(created_at=at.isoformat(timespec="milliseconds")))
    return number


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A tiny life that every act wrote; whoever changes it puts back what was there."""
    return live(tmp_path_factory.mktemp("lived"))


@pytest.fixture(scope="session")
def trained_life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life with a base model, trained on a few sentences in 30 steps; whoever changes it works on a copy."""
    root = tmp_path_factory.mktemp("trained")
    life, texts = Life(root / "life"), root / "texts"
    texts.mkdir()
    for number in range(40):
        words = f"Tom and cat {number} sat on mat {number % 7}. They ran {number * 3} steps and came back to eat. "
        (texts / f"{number}.txt").write_text(words * 4)
    act(*("prepare", str(texts), "--val", "0.2", "--no-quality", "--near-duplicates", "0", "--workers", "1"), life=life)
    act("tokenizer", "train", "--vocab-size", "300", life=life)
    act(
        *("pretrain", "--depth", "1", "--steps", "30", "--rows", "2", "--context", "128", "--device", "cpu"),
        *("--row-tokens", "64", "--processes", "1", "--save-seconds", "0", "--keep", "1"),
        life=life,
    )
    return life


@pytest.fixture
def rated() -> Callable[[Life], None]:
    """Leave a conversation whose reply was edited and liked in a life's store."""
    return rate


REWARD = "def early(prompt, reply, info):\n    return sum(c < 'M' for c in reply) / 8\n"
TURN = {"role": "user", "content": "Hello!"}


def live(root: Path) -> Life:
    """Run every act that trains, and those that it takes to get there, in as few steps as each can do."""
    life = Life(root / "life")
    (root / "pay.py").write_text(REWARD)
    asked = [{"prompt": f"p{number}"} for number in range(12)]
    write_jsonl(root / "prompts.jsonl", asked)
    pairs = [{"prompt": f"p{number}", "chosen": "yes", "rejected": "no"} for number in range(12)]
    write_jsonl(root / "pairs.jsonl", pairs)
    rate(life)
    given, pay = str(root / "prompts.jsonl"), f"{root}/pay.py:early"
    one = ["--rows", "2", "--processes", "1", "--save-seconds", "0"]
    few = ["--steps", "3", "--row-tokens", "64", *one]
    practising = ["--prompts", given, "--reward", pay, "--parent", "tuned", "--processes", "1", "--save-seconds", "0"]
    act("prepare", "smallworld", "--world-documents", "60", "--world-conversations", "30", "--workers", "1", life=life)
    act("tokenizer", "train", "--vocab-size", "400", life=life)
    act("tokenizer", "compare", "--vocab-size", "400", life=life)
    act("gather", life=life)
    act("pretrain", "--depth", "1", "--context", "128", *few, life=life)
    act("finetune", *few, life=life)
    act(
        *("align", "--pairs", str(root / "pairs.jsonl"), "--tasks", "0", "--reference", "cache", "--held-out", "4"),
        *one,
        life=life,
    )
    act("reward", "--pairs", str(root / "pairs.jsonl"), "--samples", "2", *one, life=life)
    act(
        *("reinforce", *practising, "--name", "practised", "--method", "ppo", "--iterations", "2", "--groups", "2"),
        *("--replies", "2", "--max-tokens", "4", "--judged", "2", "--judge-every", "1"),
        life=life,
    )
    act(
        *("improve", *practising, "--held-out", "4", "--least", "0", "--rounds", "1", "--replies", "8"),
        *("--keep-replies", "1", "--max-tokens", "48", "--epochs", "1", "--select", "random"),
        life=life,
    )
    act("selfplay", "--rounds", "1", "--games", "2", "--panel-games", "1", "--epochs", "0.1", *one, life=life)
    act("evaluate", "--model", "tuned", "--n", "0", "--text-bytes", "500", "--baseline-bytes", "2000", life=life)
    return life


def act(*words: str, life: Life) -> None:
    """Run one command on a life."""
    assert run([*words, "--life", str(life.root)]) == 0, words


def rate(life: Life) -> None:
    """Leave a conversation whose reply was edited and liked in the life's store."""
    store = Store(life.store)
    asked = store.say(store.new_conversation().id, TURN["content"])
    made = Generation("aligned", "0" * 12, {"temperature": 1.0}, "stop", 3, 2, 0.1)
    reply = store.reply(asked.id, "Hi.", [TURN], made)
    store.edit(reply.id, "Hello! How are you?")
    store.thumb(reply.id, 1)
    store.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, by playwright's synchronous API, of which a process can have one at a time.

    It ends with each module, because other tests cannot run an event loop in its thread.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("SAYSO_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no browser: install chromium, or set SAYSO_CHROMIUM to its path")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def accessibility_faults() -> Callable[[Any], list[str]]:
    """Return what axe-core says against an open page: each rule with the elements that break it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

    def faults(page: Any) -> list[str]:
        found = axe.Axe().run(page).response["violations"]
        return [
            f"{rule['id']}: {node['html'][:120]} ({node['failureSummary']})" for rule in found for node in rule["nodes"]
        ]

    return faults


def _sparse(model: Any, share: float) -> Any:
    import torch

    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.blocks.parameters():
            if weight.dim() == 2:
                weight.mul_(torch.rand(weight.shape, generator=generator) < share)
    return model


@pytest.fixture
def sparse() -> Callable[[Any, float], Any]:
    """Set all but a share of the weights in the blocks of a model to zero."""
    return _sparse
