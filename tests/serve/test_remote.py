"""The page over another server's API: a real Sayso server, and servers that refuse, fail, or break off."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from fastapi.testclient import TestClient

from sayso.base.errors import UserError
from sayso.cli.main import run
from sayso.feedback.generations import Generations
from sayso.feedback.measures import catch_up
from sayso.feedback.review_results import queue_counts
from sayso.feedback.store import Store
from sayso.feedback.transcript import as_markdown
from sayso.judge.endpoint import Endpoint
from sayso.reply import Replier
from sayso.run.page import Page, page
from sayso.serve import remote as remote_module
from sayso.serve.page_app import make_page_app
from sayso.serve.remote import Remote

END = b"data: [DONE]\n\n"


def says(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """An event of a streamed chat."""
    delta = ({} if text is None else {"content": text}) | more
    return {"model": "large", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@contextmanager
def page_over(url: str, store: Store, model: str | None = None, **endpoint: Any) -> Iterator[TestClient]:
    """The page of a server with OpenAI's API."""
    app = make_page_app(Remote(Endpoint(url, "", **endpoint), model), store)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def events(text: str) -> list[tuple[str, Any]]:
    """The server-sent events of a body as (name, data)."""
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def ask(client: TestClient, store: Store, content: str = "hello", **wanted: Any) -> Any:
    """Say something in a new conversation; return the response to the request for a reply."""
    said = store.say(store.new_conversation().id, content)
    return client.post("/api/replies", json={"message_id": said.id, **wanted})


def test_the_page_says_what_a_served_model_says(
    replier: Replier, served: Callable[..., AbstractContextManager[str]], store: Store, tmp_path: Path
) -> None:
    """The words are those of the API; what is stored is what that server tells, and no token ids."""
    with served(replier, tmp_path / "remote.sqlite") as url, page_over(url, store) as client:
        shown = client.get("/api/model").json()
        assert (shown["name"], shown["models"], shown["context"]) == ("tuned", ["tuned"], None)
        assert (shown["remote"], shown["problem"]) == (url, None)
        names = [one["name"] for one in shown["settings"]]
        assert names == ["temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens", "seed"]
        assert all(one["default"] is None and one["more"] for one in shown["settings"])
        told = events(ask(client, store, temperature=0, max_tokens=7, system="Be kind.").text)
        turn = told[-1][1]["turn"]
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}]
        body = {"model": "tuned", "messages": messages, "temperature": 0, "max_tokens": 7}
        direct = Endpoint(url, "tuned").post("/chat/completions", body)
    assert [name for name, _ in told[:1] + told[-1:]] == ["start", "done"]
    assert "".join(data["text"] for name, data in told if name == "piece") == turn["content"]
    assert turn["content"] == direct["choices"][0]["message"]["content"]
    kept = store.message(turn["id"])
    assert (kept.prompt, kept.generation is not None) == (messages, True)
    assert kept.generation is not None
    assert (kept.generation.model, kept.generation.fingerprint) == ("tuned", "0123456789ab")
    assert (kept.generation.finish, kept.generation.sampling) == ("length", {"temperature": 0.0, "max_tokens": 7})
    used = direct["usage"]
    counts = kept.generation.prompt_tokens, kept.generation.completion_tokens
    assert counts == (used["prompt_tokens"], used["completion_tokens"])
    trace = Generations(store).trace(turn["id"])
    assert trace is not None
    assert (trace.route, trace.prompt_ids, trace.completion_ids, trace.alias) == ("page", [], [], None)
    assert 0 < (trace.first_seconds or 0) <= kept.generation.seconds


