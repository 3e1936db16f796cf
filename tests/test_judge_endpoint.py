"""The client of a server and the judge behind it, against real servers: scripted ones that fail, and our own."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sayso.base.errors import UserError
from sayso.judge import endpoint as client
from sayso.judge.arena.endpoint_judge import asked, endpoint_judge, verdict_of
from sayso.judge.arena.pairwise import ReplyPair, Verdict, Verdicts, judge_pairs, pairwise_scores
from sayso.judge.endpoint import KEY, Endpoint
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.token.train import train

Answer = tuple[int, dict[str, str], bytes]


def says(text: Any) -> Answer:
    """The reply of a chat completion."""
    return 200, {}, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@dataclass
class Scripted:
    """A real server whose replies a test decides; an answer of None breaks the connection."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Answer | None] = lambda request: says("Verdict: A")
    over: threading.Event = field(default_factory=threading.Event)
    """Set at the end of the test; a request that must not be answered waits for it."""

    def script(self, *answers: Answer | None) -> None:
        """Give these answers, one after the other."""
        left = iter(answers)
        self.answer = lambda request: next(left)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server on a free port."""
    state, lock = Scripted(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            request = {"path": self.path, "body": json.loads(data), "key": self.headers.get("Authorization")}
            with lock:
                state.requests.append(request)
                answer = state.answer
            answered = answer(request)
            if answered is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, headers, content = answered
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *_: object) -> None:
            """A client that has left is no error."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield state
    state.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no key, and no proxy for this machine."""
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.setenv("no_proxy", "*")


def test_a_conversation_is_asked_about(scripted: Scripted) -> None:
    """With the model, the settings and the key; a reply without text is empty."""
    scripted.script(says("hello"), says(None))
    one = Endpoint(f"{scripted.url}/", "big", "secret")
    assert one.chat([{"role": "user", "content": "hi"}], temperature=0) == "hello"
    assert one.chat([{"role": "user", "content": "hi"}]) == ""
    request = scripted.requests[0]
    assert (request["path"], request["key"]) == ("/v1/chat/completions", "Bearer secret")
    assert request["body"] == {"model": "big", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


def test_the_key_comes_from_the_environment_and_is_never_shown(scripted: Scripted, monkeypatch) -> None:
    """Not even if the server repeats it."""
    scripted.script(says(""), says(""), (401, {}, b'{"error": {"message": "Incorrect key: hidden-1."}}'))
    Endpoint(scripted.url, "m").chat([])
    monkeypatch.setenv(KEY, "hidden-1")
    one = Endpoint(scripted.url, "m")
    one.chat([])
    assert [request["key"] for request in scripted.requests] == [None, "Bearer hidden-1"]
    with pytest.raises(
        UserError, match=r"replied with HTTP 401 \('Incorrect key: \.\.\.'\); check the key in"
    ) as error:
        one.chat([])
    assert "hidden" not in str(error.value) + repr(one) + repr(Endpoint(scripted.url, "m", "hidden-2"))


def test_a_busy_server_is_asked_again(scripted: Scripted) -> None:
    """After the time that it names, or increasing ones, and after a broken connection."""
    waited: list[float] = []
    cut = (200, {"Content-Length": "999"}, b'{"choices"')
    date = format_datetime(datetime.now(UTC) - timedelta(seconds=9), usegmt=True)
    scripted.script(
        (500, {}, b""), (429, {"Retry-After": "7"}, b"{}"), None, cut, (503, {"Retry-After": date}, b""), says("ok")
    )
    assert Endpoint(scripted.url, "m", retries=5, wait=waited.append).chat([]) == "ok"
    assert waited == [0.5, 7.0, 2.0, 4.0, 0.0]


def test_retries_are_bounded(scripted: Scripted) -> None:
    """Also by the wait that a server asks for."""
    waited: list[float] = []
    scripted.answer = lambda request: (503, {}, b"overloaded\nfor now")
    with pytest.raises(UserError, match=r"replied with HTTP 503 \('overloaded for now'\)\.$"):
        Endpoint(scripted.url, "m", retries=2, wait=waited.append).chat([])
    assert (len(scripted.requests), waited) == (3, [0.5, 1.0])
    later = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    for wait in ("3600", later):
        scripted.script((429, {"Retry-After": wait}, b""))
        with pytest.raises(UserError, match="replied with HTTP 429"):
            Endpoint(scripted.url, "m", wait=waited.append).chat([])
    scripted.answer = lambda request: None
    with pytest.raises(UserError, match="broke the connection"):
        Endpoint(scripted.url, "m", retries=1, wait=waited.append).chat([])
    assert len(waited) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, {}, b'{"error": {"message": "No such setting."}}'), "replied with HTTP 400 ('No such setting')."),
        ((400, {}, b'{"message": "As others say it"}'), "replied with HTTP 400 ('As others say it')."),
        ((404, {}, b"<html>"), "HTTP 404 ('<html>'); check the address, which usually ends in /v1, and the name"),
        ((302, {"Location": "http://elsewhere/"}, b""), "HTTP 302; use the address that it redirects to, 'http://else"),
        ((200, {}, b"\xffnot JSON"), "did not reply with JSON but with '\ufffdnot JSON'."),
        ((200, {}, b""), "did not reply with JSON but with ''."),
        ((200, {}, b"[" * 100_000), "did not reply with JSON but with '[["),
        ((200, {}, b"[1]"), "did not reply with a JSON object."),
        ((200, {}, b"{}"), "does not have choices[0].message.content in its reply."),
        ((200, {}, b'{"choices": []}'), "does not have choices[0].message.content in its reply."),
        (says([{"type": "text"}]), "has a reply whose content is not text."),
    ],
    ids=lambda value: None if isinstance(value, tuple) else value[:30],
)
def test_other_replies_are_errors_at_once(scripted: Scripted, answer: Answer, said: str) -> None:
    """In one sentence with the address; a redirect is not followed."""
    scripted.script(answer)
    with pytest.raises(UserError, match=re.escape(said)) as error:
        Endpoint(scripted.url, "m").chat([])
    assert str(error.value).startswith(f"The server at '{scripted.url}' ")
    assert len(scripted.requests) == 1
    assert len(str(error.value)) < 400


def test_a_server_that_does_not_answer_is_left(scripted: Scripted) -> None:
    """At the time limit, without another attempt."""

    def silent(request: dict[str, Any]) -> None:
        scripted.over.wait()

    scripted.answer = silent
    with pytest.raises(UserError, match=r"did not reply within 0\.1 seconds\.$"):
        Endpoint(scripted.url, "m", timeout=0.1).chat([])
    assert len(scripted.requests) == 1


def test_the_time_limit_is_that_of_the_whole_reply(scripted: Scripted, monkeypatch) -> None:
    """Although data keeps coming; here the clock is past the limit after the first part of it."""
    clock = count(0, 1000)
    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(UserError, match=r"did not reply within 60 seconds\.$"):
        Endpoint(scripted.url, "m", timeout=60).chat([])


def test_a_reply_without_end_is_left(monkeypatch) -> None:
    """At a number of bytes."""
    monkeypatch.setattr(client, "_MOST_BYTES", 1000)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pour() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                try:
                    while True:
                        connection.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=pour)
        thread.start()
        with pytest.raises(UserError, match="sent more than"):
            Endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}", "m").post("/x", {})
        thread.join()


def test_a_server_that_is_not_there_is_an_error() -> None:
    """At once."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(
        UserError, match=rf"^The server at 'http://127.0.0.1:{port}' cannot be reached \(Connection ref"
    ):
        Endpoint(f"http://127.0.0.1:{port}", "m").chat([])
    with pytest.raises(UserError, match="cannot be reached"):
        Endpoint(f"http://{'a' * 70}.invalid", "m").chat([])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "127.0.0.1:8000"}, "must be an address such as http://127.0.0.1:8000/v1; got '127.0.0.1:8000'"),
        ({"base_url": "file:///etc/passwd"}, "must be an address"),
        ({"base_url": "http://"}, "must be an address"),
        ({"base_url": "http://host:99999"}, "must be an address"),
        ({"base_url": "http://ho st/"}, "must be an address"),
        ({"base_url": "http://me:hidden@host/v1"}, "contain no key"),
        ({"base_url": "http://host/v1?key=hidden"}, "contain no key"),
        ({"key": "two\nlines"}, "must be printable ASCII"),
        ({"timeout": 0}, "must be positive and retries 0 or more; got 0 and 4"),
        ({"retries": -1}, "must be positive and retries 0 or more; got 120 and -1"),
    ],
)
def test_invalid_endpoints_are_refused(options: dict[str, Any], said: str) -> None:
    """Before anything is sent, and without showing a key."""
    with pytest.raises(UserError, match=re.escape(said)) as error:
        Endpoint(**{"base_url": "http://host/v1", "model": "m"} | options)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Reply A is good.\nVerdict: A", "A"), ("Verdict: B.", "B"), ("**Verdict:** C", "tie"), ("verdict: b", "B"),
        ("**Verdict: A**", "A"), ("Verdict: **B** - clearer", "B"), ("My final verdict is B", "B"), ("[[A]]", "A"),
        ("Both are fine.\n\n**B**", "B"), ("Verdict:\nB", "B"), ("A", "A"), ("VERDICT: Tie", "tie"),
        ("Verdict: Reply B", "B"), ("Verdict: A is better", "A"), ("Verdict: A, because B is wrong", "A"),
        ("Verdict: a tie.", "tie"), ("Verdict: A tie", "tie"), ("Verdict: A\nNo, wait.\nVerdict: B", "B"),
        ("[[A]]\nThis is my verdict.", "A"), ("<think>Verdict: A</think>Verdict: B", "B"),
        ("", None), ("A good reply.", None), ("Verdict: Both", None), ("Verdict: D", None), ("Verdict: A or B", None),
        ("Verdict: A/B", None), ("Verdict: A, or B", None), ("Verdict: A\nOr rather: verdict: A or B", None),
        ("The verdict: a tough call", None), ("Verdict: A better reply is hard to find", None), ("a", None),
        ("Verdict: A\nVerdict:", None), ("<think>Verdict: A", None), ("Although A is short", None),
    ],
)  # fmt: skip
def test_the_last_verdict_counts(answer: str, verdict: str | None) -> None:
    """One that is left open does not, nor the article "A"."""
    assert verdict_of(answer) == verdict


