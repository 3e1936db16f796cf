"""The server: OpenAI's API with its own client, the page's routes, the queue, and the door."""

import asyncio
import json
import socket
import threading
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.run.serve import Serve, listen, serve
from sayso.sample.sampling import Sampling
from sayso.serve.app import make_app
from sayso.serve.door import PUBLIC
from sayso.serve.markdown import to_html
from sayso.serve.worker import QueueFullError, Worker
from sayso.token.train import train

CONTEXT = 4096
HERE = "http://127.0.0.1"
HELLO = [{"role": "user", "content": "hello"}]


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


@pytest.fixture
def address(replier: Replier, store: Store) -> Iterator[str]:
    """A real server on a free port, with room for one waiting request."""
    app = make_app(replier, store, "tuned", queue=1)
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


def lines(text: str) -> list[tuple[str, Any]]:
    """The server-sent events of a body as (name, data)."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if not fields:
            continue
        found.append((fields.get("event", ""), json.loads(fields["data"]) if fields["data"] != "[DONE]" else None))
    return found


# -- OpenAI's API ------------------------------------------------------------------------------------------------------


def test_a_chat_says_what_the_model_says(official: openai.OpenAI, replier: Replier) -> None:
    """Through OpenAI's client the reply, its end and its counts are those of the model itself."""
    asked = {"temperature": 0.9, "top_p": 0.9, "seed": 7, "max_tokens": 12}
    [own] = replier.replies([HELLO], Sampling(**asked))
    made = official.chat.completions.create(model="tuned", messages=HELLO, **asked)
    [choice] = made.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", own.text, own.finish)
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (own.prompt_tokens, own.completion_tokens)
    assert made.id.startswith("chatcmpl-")
    assert (made.object, made.model, made.system_fingerprint) == ("chat.completion", "tuned", "0123456789ab")


