"""Anthropic's messages, driven by its own client: whole, streamed, tools, counts and errors."""

import json
from typing import Any

import anthropic
import pytest
from fastapi.testclient import TestClient

from sayso.reply import Replier
from sayso.sample.sampling import Sampling

HERE = "http://127.0.0.1"
GREEDY = {"temperature": 0}  # newer versions of the client have no parameter for it
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture
def claude(client: TestClient) -> anthropic.Anthropic:
    """Anthropic's own client, talking to the application without a network."""
    return anthropic.Anthropic(api_key="none", base_url=HERE, http_client=client, max_retries=0)


def test_a_message_is_the_reply_of_the_model(claude: anthropic.Anthropic, replier: Replier) -> None:
    """The system prompt, the text, the reason and the counts are those of the same chat."""
    system = [
        {"type": "text", "text": "be "},
        {"type": "text", "text": "brief", "cache_control": {"type": "ephemeral"}},
    ]
    turns = [{"role": "system", "content": "be brief"}, *HELLO]
    [own] = replier.replies([turns], Sampling(temperature=0, max_tokens=8))
    made = claude.messages.create(model="tuned", max_tokens=8, extra_body=GREEDY, system=system, messages=HELLO)  # type: ignore[arg-type]
    assert (made.type, made.role, made.model) == ("message", "assistant", "tuned")
    assert [block.text for block in made.content if block.type == "text"] == [own.text]
    assert (made.stop_reason, made.stop_sequence) == ("max_tokens", None)
    usage = made.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == own.prompt_tokens
    assert usage.output_tokens == own.completion_tokens == 8


def test_a_prefix_in_the_cache_is_counted_apart(claude: anthropic.Anthropic) -> None:
    """The tokens of a repeated prompt that were read from the cache are not input tokens."""
    ask: dict[str, Any] = {"model": "tuned", "max_tokens": 1, "messages": [{"role": "user", "content": "cat " * 200}]}
    first, second = (claude.messages.create(**ask).usage for _ in range(2))
    assert not first.cache_read_input_tokens
    assert second.cache_read_input_tokens
    assert second.input_tokens + second.cache_read_input_tokens == first.input_tokens


def test_a_stream_has_the_same_message_in_events(claude: anthropic.Anthropic) -> None:
    """The client's own accumulation of the events is the message as a whole; each block is opened and closed."""
    ask: dict[str, Any] = {"model": "tuned", "max_tokens": 12, "messages": HELLO, "extra_body": GREEDY}
    complete = claude.messages.create(**ask)
    with claude.messages.stream(**ask) as stream:
        names = [event.type for event in stream if event.type != "text"]
        final = stream.get_final_message()
    assert [block.text for block in final.content] == [block.text for block in complete.content]  # type: ignore[union-attr]
    assert (final.stop_reason, final.usage.output_tokens) == (complete.stop_reason, complete.usage.output_tokens)
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[2:-3]) == {"content_block_delta"}


def test_a_stop_sequence_is_named(claude: anthropic.Anthropic) -> None:
    """The text ends before it, and the message says which one it was."""
    ask: dict[str, Any] = {"model": "tuned", "max_tokens": 30, "messages": HELLO, "extra_body": GREEDY}
    [block] = claude.messages.create(**ask).content
    assert block.type == "text"
    stop = block.text[3:6]
    made = claude.messages.create(**ask, stop_sequences=["never", stop])
    assert (made.stop_reason, made.stop_sequence) == ("stop_sequence", stop)
    assert [one.text for one in made.content if one.type == "text"] == [block.text[: block.text.index(stop)]]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_tool_is_called(claude: anthropic.Anthropic, choice: Any) -> None:
    """A call is a block with parsed input, whole and streamed, and its result goes back as a block."""
    ask: dict[str, Any] = {"model": "tuned", "max_tokens": 300, "tools": [WEATHER], "extra_body": GREEDY}
    choice = {**choice, "disable_parallel_tool_use": True}
    made = claude.messages.create(**ask, messages=HELLO, tool_choice=choice)
    [call] = made.content
    assert call.type == "tool_use"
    assert (call.name, made.stop_reason) == ("weather", "tool_use")
    assert call.input in ({"city": "Oslo"}, {"city": "Rome"})
    with claude.messages.stream(**ask, messages=HELLO, tool_choice=choice) as stream:
        [streamed] = stream.get_final_message().content
    assert streamed.type == "tool_use"
    assert streamed.input == call.input
    assert streamed.id.startswith("toolu_")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sun"}]}
    turns = [*HELLO, {"role": "assistant", "content": made.content}, {"role": "user", "content": [result]}]
    assert claude.messages.create(**ask, messages=turns, tool_choice={"type": "none"}).content


def test_a_call_that_is_cut_is_a_call_without_input(claude: anthropic.Anthropic) -> None:
    """Incomplete arguments never reach the client as input."""
    made = claude.messages.create(
        model="tuned", max_tokens=24, extra_body=GREEDY, tools=[WEATHER], tool_choice={"type": "any"}, messages=HELLO
    )
    assert made.stop_reason == "max_tokens"
    assert all(block.type == "text" or block.input == {} for block in made.content)  # type: ignore[union-attr]


