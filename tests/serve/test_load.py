"""Many askers at once: the queue, and those who leave."""

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx2
import openai
import pytest
from fastapi import FastAPI

from sayso.base.errors import UserError
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.sample.sampling import Sampling
from sayso.serve.envelope import HEADERS
from sayso.serve.listen import listen
from sayso.serve.server import Loading, Server

CONTEXT = 4096
HELLO = [{"role": "user", "content": "hello"}]


def test_a_reader_who_leaves_stops_the_reply_and_what_was_said_is_kept(address: str, store: Store) -> None:
    """The connection is closed after the first piece; then the part comes into the store."""
    said = store.say(store.new_conversation().id, "hello")
    body = {"message_id": said.id, "temperature": 0, "max_tokens": CONTEXT}
    with httpx2.Client(base_url=address, timeout=60) as client:
        with client.stream("POST", "/api/replies", json=body) as stream:
            for line in stream.iter_lines():
                if line == "event: piece":
                    break
        while len(store.branch(said.conversation_id)) == 1:  # until it is kept
            client.get("/health")
    reply = store.branch(said.conversation_id)[-1]
    assert reply.generation is not None
    assert (reply.role, reply.generation.finish) == ("assistant", "stopped")
    assert 0 < reply.generation.completion_tokens < CONTEXT - 100


@pytest.mark.parametrize("stream", [True, False])
def test_while_the_model_speaks_the_server_answers_and_its_queue_has_an_end(
    address: str, servers: list[Server], hook: Callable[..., None], stream: bool
) -> None:
    """One speaks, one waits, the third is told 429; /health answers at once; leaving frees the model."""
    body = {"messages": HELLO, "temperature": 0, "stream": True}
    free = threading.Event()
    spoken = count()

    def hold() -> None:
        """Let two tokens through and the others wait, so that the first reply cannot end before the third is asked."""
        if next(spoken) >= 2:
            free.wait(30)

    hook(servers[0].config.app.state.models.main.worker.engine, hold)
    with httpx2.Client(base_url=address, timeout=60) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as running:
            said = running.iter_lines()  # kept: a generator that goes away closes its response
            next(said)
            with client.stream("POST", "/v1/chat/completions", json=body):
                assert client.get("/health").json() == {"status": "ok"}
                full = client.post("/v1/chat/completions", json=body | {"stream": stream})
                free.set()
        short = {"prompt": "cat", "max_tokens": 1}
        while (after := client.post("/v1/completions", json=short)).status_code == 429:
            client.get("/health")  # until the server has seen that both have left
    assert (full.status_code, full.json()["error"]["code"]) == (429, "queue_full")
    assert int(full.headers["retry-after"]) > 0
    assert after.status_code == 200