def test_a_stream_is_the_same_chat_in_pieces(official: openai.OpenAI) -> None:
    """Same seed: the pieces together are the whole reply, under one id, the role first and the reason last."""
    asked = {"model": "tuned", "messages": HELLO, "seed": 3, "max_completion_tokens": 10}
    whole = official.chat.completions.create(**asked)
    chunks = list(official.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    *said, last = chunks
    assert len({chunk.id for chunk in chunks}) == 1
    assert said[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in said] == [None] * (len(said) - 1) + ["length"]
    assert (last.choices, last.usage) == ([], whole.usage)


def test_a_stream_ends_with_done(client: TestClient) -> None:
    """The bytes are server-sent events, and the last one says [DONE]; without usage none speaks of tokens."""
    body = {"model": "tuned", "messages": HELLO, "max_tokens": 2, "stream": True}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")
    assert all("usage" not in data for _, data in lines(reply.text) if data)


def test_choices_are_numbered_prompt_by_prompt(official: openai.OpenAI) -> None:
    """Two prompts with two choices each give four, the same whole or streamed; the samples of one prompt differ."""
    asked = {"model": "tuned", "prompt": ["the cat", "the dog"], "n": 2, "seed": 1, "max_tokens": 8}
    made = official.completions.create(**asked)
    texts = [choice.text for choice in made.choices]
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    assert texts[0] != texts[1]
    streamed = ["", "", "", ""]
    for chunk in official.completions.create(**asked, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == texts


def test_a_prompt_may_be_ids(official: openai.OpenAI, replier: Replier) -> None:
    """The ids of a text continue as the text does."""
    asked = {"model": "tuned", "temperature": 0, "max_tokens": 6}
    ids = replier.text_ids("the cat")
    both = [official.completions.create(**asked, prompt=prompt).choices[0].text for prompt in ("the cat", ids, [ids])]
    assert both[0] == both[1] == both[2]


def test_a_stop_text_ends_a_reply_and_is_not_in_it(official: openai.OpenAI) -> None:
    """The reply up to the stop text is what it was without it."""
    asked = {"model": "tuned", "messages": HELLO, "temperature": 0, "max_tokens": 30}
    whole = official.chat.completions.create(**asked).choices[0].message.content or ""
    stop = whole[4:6]
    cut = official.chat.completions.create(**asked, stop=stop).choices[0]
    assert (cut.message.content, cut.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_without_a_length_a_chat_may_fill_the_context(official: openai.OpenAI) -> None:
    """Prompt and reply together are the context, and the reason says that it was cut."""
    prompt = [{"role": "user", "content": "cat " * 4000}]
    made = official.chat.completions.create(model="tuned", messages=prompt, temperature=0)
    assert made.usage is not None
    assert made.usage.total_tokens == CONTEXT
    assert made.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("change", "code", "param", "says"),
    [
        ({"temprature": 1}, "unknown_parameter", "temprature", "Did you mean 'temperature'?"),
        ({"logit_bias": {"5": -100}}, "unsupported_parameter", "logit_bias", "not supported"),
        ({"tools": [{"type": "function"}]}, "unsupported_parameter", "tools", "not supported"),
        ({"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format", "not supported"),
        ({"temperature": -1}, "invalid_value", "temperature", "got -1"),
        ({"temperature": "NaN"}, "invalid_value", "temperature", "finite"),
        ({"top_p": 0}, "invalid_value", "top_p", "greater than 0"),
        ({"n": 9}, "invalid_value", "n", "less than or equal to 8"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens", "greater than or equal to 1"),
        ({"stop": ["a"] * 5}, "invalid_value", "stop", "at most 4"),
        ({"stop": ""}, "invalid_value", "stop.0", "at least 1 character"),
        ({"stream_options": {"include_usage": True}}, "invalid_value", None, "'stream': true"),
        ({"messages": []}, "invalid_value", "messages", "at least 1"),
        ({"messages": [{"role": "cook", "content": "x"}]}, "invalid_value", "messages.0.role", "got 'cook'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "invalid_value", "messages.0.content",
         "text only"),
        ({"messages": [{**HELLO[0], "name": "Tom"}]}, "unknown_parameter", "messages.0.name", "not a parameter"),
        ({"messages": [{"role": "user", "content": "cat " * CONTEXT}]}, "context_length_exceeded", "messages",
         "context is 4096 tokens"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_by_name(
    client: TestClient, change: dict[str, Any], code: str, param: str | None, says: str
) -> None:
    """Nothing is silently ignored: 400 in OpenAI's shape, with the field and a sentence."""
    reply = client.post("/v1/chat/completions", json={"model": "tuned", "messages": HELLO, "max_tokens": 1} | change)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert says in error["message"]


def test_what_asks_for_nothing_is_accepted(client: TestClient) -> None:
    """Nulls, neutral values, the caller's own labels, parts of text and the role `developer` change no word."""
    plain = {"model": "tuned", "messages": HELLO, "max_tokens": 5, "temperature": 0}
    rich = plain | {
        "user": "me", "metadata": {"a": "b"}, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": None,
        "response_format": {"type": "text"}, "tools": [], "tool_choice": "none", "seed": None, "logprobs": False,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}],
    }  # fmt: skip
    texts = [client.post("/v1/chat/completions", json=body).json()["choices"] for body in (plain, rich)]
    assert texts[0] == texts[1]
    system, developer = (
        client.post(
            "/v1/chat/completions", json=plain | {"messages": [{"role": role, "content": "cat"}, *HELLO]}
        ).json()
        for role in ("system", "developer")
    )
    assert system["choices"] == developer["choices"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"prompt": []}, "from 1 to 256"),
        ({"prompt": [[]]}, "at least one token"),
        ({"prompt": [[10**6]]}, "ids are from 0 to"),
        ({"prompt": "cat", "echo": True}, "only together"),
        ({"prompt": "cat", "logprobs": 1}, "only together"),
        ({"prompt": "cat", "echo": True, "logprobs": 1, "max_tokens": 5}, "'max_tokens' 0 or 1"),
        ({"prompt": "cat", "max_tokens": 0}, "at least 1"),
    ],
)
def test_a_wrong_completion_is_refused(client: TestClient, body: dict[str, Any], says: str) -> None:
    """The completions route has rules of its own, said as clearly."""
    reply = client.post("/v1/completions", json=body)
    assert reply.status_code == 400
    assert says in reply.json()["error"]["message"]


@pytest.mark.parametrize("more", [0, 1])
def test_a_prompt_is_scored_as_the_model_scores_it(client: TestClient, replier: Replier, more: int) -> None:
    """What lm-eval reads: log-probabilities over the prompt and one more token, equal to the model's own."""
    ids = replier.text_ids("the cat sat")
    body = {"prompt": [ids], "echo": True, "logprobs": 1, "max_tokens": more, "temperature": 0}
    found = client.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
    with torch.inference_mode():
        own = replier.model(torch.tensor([ids]))[0].log_softmax(-1)
    expected = own[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert found["token_logprobs"][0] is None
    assert len(found["token_logprobs"]) == len(found["tokens"]) == len(found["top_logprobs"]) == len(ids) + more
    torch.testing.assert_close(torch.tensor(found["token_logprobs"][1 : len(ids)]), expected)
    best = [max(place.values()) for place in found["top_logprobs"][1:]]
    torch.testing.assert_close(torch.tensor(best), own[: len(best)].max(-1).values)
    if more:  # the likeliest next token: lm-eval compares the two numbers for equality
        assert found["token_logprobs"][-1] == best[-1]


def test_the_model_is_listed_and_another_is_not_found(official: openai.OpenAI) -> None:
    """One model, by its name in the life; a wrong name offers the right one."""
    [listed] = official.models.list().data
    assert (listed.id, official.models.retrieve("tuned").id) == ("tuned", "tuned")
    with pytest.raises(openai.NotFoundError, match="this server has 'tuned'") as caught:
        official.chat.completions.create(model="gpt-4", messages=HELLO)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/v1/nothing", "", 404),
        ("GET", "/v1/chat/completions", "", 405),
        ("POST", "/v1/chat/completions", "{", 400),
        ("POST", "/v1/chat/completions", "[]", 400),
        ("POST", "/v1/chat/completions", "[" * 100_000, 400),
        ("POST", "/api/ratings", '{"kind": "stars"}', 400),
        ("GET", "/api/conversations/7", "", 404),
        ("GET", "/api/conversations/seven", "", 400),
    ],
)
def test_every_error_has_the_one_shape(client: TestClient, method: str, path: str, content: str, status: int) -> None:
    """Also what no route made is said as OpenAI says it, without a traceback."""
    reply = client.request(method, path, content=content, headers={"content-type": "application/json"})
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert "Traceback" not in reply.text


# -- the door ----------------------------------------------------------------------------------------------------------


def test_every_route_but_the_page_files_needs_the_key(replier: Replier, store: Store) -> None:
    """The default is to deny: each path that the application has is tried without and with a wrong key."""
    app = make_app(replier, store, "tuned", key="secret")
    paths = {path.replace("{conversation_id}", "1").replace("{name}", "x") for path in app.openapi()["paths"]}
    assert {"/v1/models", "/api/ratings", "/health"} < paths
    with TestClient(app, base_url="http://example.org") as client:
        for path in paths | PUBLIC | {"/openapi.json", "/nothing"}:
            for key in ({}, {"authorization": "Bearer wrong"}):
                status = client.request("GET", path, headers=key).status_code
                assert (status == 200) if path in PUBLIC else (status == 401), path
        reply = client.get("/v1/models", headers={"authorization": "Bearer secret"})
    assert reply.status_code == 200
    with pytest.raises(openai.AuthenticationError), TestClient(app, base_url=HERE) as client:
        openai.OpenAI(api_key="wrong", base_url=f"{HERE}/v1", http_client=client).models.list()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"origin": "http://127.0.0.1"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content-length": "99999999"}, 413),
        ({"content-length": "many"}, 413),
    ],
)
def test_strangers_stay_outside(client: TestClient, headers: dict[str, str], status: int) -> None:
    """Without a key only this machine's own names are served, and no other site's page; bodies have a limit."""
    assert client.get("/api/conversations", headers=headers).status_code == status