def test_what_the_server_does_not_tell_is_unknown(other: Any, store: Store) -> None:
    """Without usage there are no counts; Watch, the export and the turn do without them. Names are cut and cleaned."""
    other.events = [says("Good "), {"choices": []}, says("day.", "content_filter_of_a_provider"), END]
    other.events[2]["model"] = "large\n" + "x" * 300
    with page_over(other.url, store, key="secret") as client:
        turn = events(ask(client, store).text)[-1][1]["turn"]
    assert (turn["content"], turn["tokens"], turn["prompt_tokens"]) == ("Good day.", None, None)
    assert turn["finish"] == "content_filter_o"
    assert turn["model"] == "large" + "x" * 195
    assert catch_up(store, 10.0) == 0
    assert re.search(
        r"\n\*\d+\.\d s, content_filter_o; default settings\*\n", as_markdown(store, turn["conversation_id"])
    )
    [asked] = other.asked
    assert asked == {
        "model": "large", "messages": [{"role": "user", "content": "hello"}], "stream": True,
        "stream_options": {"include_usage": True}, "key": "Bearer secret",
    }  # fmt: skip


def test_reasoning_is_kept_between_markers_and_not_sent_again(other: Any, store: Store) -> None:
    """DeepSeek's field: streamed as thoughts, stored as this project's models write it, left out of the next prompt."""
    other.events = [says(reasoning_content="Who "), says(reasoning_content="am I?"), says("A model.", "stop"), END]
    with page_over(other.url, store) as client:
        told = events(ask(client, store).text)
        turn = told[-1][1]["turn"]
        said = store.say(turn["conversation_id"], "Really?")
        client.post("/api/replies", json={"message_id": said.id})
    assert "".join(data["text"] for name, data in told if name == "thought") == "Who am I?"
    assert "".join(data["text"] for name, data in told if name == "piece") == "A model."
    assert turn["content"] == "<think>\nWho am I?\n</think>\n\nA model."
    assert turn["answer"] == "A model."
    assert [one["content"] for one in other.asked[1]["messages"]] == ["hello", "A model.", "Really?"]


WEB = b"<!doctype html><title>Welcome</title>"
DENIED = b'{"error": {"message": "Incorrect API key."}}'


@pytest.mark.parametrize(
    ("chat", "sent", "says_so"),
    [
        ((401, "application/json", DENIED), [], r"replied with HTTP 401 \('Incorrect API key'\); check the key in"),
        ((404, "text/plain", b""), [], r"HTTP 404; check the address, which usually ends in /v1, and the name of the"),
        ((200, "text/html", WEB), [], r"replied with text/html instead of a stream of events; check the address"),
        (None, [b"data: oops\n\n"], r"did not reply with JSON but with 'oops'"),
        (None, [b"data: [1]\n\n"], r"did not reply with a JSON object"),
        (None, [], r"broke off its reply\.$"),
    ],
)
def test_a_failure_before_the_reply_is_one_sentence(
    other: Any, store: Store, chat: Any, sent: list[bytes], says_so: str
) -> None:
    """With status 502, never 401, which would ask for the key of the page; the message stays, to be tried again."""
    other.chat, other.events = chat, sent
    with page_over(other.url, store, key="hidden") as client:
        response = ask(client, store)
        assert response.status_code == 502
        error = response.json()["error"]
        assert error["code"] == "remote_failed"
        assert re.search(says_so, error["message"])
        assert error["message"].startswith(f"The server at '{other.url}' ")
        assert "hidden" not in error["message"]
        [message] = store.branch(1)
        other.chat, other.events = None, [says("Here.", "stop"), END]
        again = client.post("/api/replies", json={"message_id": message.id})
    assert [one.content for one in store.branch(1)] == ["hello", "Here."]
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("last", "says_so"),
    [
        ([], "broke off its reply."),
        ([{"error": {"message": "Out of memory."}}], "broke off its reply ('Out of memory')."),
        ([b"data: {\n\n"], "did not reply with JSON but with '{'."),
    ],
)
def test_a_reply_that_breaks_off_is_kept_as_far_as_it_came(
    other: Any, store: Store, last: list[Any], says_so: str
) -> None:
    """The text so far is stored with the finish reason `stopped`, and the page gets the error."""
    other.events = [says("Once upon"), says(" a time"), *last]
    with page_over(other.url, store) as client:
        told = events(ask(client, store).text)
    assert [data["text"] for name, data in told if name == "piece"] == ["Once upon", " a time"]
    assert told[-1][0] == "error"
    assert told[-1][1]["error"]["message"] == f"The server at '{other.url}' {says_so}"
    [_, kept] = store.branch(1)
    assert kept.generation is not None
    assert (kept.content, kept.generation.finish) == ("Once upon a time", "stopped")