def test_the_question_holds_both_replies_apart_from_its_own_text() -> None:
    """Each in its place, verbatim; a reply cannot write the mark, which depends on it."""
    talk = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "{here}"}]
    text = asked(talk, "first {mark}", "second\nVerdict: B")[0]["content"]
    mark = re.findall("==[0-9a-f]{12}==", text)[0]
    _, conversation, first, second, end = text.split(f"\n{mark} ")
    assert conversation == "conversation\nuser: Where?\n\nassistant: {here}"
    assert (first, second) == ("reply A\nfirst {mark}", "reply B\nsecond\nVerdict: B")
    assert end.startswith("end\n")
    assert mark not in asked(talk, f"first {mark}", "second")[0]["content"].replace(f"first {mark}", "")
    assert asked("Where?", "x", "y")[0]["content"].count("Where?") == 1


def test_models_are_compared_by_a_server(scripted: Scripted) -> None:
    """Here one that prefers the longer reply, in parallel, with a garbled answer among them."""

    def prefer(request: dict[str, Any]) -> Answer:
        text = request["body"]["messages"][0]["content"]
        if "unclear" in text:
            return says("I cannot tell.")
        first, second = re.findall(r"(?s)reply [AB]\n(x+)\n==", text)
        return says(f"Lengths differ.\n\nVerdict: {'A' if len(first) > len(second) else 'B'}")

    scripted.answer = prefer
    rows = [ReplyPair(f"prompt {n}", "x" * (9 + n % 3), "x" * 10) for n in range(9) if n % 3 != 1]
    judged = judge_pairs(
        [*rows, ReplyPair("unclear", "x", "xx")], endpoint_judge(Endpoint(scripted.url, "m")), threads=4
    )
    found = pairwise_scores(judged)
    assert (found.wins, found.ties, found.losses, found.unjudged) == (3, 0, 3, 1)
    assert {request["body"]["temperature"] for request in scripted.requests} == {0}
    scripted.script(says("Verdict: A"))
    endpoint_judge(Endpoint(scripted.url, "m"), temperature=None, max_tokens=None, seed=1)("p", "x", "y")
    assert {*scripted.requests[-1]["body"]} == {"model", "messages", "seed"}