def test_a_body_without_a_length_has_the_limit_too(replier: Replier, store: Store) -> None:
    """A body that comes in pieces is cut off when it gets too large."""
    with TestClient(make_app(replier, store, "tuned", body_limit=1000), base_url=HERE) as client:
        pieces = (b" " * 600 for _ in range(2))
        reply = client.post("/v1/completions", content=pieces, headers={"content-type": "application/json"})
    assert reply.status_code == 413
    assert "1000 bytes" in reply.json()["error"]["message"]


def test_the_page_runs_no_script_but_its_own(client: TestClient) -> None:
    """The policy forbids everything that is not this server's; the page names no other place."""
    for path in ("/", "/page.css", "/page.js"):
        reply = client.get(path)
        assert "default-src 'none'; script-src 'self'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        addresses = reply.text.replace("http://www.w3.org/2000/svg", "")
        assert "http" not in addresses.replace("http-equiv", "")
        assert " style=" not in reply.text
        assert " onclick" not in reply.text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
        ("![you](https://evil.example/who)", None),
        ("[click](javascript:alert(1))", "<p>[click](javascript:alert(1))</p>"),
        ("**two** fish\nand `one`", "<p><strong>two</strong> fish<br>\nand <code>one</code></p>"),
        ("", ""),
    ],
)
def test_a_reply_cannot_bring_a_script_or_an_image(said: str, shown: str | None) -> None:
    """Markdown is rendered; HTML stays text; nothing is fetched from elsewhere."""
    html = to_html(said)
    assert "<img" not in html
    assert "<script" not in html
    assert shown is None or html.strip() == shown