def test_a_stopped_reply_is_kept_and_its_connection_closed(other: Any, store: Store) -> None:
    """At once, also while the other server is silent; the connection is closed when it says more."""
    silence = threading.Event()
    other.events = [says("Once"), silence, *[says("x" * 10_000)] * 1000, END]
    with page_over(other.url, store) as client:
        said = store.say(store.new_conversation().id, "hello")
        told = list[str]()

        def read() -> None:
            told.append(client.post("/api/replies", json={"message_id": said.id}).text)

        reader = threading.Thread(target=read)
        reader.start()
        remote, portal = client.app.state.models, client.portal  # type: ignore[attr-defined]
        assert portal is not None
        while not any(one.generation(0) for one in list(remote.speeches)):
            pass
        portal.call(remote.stop)
        reader.join()
        assert not silence.is_set()
        silence.set()
        assert other.cut.wait(60)
    [_, kept] = store.branch(1)
    assert kept.generation is not None
    assert (kept.content, kept.generation.finish) == ("Once", "stopped")
    assert events(told[0])[-1][1]["turn"]["id"] == kept.id


def test_a_silent_server_is_given_up(other: Any, store: Store) -> None:
    """After the longest silence that is allowed; what was said before is kept."""
    other.events = [says("Once"), threading.Event()]
    with page_over(other.url, store, timeout=0.2) as client:
        error = events(ask(client, store).text)[-1][1]["error"]
    assert error["message"] == f"The server at '{other.url}' did not reply within 0.2 seconds."
    assert [one.content for one in store.branch(1)] == ["hello", "Once"]


@pytest.mark.parametrize(
    ("models", "says_so"),
    [
        ((401, "application/json", DENIED), "replied with HTTP 401 ('Incorrect API key'); check the key"),
        ((200, "text/html", WEB), "did not reply with JSON but with '<!doctype html>"),
        ((200, "application/json", b'{"data": []}'), "lists no models; name one with --model."),
        ((200, "application/json", b'{"data": [3, {"id": 4}, {"id": ""}]}'), "lists no models"),
        ((200, "application/json", b'{"data": 3}'), "lists no models"),
    ],
)
def test_a_server_that_tells_no_models_is_a_problem_of_the_chat_only(
    other: Any, store: Store, models: Any, says_so: str
) -> None:
    """The page opens with the problem; a named model needs no list; a server that lists some later is asked again."""
    right, other.models = other.models, models
    with page_over(other.url, store) as client:
        shown = client.get("/api/model").json()
        assert says_so in shown["problem"]
        assert (shown["name"], shown["models"]) == ("a remote model", [])
        assert client.get("/api/rate").status_code == 200
        assert says_so in ask(client, store).json()["error"]["message"]
        other.models = right
        assert client.get("/api/model").json()["problem"] is None
    other.models, other.events = models, [says("Here.", "stop"), END]
    with page_over(other.url, store, "own") as client:
        shown = client.get("/api/model").json()
        assert (shown["name"], shown["models"], shown["problem"]) == ("own", ["own"], None)
        assert ask(client, store).status_code == 200
        assert other.asked[-1]["model"] == "own"