def test_an_asker_of_a_whole_answer_who_leaves_frees_the_model(
    address: str, servers: list[Server], hook: Callable[..., None]
) -> None:
    """A request that is not streamed is given up too when its connection closes: five cost less than five answers."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    asked = {"messages": HELLO, "temperature": 0, "max_tokens": 1000}
    body = json.dumps(asked).encode()
    host, port = address.removeprefix("http://").split(":")
    spoken: list[int] = []
    hook(servers[0].config.app.state.models.main.worker.engine, lambda: spoken.append(1))
    with httpx2.Client(base_url=address, timeout=60) as client:
        assert client.post("/v1/chat/completions", json=asked).status_code == 200
        whole = len(spoken)
        for _ in range(5):
            with socket.create_connection((host, int(port))) as asker:
                asker.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
                client.get("/health")
        answer = client.post("/v1/completions", json={"prompt": "cat", "max_tokens": 1})
        while answer.status_code == 429:  # the last to leave may still be in the queue
            answer = client.post("/v1/completions", json={"prompt": "cat", "max_tokens": 1})
    assert answer.status_code == 200
    assert len(spoken) - whole < 5 * whole


def test_many_at_once_say_what_each_says_alone(start: Callable[..., str], replier: Replier) -> None:
    """Twelve conversations through four rows, greedy and with seeds, streamed and whole: none changes another."""
    official = openai.OpenAI(api_key="none", base_url=f"{start(rows=4)}/v1", max_retries=0)
    talks = [[{"role": "user", "content": "the cat " * number + "hello"}] for number in range(12)]

    def ask(number: int) -> str:
        asked: dict[str, Any] = {"model": "tuned", "messages": talks[number], "max_tokens": 10 + number}
        asked |= {"temperature": 0} if number % 2 else {"seed": number, "temperature": 1}
        if number % 3:
            return official.chat.completions.create(**asked).choices[0].message.content or ""
        chunks = official.chat.completions.create(**asked, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(12) as threads:
        said = list(threads.map(ask, range(12)))
    for number, text in enumerate(said):
        given = {"temperature": 0.0} if number % 2 else {"seed": number, "temperature": 1.0}
        sampling = Sampling(max_tokens=10 + number, **given)
        assert text == replier.replies([talks[number]], sampling)[0].text


def test_a_slow_reader_holds_up_nobody(start: Callable[..., str]) -> None:
    """One asks for a long stream and reads nothing; others are answered meanwhile."""
    address = start(rows=2)
    host, port = address.removeprefix("http://").split(":")
    body = json.dumps({"messages": HELLO, "temperature": 0, "stream": True}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    with (
        socket.create_connection((host, int(port))) as slow,
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        slow.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert slow.recv(12) == b"HTTP/1.1 200"
        for _ in range(3):
            answer = client.post("/v1/completions", json={"prompt": "cat", "max_tokens": 5, "temperature": 0})
            assert answer.status_code == 200


@pytest.mark.parametrize("tokens", [40, CONTEXT])
def test_a_server_that_ends_lets_replies_end_within_the_grace(
    start: Callable[..., str], servers: list[Server], store: Store, hook: Callable[..., None], tokens: int
) -> None:
    """A short reply still ends; a long one is cut, and what was said on the page is kept. Nothing new is taken."""
    said = store.say(store.new_conversation().id, "hello")
    address, ended = start(rows=2), threading.Event()
    long = tokens == CONTEXT
    if long:
        hook(servers[0].config.app.state.models.main.worker.engine, lambda: ended.wait(30))
    body = {"message_id": said.id, "temperature": 0, "max_tokens": tokens}
    with (
        httpx2.Client(base_url=address, timeout=60) as client,
        client.stream("POST", "/api/replies", json=body) as stream,
    ):
        told = stream.iter_lines()
        assert next(told) == "event: start"
        assert client.get("/ready").status_code == 200
        servers[0].end()
        if long:
            assert list(told)[-4:-2] == ["", "event: error"]
            assert servers[0].config.app.state.models.main.worker.closing
            ended.set()
        else:
            assert "event: done" in list(told)
    if not long:
        assert store.branch(said.conversation_id)[-1].generation is not None


CUT = "The server is shutting down; this reply was cut off."


def test_replies_that_are_cut_say_so(
    start: Callable[..., str], servers: list[Server], store: Store, hook: Callable[..., None]
) -> None:
    """Each kind of stream ends with an error event, a whole answer is 503, and what was said on the page is kept."""
    said = store.say(store.new_conversation().id, "hello")
    address = start(rows=4)
    told, held, go = threading.Barrier(5), threading.Event(), threading.Event()
    hook(servers[0].config.app.state.models.main.worker.engine, lambda: held.is_set() and go.wait(30))
    bodies: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": HELLO, "temperature": 0, "stream": True},
        "/v1/responses": {"input": "hello", "temperature": 0, "stream": True},
        "/api/replies": {"message_id": said.id, "temperature": 0, "max_tokens": CONTEXT},
        "/v1/completions": {"prompt": "cat", "temperature": 0, "max_tokens": 4000},
    }

    def ask(path: str) -> tuple[int, str]:
        with httpx2.Client(base_url=address, timeout=60) as client:
            if path == "/v1/completions":
                told.wait(30)
                answer = client.post(path, json=bodies[path])
                return answer.status_code, answer.text
            with client.stream("POST", path, json=bodies[path]) as stream:
                lines = stream.iter_lines()
                first = [next(line for line in lines if "text" in line or "content" in line)]
                told.wait(30)
                return stream.status_code, "\n".join([*first, *lines])

    with ThreadPoolExecutor(4) as pool:
        asked = {path: pool.submit(ask, path) for path in bodies}
        told.wait(30)
        held.set()
        arrived = time.monotonic() + 30
        while servers[0].config.app.state.models.main.worker.load < len(bodies) and time.monotonic() < arrived:
            time.sleep(0.01)  # until the last request has been accepted: its connection would be refused later
        servers[0].end()
        answers = {path: future.result(timeout=60) for path, future in asked.items()}
        go.set()
    status, body = answers.pop("/v1/completions")
    assert status == 503
    assert "shutting down" in json.loads(body)["error"]["message"]
    for path, (status, body) in answers.items():
        last = json.loads(body.strip().splitlines()[-1].removeprefix("data: "))
        error = last["response"]["error"] if path == "/v1/responses" else last["error"]
        assert (status, error["message"]) == (200, CUT), path
        assert "[DONE]" not in body
    kept = store.branch(said.conversation_id)[-1]
    assert kept.generation is not None
    assert (kept.role, kept.generation.finish) == ("assistant", "stopped")


@pytest.mark.parametrize("broken", [False, True])
def test_a_server_that_loads_is_alive_and_not_ready(app: FastAPI, broken: bool) -> None:
    """Until its model is there all but /health is 503; a model that cannot be loaded ends the server with its error."""
    go = threading.Event()

    def load() -> FastAPI:
        go.wait(30)
        if broken:
            raise UserError("no model")
        return app

    loading = Loading(load)
    server = Server(loading, loading.drain, grace=1, log_level="critical")
    loading.failed = server.end
    answered = threading.Event()
    loading.ready = lambda: answered.set() if loading.app is app else None
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        with httpx2.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
            assert client.get("/health").json() == {"status": "loading"}
            for path in ("/ready", "/v1/models"):
                early = client.get(path)
                assert (early.status_code, early.json()["error"]["code"]) == (503, "loading")
            assert not answered.is_set()
            go.set()
            if not broken:
                assert answered.wait(30)  # `sayso serve` prints its address then: from here on the model answers
                assert client.get("/ready").status_code == 200
                assert client.get("/v1/models").status_code == 200
                server.end()
        thread.join()
    assert isinstance(loading.error, UserError) == broken


@pytest.mark.parametrize(
    "said",
    [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/completions HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
def test_what_is_no_http_is_answered_as_any_error(said: bytes, address: str) -> None:
    """It never reaches the application, and has the security headers all the same."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as line, line.makefile("rb") as answers:
        line.sendall(said)
        head, _, body = answers.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert all(f"\r\n{name}: {value}".encode() in head for name, value in HEADERS.items())
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