def test_links_of_a_reply_tell_nobody_where_they_are_from() -> None:
    """A link opens apart and without a referrer."""
    html = to_html("[sea](https://example.org)")
    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'href="https://example.org"' in html


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_jobs_run_one_at_a_time_first_come_first_served() -> None:
    """Three jobs at once: each has all its items before the next begins."""
    order: list[str] = []

    def job(name: str) -> Generator[str]:
        for place in range(3):
            order.append(f"{name}{place}")
            yield name

    async def ask() -> list[list[str]]:
        worker = Worker(limit=5)
        jobs = [worker.submit(lambda name=name: job(name)) for name in "abc"]
        items = [[item async for item in job] for job in jobs]
        await asyncio.to_thread(worker.close)
        return items

    assert asyncio.run(ask()) == [["a"] * 3, ["b"] * 3, ["c"] * 3]
    assert order == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]


def test_a_stopped_job_ends_and_cleans_up() -> None:
    """A running job is closed at its next item; a waiting one never begins and its asker is told at once."""
    closed = threading.Event()

    def endless() -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    async def ask() -> None:
        worker = Worker(limit=1)
        running, waiting = worker.submit(endless), None
        async for _ in running:
            waiting = waiting or worker.submit(endless)
            worker.stop(waiting)
            worker.stop(running)
        assert waiting is not None
        assert [item async for item in waiting] == []
        await asyncio.to_thread(worker.close)

    asyncio.run(ask())
    assert closed.is_set()


def test_a_full_queue_and_a_broken_job_are_told() -> None:
    """One job more than may wait is refused; an error goes to its asker, and the next job runs."""
    begin = threading.Event()

    def broken() -> Generator[int]:
        begin.wait()
        yield 1 // 0

    async def ask() -> None:
        worker = Worker(limit=1)
        first = worker.submit(broken)
        while worker.is_waiting(first):
            await asyncio.sleep(0)
        second = worker.submit(lambda: (number for number in (1, 2)))
        with pytest.raises(QueueFullError):
            worker.submit(broken)
        begin.set()
        with pytest.raises(ZeroDivisionError):
            _ = [item async for item in first]
        assert [item async for item in second] == [1, 2]
        await asyncio.to_thread(worker.close)

    asyncio.run(ask())


def test_a_reader_who_leaves_stops_the_reply_and_what_was_said_is_kept(address: str, store: Store) -> None:
    """The connection is closed after the first piece; the next request is served, and the part is in the store."""
    said = store.say(store.new_conversation().id, "hello")
    body = {"message_id": said.id, "temperature": 0, "max_tokens": CONTEXT}
    with httpx2.Client(base_url=address, timeout=60) as client:
        with client.stream("POST", "/api/replies", json=body) as stream:
            for line in stream.iter_lines():
                if line == "event: piece":
                    break
        done = client.post("/v1/completions", json={"prompt": "cat", "max_tokens": 1})  # comes after, so all has ended
    assert done.status_code == 200
    reply = store.branch(said.conversation_id)[-1]
    assert reply.generation is not None
    assert (reply.role, reply.generation.finish) == ("assistant", "stopped")
    assert 0 < reply.generation.completion_tokens < CONTEXT - 100