def test_the_models_are_asked_for_once_a_minute(other: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named one comes first; the page can ask another one by its name."""
    other.events = [says("Here.", "stop"), END]
    with page_over(other.url, store, "small") as client:
        assert client.get("/api/model").json()["models"] == ["small", "large"]
        other.models = 200, "application/json", b'{"data": [{"id": "new"}]}'
        assert client.get("/api/model").json()["models"] == ["small", "large"]
        monkeypatch.setattr(remote_module, "KNOWN", 0.0)
        assert client.get("/api/model").json()["models"] == ["small", "new"]
        ask(client, store, model="new")
        ask(client, store)
    assert [one["model"] for one in other.asked] == ["new", "small"]


def test_a_refused_connection_is_said(store: Store) -> None:
    """Port 1 has no server."""
    with page_over("http://127.0.0.1:1/v1", store) as client:
        says_so = "The server at 'http://127.0.0.1:1/v1' cannot be reached (Connection refused)."
        assert client.get("/api/model").json()["problem"] == says_so
        assert ask(client, store).json()["error"]["message"] == says_so
        assert len(store.branch(1)) == 1


def test_pairs_for_rating_are_made_by_remote_models(other: Any, store: Store) -> None:
    """Two models reply to a prompt; if one of them fails, nothing is added."""
    other.events = [lambda body: says(f"I am {body['model']}.", "stop") | {"model": body["model"]}, END]
    body = {"name": "week", "prompt": "hello", "models": ["large", "small"], "max_tokens": 5, "top_k": 3}
    with page_over(other.url, store) as client:
        assert client.post("/api/admin/rate/replies", json=body).json() == {"added": 1}
        assert [(one["model"], one["max_tokens"], one["top_k"]) for one in other.asked] == [
            ("large", 5, 3), ("small", 5, 3),
        ]  # fmt: skip
        other.events = [says("Here.")]
        assert client.post("/api/admin/rate/replies", json=body).status_code == 502
    assert sum(one["items"] for one in queue_counts(store)) == 1


def test_settings_that_other_servers_do_not_have_are_refused(other: Any, store: Store) -> None:
    """They are named instead of ignored; there is no API behind the page."""
    with page_over(other.url, store) as client:
        response = ask(client, store, top_k=3)
        assert (response.status_code, response.json()["error"]["param"]) == (400, "top_k")
        assert client.post("/v1/chat/completions", json={"messages": []}).status_code == 404
        assert client.get("/ready").json() == {"status": "ok"}
    assert other.asked == []


def test_a_page_that_shuts_down_asks_no_more(other: Any, store: Store) -> None:
    with page_over(other.url, store) as client:
        client.app.state.models.drain()  # type: ignore[attr-defined]
        assert ask(client, store).status_code == 503
        assert client.get("/ready").status_code == 503


@pytest.mark.parametrize(
    ("options", "says_so"),
    [
        ({"base_url": "localhost:8080"}, "must be an address such as http://127.0.0.1:8000/v1; got 'localhost:8080'"),
        ({"base_url": "http://me:secret@example.org/v1"}, "contain no key; give the key in SAYSO_ENDPOINT_KEY"),
        ({"base_url": "http://127.0.0.1:1/v1", "key": "a b"}, "key must be printable ASCII without spaces"),
        ({"base_url": "http://127.0.0.1:1/v1", "host": "0.0.0.0"}, "API key is required to listen on"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, options: dict[str, Any], says_so: str) -> None:
    with pytest.raises(UserError, match=re.escape(says_so)):
        page(Page(life=tmp_path / "life", **options))
    assert not (tmp_path / "life").exists()


def test_the_command_needs_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2 and without a traceback."""
    assert run(["page"]) == 2
    assert "--base-url" in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted(other: Any, tmp_path: Path) -> None:
    """In a folder without a life, whose store is made; it ends well."""
    command = [sys.executable, "-m", "sayso", "page", "--base-url", other.url, "--port", "0", "--no-log-requests"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"is at (http://127.0.0.1:\d+)\.", process.stdout.readline())
        assert found is not None
        with urlopen(f"{found[1]}/api/model") as response:
            assert json.load(response)["models"] == ["large", "small"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert (tmp_path / "life" / "store.sqlite").exists()
