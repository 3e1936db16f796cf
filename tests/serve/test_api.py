"""OpenAI's API, driven by its own client."""

import json
from typing import Any

import openai
import pytest
import torch
from fastapi.testclient import TestClient

from sayso.reply import Replier
from sayso.sample.sampling import Sampling

CONTEXT = 4096
HERE = "http://127.0.0.1"
HELLO = [{"role": "user", "content": "hello"}]


def lines(text: str) -> list[tuple[str, Any]]:
    """The server-sent events of a body as (name, data)."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if not fields:
            continue
        found.append((fields.get("event", ""), json.loads(fields["data"]) if fields["data"] != "[DONE]" else None))
    return found


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
        ({"use_beam_search": True}, "unsupported_parameter", "use_beam_search", "block all other replies"),
        ({"store": True}, "unsupported_parameter", "store", "by its option --record"),
        ({"reasoning_effort": "utmost"}, "invalid_value", "reasoning_effort", 'got "utmost"'),
        ({"audio": {"voice": "x"}}, "unsupported_parameter", "audio", "only text"),
        ({"logit_bias": {"five": -100}}, "invalid_value", "logit_bias", 'token ids as keys; got "five"'),
        ({"logit_bias": {"99999": -100}}, "invalid_value", "logit_bias", "token ids from 0 to"),
        ({"allowed_token_ids": [99999]}, "invalid_value", "allowed_token_ids", "got 99999"),
        ({"stop_token_ids": [-1]}, "invalid_value", "stop_token_ids[0]", "must be at least 0; got -1"),
        ({"tools": [{"type": "function"}]}, "invalid_value", "tools[0].function", "must be an object; got null"),
        ({"response_format": {"type": "json_schema"}}, "invalid_value", "response_format.json_schema",
         "is required with"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "cat"}}}},
         "invalid_value", "response_format", "cannot be followed"),
        ({"structured_outputs": {"regex": "("}}, "invalid_value", "structured_outputs", "cannot be followed"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "invalid_value", "structured_outputs",
         "exactly one of 'json'"),
        ({"structured_outputs": {"choice": ["a"]}, "ignore_eos": True}, "invalid_value", "structured_outputs",
         "ends with a stop id"),
        ({"structured_outputs": {"json": {"a": "b" * 70_000}}}, "invalid_value", "structured_outputs", "65536 bytes"),
        ({"top_logprobs": 3}, "invalid_value", "top_logprobs", "requires 'logprobs': true"),
        ({"logprobs": True, "top_logprobs": 21}, "invalid_value", "top_logprobs", "at most 20; got 21"),
        ({"prompt_logprobs": 1, "stream": True}, "invalid_value", "prompt_logprobs", "not supported in a stream"),
        ({"continue_final_message": True}, "invalid_value", "continue_final_message", "the last message to be"),
        ({"min_tokens": 9, "max_tokens": 2}, "invalid_value", "min_tokens", "of this reply, 2 tokens; got 9"),
        ({"min_tokens": CONTEXT, "max_tokens": CONTEXT}, "invalid_value", "min_tokens", "maximum length of this reply"),
        ({"truncate_prompt_tokens": 0}, "invalid_value", "truncate_prompt_tokens", "at least 1, or -1"),
        ({"messages": [{"role": "user"}]}, "invalid_value", "messages[0].content", "requires 'content'"),
        ({"temperature": -1}, "invalid_value", "temperature", "got -1"),
        ({"temperature": "NaN"}, "invalid_value", "temperature", 'must be a number; got "NaN"'),
        ({"top_p": -0.1}, "invalid_value", "top_p", "must be at least 0"),
        ({"n": 129}, "invalid_value", "n", "must be at most 128"),
        ({"max_tokens": -1}, "invalid_value", "max_tokens", "must be at least 0"),
        ({"stop": ["a"] * 129}, "invalid_value", "stop", "at most 128"),
        ({"stop": ""}, "invalid_value", "stop", "must not be empty"),
        ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options", "'stream': true"),
        ({"messages": []}, "invalid_value", "messages", "must not be empty"),
        ({"messages": [{"role": "cook", "content": "x"}]}, "invalid_value", "messages[0].role", 'got "cook"'),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "invalid_value",
         "messages[0].content[0].type", "only text"),
        ({"messages": [{**HELLO[0], "refusal": "No."}]}, "unknown_parameter", "messages[0].refusal", "not allowed"),
        ({"messages": [{"role": "user", "content": "cat " * CONTEXT}]}, "context_length_exceeded", "messages",
         "context is 4096 tokens"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_by_name(
    client: TestClient, change: dict[str, Any], code: str | None, param: str | None, says: str
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
        ({"prompt": [[10**6]]}, "token ids from 0 to"),
        ({"prompt": "cat", "suffix": "dog"}, "cannot fill in the middle"),
        ({"prompt": ["cat"] * 256, "n": 20}, "at most 4096 replies"),
        ({"prompt": "cat", "n": 3, "best_of": 2}, "'best_of' must be at least 'n'"),
        ({"prompt": "cat", "best_of": 2, "stream": True}, "cannot be streamed"),
        ({"prompt": "cat", "suffix": "dog", "echo": True}, "'suffix' cannot be combined"),
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