@pytest.mark.parametrize("stream", [True, False])
def test_while_the_model_speaks_the_server_answers_and_its_queue_has_an_end(
    address: str, replier: Replier, stream: bool
) -> None:
    """One speaks, one waits, the third is told 429; /health answers at once; leaving frees the model."""
    body = {"messages": HELLO, "temperature": 0, "stream": True}
    free = threading.Event()
    spoken = count()

    def hold(_module: object, _inputs: object, logits: torch.Tensor) -> torch.Tensor:
        """Let two tokens through and the others wait, so that the first reply cannot end before the third is asked."""
        if next(spoken) >= 2:
            free.wait(30)
        return logits

    held = replier.model.unembed.register_forward_hook(hold)
    with httpx2.Client(base_url=address, timeout=60) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as running:
            said = running.iter_lines()  # kept: a generator that goes away closes its response
            next(said)
            with client.stream("POST", "/v1/chat/completions", json=body):
                assert client.get("/health").json() == {"status": "ok"}
                full = client.post("/v1/chat/completions", json=body | {"stream": stream})
                free.set()
        after = client.post("/v1/completions", json={"prompt": "cat", "max_tokens": 1})
    held.remove()
    assert (full.status_code, full.json()["error"]["code"]) == (429, "queue_full")
    assert int(full.headers["retry-after"]) > 0
    assert after.status_code == 200


