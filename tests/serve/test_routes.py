"""The routes beside chats and completions: responses, embeddings, tokens, metrics."""

import base64
import json
import struct
from dataclasses import replace
from typing import Any

import openai
import pytest
import torch
from fastapi.testclient import TestClient

from sayso.feedback.store import Store
from sayso.model import Transformer
from sayso.reply import Replier
from sayso.serve.app import make_app

HELLO = [{"role": "user", "content": "hello"}]
PARAMETERS = {
    "type": "object",
    "properties": {"pet": {"enum": ["cat", "dog"]}},
    "required": ["pet"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "name": "feed", "parameters": PARAMETERS}


# -- /v1/responses -----------------------------------------------------------------------------------------------------


def test_a_response_says_what_the_chat_says(official: openai.OpenAI) -> None:
    """The same words, counts and reason; a text, messages and instructions are one way and the other."""
    chat = official.chat.completions.create(
        model="tuned", messages=[{"role": "system", "content": "be kind"}, *HELLO], temperature=0, max_tokens=9
    )
    for given in ("hello", HELLO, [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]):
        made = official.responses.create(
            model="tuned", instructions="be kind", input=given, temperature=0, max_output_tokens=9
        )  # type: ignore[call-overload]
        assert made.output_text == chat.choices[0].message.content
        assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert chat.usage is not None
        assert (made.usage.input_tokens, made.usage.output_tokens) == (chat.usage.prompt_tokens, 9)
        assert made.store is False


def test_a_streamed_response_is_the_same_event_by_event(official: openai.OpenAI) -> None:
    """OpenAI's names in OpenAI's order, numbered; the deltas are the text, and the last event has the whole."""
    asked: dict[str, Any] = {"model": "tuned", "input": "hello", "temperature": 0, "max_output_tokens": 9}
    whole = official.responses.create(**asked)
    events = list(official.responses.create(**asked, stream=True))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds == [
        "created", "in_progress", "output_item.added", "content_part.added",
        *["output_text.delta"] * kinds.count("output_text.delta"),
        "output_text.done", "content_part.done", "output_item.done", "incomplete",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == whole.output_text


def test_a_response_calls_tools_and_takes_what_they_gave(official: openai.OpenAI) -> None:
    """A call is an output item, whole and streamed; given back with its output the conversation goes on."""
    asked: dict[str, Any] = {"model": "tuned", "input": HELLO, "tools": [TOOL], "max_output_tokens": 200}
    asked |= {"tool_choice": {"type": "function", "name": "feed"}, "parallel_tool_calls": False}
    asked["extra_body"] = {"seed": 2}
    made = official.responses.create(**asked)
    [call] = made.output
    assert call.type == "function_call"
    assert (made.status, call.name, call.status) == ("completed", "feed", "completed")
    assert json.loads(call.arguments)["pet"] in ("cat", "dog")
    events = list(official.responses.create(**asked, stream=True))
    said = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    assert said == call.arguments
    given = [*HELLO, call.model_dump(exclude_none=True)]
    given.append({"type": "function_call_output", "call_id": call.call_id, "output": "done"})
    after = official.responses.create(model="tuned", input=given, tools=[TOOL], tool_choice="none", max_output_tokens=2)
    assert after.usage is not None
    assert after.usage.output_tokens == 2


def test_a_response_has_a_form_and_log_probabilities(official: openai.OpenAI) -> None:
    """`text.format` holds it to a schema; `include` asks for the numbers of its tokens."""
    form: Any = {"format": {"type": "json_schema", "name": "pet", "schema": PARAMETERS, "strict": True}}
    made = official.responses.create(
        model="tuned", input="hello", text=form, include=["message.output_text.logprobs"], top_logprobs=2
    )
    assert json.loads(made.output_text)["pet"] in ("cat", "dog")
    told = made.output[0].content[0].logprobs  # type: ignore[union-attr]
    assert "".join(one.token for one in told) == made.output_text
    assert all(len(one.top_logprobs) == 2 for one in told)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"truncation": "some"}, "truncation"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"text": {"format": {"type": "text", "schema": {}}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
    ],
)
def test_a_response_that_cannot_be_is_refused_by_name(client: TestClient, change: dict[str, Any], param: str) -> None:
    """There is no memory here, and nothing but text."""
    reply = client.post("/v1/responses", json={"input": "hello", "max_output_tokens": 1} | change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


# -- /v1/embeddings ----------------------------------------------------------------------------------------------------


def test_likeliest_tokens_of_a_response_need_no_include(official: openai.OpenAI) -> None:
    """`top_logprobs` alone gives the log-probabilities."""
    asked: dict[str, Any] = {"model": "tuned", "input": "hello", "temperature": 0, "max_output_tokens": 3}
    replies = [
        official.responses.create(**asked, **more)
        for more in ({"top_logprobs": 2, "include": ["message.output_text.logprobs"]}, {"top_logprobs": 2}, {})
    ]
    included, bare, plain = (reply.output[0].content[0].logprobs for reply in replies)  # type: ignore[union-attr]
    assert bare == included
    assert [len(token.top_logprobs) for token in bare] == [2, 2, 2]  # type: ignore[union-attr]
    assert plain == []


def test_an_embedding_is_the_mean_of_the_last_hidden_states(official: openai.OpenAI, replier: Replier) -> None:
    """As floats and as base64 (which the client asks for by itself), of length 1, cut to fewer dimensions."""
    texts = ["the cat", "the dog said hello", *("the mat " * count for count in (70, 90, 1, 150))]
    made = official.embeddings.create(model="tuned", input=texts)
    ids = [replier.text_ids(text) for text in texts]
    assert made.usage.prompt_tokens == sum(map(len, ids))
    for one, own in zip(made.data, ids, strict=True):
        with torch.inference_mode():
            mean = replier.model.hidden(torch.tensor([own]))[0].mean(0)
        torch.testing.assert_close(torch.tensor(one.embedding), mean / mean.norm())
    plain = official.embeddings.create(model="tuned", input=ids[0], encoding_format="float", dimensions=8)
    short = torch.tensor(plain.data[0].embedding)
    assert (len(short), float(short.norm())) == (8, pytest.approx(1))
    torch.testing.assert_close(short, torch.nn.functional.normalize(torch.tensor(made.data[0].embedding[:8]), dim=0))


def test_base64_is_float32(client: TestClient) -> None:
    """Little-endian, four bytes a number."""
    body = {"input": "cat"}
    plain = client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    coded = client.post("/v1/embeddings", json=body | {"encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert struct.unpack(f"<{len(plain)}f", base64.b64decode(coded)) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "cat", "dimensions": 33}, "dimensions"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [["cat"]]}, "input"),
        ({"input": "cat", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "cat " * 5000}, "input"),
    ],
)
def test_an_embedding_that_cannot_be_is_refused(client: TestClient, body: dict[str, Any], param: str) -> None:
    """By the name of the field."""
    reply = client.post("/v1/embeddings", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"].startswith(param)


# -- tokens and numbers ------------------------------------------------------------------------------------------------


def test_texts_become_tokens_and_back(client: TestClient, replier: Replier) -> None:
    """A text with and without its beginning, a conversation, the spelling of each; a typed control token is text."""
    said = "the <|end|> cat"
    found = client.post("/tokenize", json={"prompt": said, "return_token_strs": True}).json()
    assert found["tokens"] == replier.text_ids(said)
    assert replier.tokenizer.specials["<|end|>"] not in found["tokens"]
    assert "".join(found["token_strs"]) == "<|bos|>" + said
    assert (found["count"], found["max_model_len"]) == (len(found["tokens"]), 4096)
    bare = client.post("/tokenize", json={"prompt": said, "add_special_tokens": False}).json()["tokens"]
    size = replier.tokenizer.vocab_size
    assert client.post("/detokenize", json={"tokens": bare}).json() == {"prompt": said}
    assert client.post("/detokenize", json={"tokens": [size - 1]}).json()["prompt"]
    talk = client.post("/tokenize", json={"messages": HELLO}).json()["tokens"]
    assert talk == replier.prompt_ids(HELLO)
    assert client.post("/tokenize", json={}).status_code == 400
    known = client.get("/tokenizer_info").json()
    assert known["vocab_size"] == replier.tokenizer.vocab_size
    assert known["control_tokens"] == replier.tokenizer.specials


def test_an_id_that_the_model_does_not_have_is_named(replier: Replier, store: Store) -> None:
    """By every route that takes ids; one that only the tokenizer lacks has no text."""
    size = replier.tokenizer.vocab_size
    wider = Transformer(replace(replier.model.config, vocab_size=size + 8)).eval()
    with TestClient(make_app(Replier(wider, replier.tokenizer), store, "tuned"), base_url="http://127.0.0.1") as client:
        ids = replier.tokenizer.encode("the cat")
        told = client.post("/detokenize", json={"tokens": [*ids, size, size + 7]}).json()
        assert told == {"prompt": "the cat"}
        for path, field in (("/detokenize", "tokens"), ("/v1/completions", "prompt"), ("/v1/embeddings", "input")):
            answer = client.post(path, json={field: [*ids, size + 8]})
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (400, field)
            assert f"must have token ids from 0 to {size + 7}; got {size + 8}." in error["message"]


def test_the_metrics_count_what_was_served(client: TestClient) -> None:
    """Under vLLM's names: tokens, times, reasons, reuse."""

    def read() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    long = "the cat sat on the mat " * 10
    used = [client.post("/v1/completions", json={"prompt": long, "max_tokens": 4}).json()["usage"] for _ in range(2)]
    found, label = read(), '{model_name="tuned"}'
    assert found[f"vllm:prompt_tokens_total{label}"] == sum(one["prompt_tokens"] for one in used)
    assert found[f"vllm:generation_tokens_total{label}"] == sum(one["completion_tokens"] for one in used)
    assert used[1]["prompt_tokens_details"]["cached_tokens"] == found[f"vllm:prefix_cache_hits_total{label}"] > 0
    assert sum(value for name, value in found.items() if name.startswith("vllm:request_success_total")) == 2
    for kind in ("time_to_first_token", "e2e_request_latency", "request_queue_time"):
        assert found[f"vllm:{kind}_seconds_count{label}"] == 2
    assert found[f"vllm:num_requests_running{label}"] == found[f"vllm:num_requests_waiting{label}"] == 0
    assert found[f"vllm:kv_cache_usage_perc{label}"] == 0
    assert found[f"vllm:inter_token_latency_seconds_count{label}"] == sum(one["completion_tokens"] - 1 for one in used)