def test_the_last_message_may_begin_the_reply(claude: anthropic.Anthropic, client: TestClient) -> None:
    """A final message of the assistant is continued, as in a chat with `continue_final_message`."""
    turns: list[Any] = [*HELLO, {"role": "assistant", "content": "the cat"}]
    body = {"messages": turns, "continue_final_message": True, "max_tokens": 6, "temperature": 0}
    same = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    made = claude.messages.create(model="tuned", max_tokens=6, extra_body=GREEDY, messages=turns)
    assert [block.text for block in made.content if block.type == "text"] == [same]


def test_tokens_are_counted_as_they_are_read(claude: anthropic.Anthropic) -> None:
    """With system prompt and tools, the count is that of the message's own usage."""
    ask: dict[str, Any] = {"model": "tuned", "system": "be brief", "tools": [WEATHER], "messages": HELLO}
    usage = claude.messages.create(**ask, max_tokens=1).usage
    counted = claude.messages.count_tokens(**ask).input_tokens
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert counted > claude.messages.count_tokens(model="tuned", messages=HELLO).input_tokens


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        "'messages[0].content[0].type' must be",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "size": 1}]}]},
        "content[0].size' is not supported",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
        "content[0].text' must be a string; got 1",
    ),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "'tools[0].type' must be"),
    ({"tools": [{"name": "x"}]}, "'tools[0].input_schema' must be an object"),
    ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "time"}}, "'tool_choice' must name one of"),
    ({"tool_choice": {"type": "some"}}, '"auto", "any", "tool" or "none"; got "some"'),
    ({"thinking": {"type": "between_tools"}}, "thinking.type"),
    ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "thinking.budget_tokens"),
    ({"thinking": {"type": "enabled", "display": "omitted"}}, "'thinking.display' is not supported"),
    ({"metadata": {"user_id": 5}}, "'metadata' must be an object whose values are strings"),
    ({"tools": [{**WEATHER, "input_examples": [{}]}]}, "'tools[0].input_examples' is not supported"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"temperature": 1.5}, "temperature"),
    ({"colour": 1}, "'colour' is not a parameter"),
]


@pytest.mark.parametrize(("change", "text"), BAD)
def test_what_is_not_honored_is_an_error_in_anthropics_format(client: TestClient, change: Any, text: str) -> None:
    """One sentence that names the field, of the type that the client turns into its own exception."""
    body = {"model": "tuned", "max_tokens": 1, "messages": HELLO, **change}
    answer = client.post("/v1/messages", json=body)
    assert answer.status_code == 400
    error = answer.json()
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert text in error["error"]["message"]


def test_a_text_may_have_a_schema(claude: anthropic.Anthropic) -> None:
    """`output_config.format` constrains the text."""
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    config: Any = {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    made = claude.messages.create(
        model="tuned", max_tokens=60, messages=HELLO, output_config=config, thinking={"type": "adaptive"},
        extra_body=GREEDY,
    )  # fmt: skip
    [block] = made.content
    assert block.type == "text"
    assert json.loads(block.text)["n"] in (1, 2)


def test_the_client_raises_its_own_exceptions(claude: anthropic.Anthropic) -> None:
    """An unknown model is not found; a prompt that is too long is a bad request."""
    with pytest.raises(anthropic.NotFoundError, match="There is no model 'opus'"):
        claude.messages.create(model="opus", max_tokens=1, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="context is 4096 tokens"):
        claude.messages.create(model="tuned", max_tokens=1, messages=[{"role": "user", "content": "cat " * 9000}])


def test_the_events_are_named(client: TestClient) -> None:
    """Each event has the name of its type, which clients of other languages dispatch on."""
    body = {"model": "tuned", "max_tokens": 2, "messages": HELLO, "stream": True}
    text = client.post("/v1/messages", json=body).text
    blocks = [block for block in text.strip().split("\n\n") if not block.startswith(":")]
    for block in blocks:
        name, data = block.split("\n")
        assert name.removeprefix("event: ") == json.loads(data.removeprefix("data: "))["type"]


def test_every_error_of_these_routes_has_anthropics_format(client: TestClient) -> None:
    """Refused before the body is read, or by the framework: the method, the bytes, the size and the path too."""
    answers = [
        client.get("/v1/messages"),
        client.post("/v1/messages", content=b'{"max_tokens":', headers={"content-type": "application/json"}),
        client.post("/messages", content=b'"\xff"', headers={"content-type": "application/json"}),
        client.post("/v1/messages", content=b" " * (2**20 + 1), headers={"content-type": "application/json"}),
        client.post("/v1/messages", json={}, headers={"origin": "https://elsewhere.example"}),
        client.post("/v1/messages/batches", json={}),
    ]
    assert [one.status_code for one in answers] == [405, 400, 400, 413, 403, 404]
    assert all(one.json()["type"] == "error" and one.json()["error"]["message"] for one in answers)


def test_bytes_that_are_not_json_are_named_as_such(client: TestClient) -> None:
    """Not UTF-8, or nested too deeply to be read."""
    for content in (b'{"messages": "\xff"}', b"[" * 5000):
        error = client.post(
            "/v1/chat/completions", content=content, headers={"content-type": "application/json"}
        ).json()["error"]
        assert (error["code"], "must be JSON" in error["message"]) == ("invalid_json", True)