def test_an_asker_of_a_whole_answer_who_leaves_frees_the_model(address: str, replier: Replier) -> None:
    """A request that is not streamed is given up too when its connection closes: five cost less than five answers."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    asked = {"messages": HELLO, "temperature": 0}
    body = json.dumps(asked).encode()
    host, port = address.removeprefix("http://").split(":")
    spoken: list[int] = []
    counting = replier.model.unembed.register_forward_hook(lambda *_: spoken.append(1))
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
    counting.remove()
    assert answer.status_code == 200
    assert len(spoken) - whole < 5 * whole


# -- the page's routes ---------------------------------------------------------------------------------------------


def talk(
    client: TestClient, content: str, conversation: int | None = None, **wanted: Any
) -> tuple[int, dict[str, Any]]:
    """Say something and get the reply's turn; return the message's id and the turn."""
    if conversation is None:
        conversation = client.post("/api/conversations").json()["id"]
    said = client.post("/api/messages", json={"conversation_id": conversation, "content": content}).json()
    body = {"message_id": said["id"], "max_tokens": 8, **wanted}
    events = lines(client.post("/api/replies", json=body).text)
    assert [name for name, _ in events] == ["start", *["piece"] * (len(events) - 2), "done"]
    turn = events[-1][1]["turn"]
    said_so = "".join(data["text"] for name, data in events if name == "piece")
    assert said_so.replace("\0", "\ufffd") == turn["content"]
    return said["id"], turn


def test_a_talk_is_streamed_kept_and_shown_again(client: TestClient, store: Store) -> None:
    """The pieces are the reply; it is in the store with what made it, and in the conversation opened again."""
    message, turn = talk(client, "hello *you*", temperature=0.5)
    kept = store.message(turn["id"])
    assert kept.generation is not None
    assert (kept.parent_id, kept.content, kept.generation.model) == (message, turn["content"], "tuned")
    assert kept.generation.fingerprint == "0123456789ab"
    assert kept.generation.sampling["temperature"] == 0.5
    assert kept.generation.sampling["seed"] is not None
    assert kept.prompt == [{"role": "user", "content": "hello *you*"}]
    shown = client.get(f"/api/conversations/{kept.conversation_id}").json()
    assert [(one["role"], one["content"]) for one in shown["turns"]] == [
        ("user", "hello *you*"), ("assistant", turn["content"]),
    ]  # fmt: skip
    assert shown["turns"][1] == turn
    assert [one["title"] for one in client.get("/api/conversations").json()] == ["hello *you*"]


def test_a_kept_reply_can_be_said_again_from_its_seed(client: TestClient, store: Store, replier: Replier) -> None:
    """What the store knows of a reply is enough to make it again."""
    _, turn = talk(client, "hello")
    kept = store.message(turn["id"])
    assert kept.generation is not None
    sampling = Sampling(**kept.generation.sampling | {"stop": ()})
    assert replier.replies([kept.prompt or []], sampling)[0].text.replace("\0", "\ufffd") == kept.content


def test_each_kind_of_rating_reaches_the_store(client: TestClient, store: Store) -> None:
    """A thumb, a correction and a choice come back with the turn as it now stands."""
    message, first = talk(client, "hello")
    body = {"message_id": message, "max_tokens": 8}
    second = lines(client.post("/api/replies", json=body).text)[-1][1]["turn"]
    chosen = client.post(
        "/api/ratings",
        json={"kind": "choice", "chosen_id": first["id"], "rejected_id": second["id"], "position": "left"},
    ).json()
    liked = client.post("/api/ratings", json={"kind": "thumb", "message_id": first["id"], "value": 1}).json()
    text = {"kind": "edit", "message_id": first["id"], "text": "Good **day**."}
    edited = client.post("/api/ratings", json=text).json()
    assert [rated["ratings"] for rated in (chosen, liked, edited)] == [1, 2, 3]
    assert (edited["turn"]["thumb"], edited["turn"]["edit"]) == (1, "Good **day**.")
    assert edited["turn"]["edit_html"].strip() == "<p>Good <strong>day</strong>.</p>"
    assert [(rating.kind, rating.value) for rating in store.ratings()] == [("choice", 1), ("thumb", 1), ("edit", 1)]
    view = client.get(f"/api/conversations/{first['conversation_id']}").json()["turns"]
    assert [turn["id"] for turn in view] == [message, first["id"]]


def test_a_conversation_that_outgrows_the_context_goes_on_without_its_oldest_turns(
    client: TestClient, store: Store
) -> None:
    """The reader is told how many messages were left out, and the store keeps the prompt that was really given."""
    _, turn = talk(client, "cat " * 3000)
    said = store.say(turn["conversation_id"], "cat " * 1500)
    events = lines(client.post("/api/replies", json={"message_id": said.id, "max_tokens": 5}).text)
    assert events[0][1]["left_out"] == 2
    kept = store.message(events[-1][1]["turn"]["id"])
    assert [turn["content"] for turn in kept.prompt or []] == [said.content]


def test_a_reply_can_be_stopped_by_name(address: str, store: Store) -> None:
    """Stopped after its first piece, the stream still ends with the turn, which says that it was stopped."""
    said = store.say(store.new_conversation().id, "hello")
    body = {"message_id": said.id, "temperature": 0, "max_tokens": CONTEXT}
    told: list[tuple[str, Any]] = []
    with (
        httpx2.Client(base_url=address, timeout=60) as client,
        client.stream("POST", "/api/replies", json=body) as stream,
    ):
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                told.append((name, json.loads(line.removeprefix("data: "))))
            if line == "" and name == "piece":
                client.post("/api/stop", json={"generation": told[0][1]["generation"]})
    assert told[-1][0] == "done"
    assert told[-1][1]["turn"]["finish"] == "stopped"
    assert store.branch(said.conversation_id)[-1].content == told[-1][1]["turn"]["content"]


def test_a_conversation_can_be_deleted(client: TestClient, store: Store) -> None:
    """It is gone with its ratings; a second time it is not found."""
    _, turn = talk(client, "hello")
    store.thumb(turn["id"], 1)
    path = f"/api/conversations/{turn['conversation_id']}"
    assert [client.delete(path).status_code for _ in range(2)] == [204, 404]
    assert client.get("/api/model").json()["ratings"] == 0


# -- the act -------------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_named_with_its_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 2 and one sentence that names the port and another one."""
    folder = Life(tmp_path).model("tuned")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        assert run(["serve", "--life", str(tmp_path), "--port", str(port)]) == 2
    told = capsys.readouterr().err
    assert f"Port {port} on 127.0.0.1 is in use" in told
    assert f"--port {port + 1}" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"host": "0.0.0.0"}, "needs an API key"),
        ({}, "has none yet"),
        ({"model": "tunde"}, "There is no model 'tunde'"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    """An open door without a key, a life without a model, a model that is not there."""
    with pytest.raises(UserError, match=says):
        serve(Serve(life=tmp_path, **options))


def test_an_address_that_is_not_ours_is_said() -> None:
    """Listening on a name that does not exist is a person's mistake, not a traceback."""
    with pytest.raises(UserError, match="no address"):
        listen("no.such.host.invalid", 8000)
    with pytest.raises(UserError, match="Cannot listen on"):
        listen("192.0.2.1", 8000)