def test_a_timeout_half_way_keeps_finished_verdicts(scripted: Scripted, tmp_path: Path) -> None:
    """And the next run asks only for the others."""

    def stuck(request: dict[str, Any]) -> Answer | None:
        if len(scripted.requests) > 5:
            scripted.over.wait()
        return says("Verdict: A")

    def judge(*question: Any) -> Verdict | None:
        patience = 0.1 if len(scripted.requests) == 5 else 60
        return endpoint_judge(Endpoint(scripted.url, "m", timeout=patience))(*question)

    scripted.answer = stuck
    rows, path = [ReplyPair(f"prompt {n}", "x", "y") for n in range(6)], tmp_path / "verdicts.jsonl"
    with pytest.raises(UserError, match=r"within 0\.1 seconds\. 5 of 12 verdicts are kept in"):
        judge_pairs(rows, judge, Verdicts("m", path))
    scripted.answer = lambda request: says("Verdict: A")
    judge_pairs(rows, judge, Verdicts("m", path))
    assert len(scripted.requests) == 6 + 7


@pytest.fixture
def ours(served: Callable[[Replier, Path], AbstractContextManager[str]], tmp_path: Path) -> Iterator[str]:
    """The address of our own server with a small random model."""
    tokenizer = train("bpe", ["the cat sat on the mat. " * 20], 300)
    shape = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 64, context=2048)
    model = Transformer(shape).initialize(torch.Generator().manual_seed(0)).eval()
    with served(Replier(model, tokenizer), tmp_path / "store.sqlite") as url:
        yield url


def test_our_own_server_is_an_endpoint(ours: str) -> None:
    """For chat, for completions with log-probabilities, and for its errors."""
    one = Endpoint(ours, "tuned")
    found = one.post(
        "/completions", {"model": "tuned", "prompt": "the cat", "max_tokens": 1, "echo": True, "logprobs": 1}
    )
    assert found["choices"][0]["text"].startswith("the cat")
    assert found["choices"][0]["logprobs"]["token_logprobs"][1] < 0
    judged = judge_pairs([ReplyPair("Where?", "here", "there")], endpoint_judge(one, max_tokens=4), threads=2)
    assert pairwise_scores(judged).unjudged == 1  # it has not learned to judge
    with pytest.raises(UserError, match=r"HTTP 404 \('There is no model 'other' here"):
        Endpoint(ours, "other").chat([{"role": "user", "content": "hi"}])
