"""The fields of OpenAI's and Anthropic's requests: the official clients' types, docs/serve.md and the server agree."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import openai
import pytest
import tokenizers
from fastapi.testclient import TestClient
from openai.types import completion_create_params, embedding_create_params, shared_params
from openai.types.chat import (
    ChatCompletionAllowedToolChoiceParam,
    ChatCompletionAssistantMessageParam,
    ChatCompletionContentPartRefusalParam,
    ChatCompletionContentPartTextParam,
    ChatCompletionCustomToolParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionFunctionMessageParam,
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageCustomToolCallParam,
    ChatCompletionMessageFunctionToolCallParam,
    ChatCompletionNamedToolChoiceCustomParam,
    ChatCompletionNamedToolChoiceParam,
    ChatCompletionStreamOptionsParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionUserMessageParam,
    chat_completion_custom_tool_param,
)
from openai.types.chat import (
    completion_create_params as chat_create_params,
)
from openai.types.responses import ResponseTextConfigParam, response_create_params
from openai.types.shared_params import response_format_json_schema

from sayso.base.errors import UserError
from sayso.reply import Replier
from sayso.reply.calls import ToolCalls
from sayso.serve.body import EFFORTS, TIERS, VERBOSITIES
from sayso.serve.call_format import CallFormat, call_input
from sayso.serve.infill import infill_ids
from sayso.serve.responses import Includable
from sayso.serve.setting_fields import ALIASES
from sayso.serve.terms import sampling_defaults
from sayso.token.foreign import ForeignTokenizer

DOCS = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"pet": {"enum": ["cat", "dog"]}}, "required": ["pet"],
          "additionalProperties": False}  # fmt: skip
FUNCTION = {"name": "feed", "description": "Feeds a pet.", "parameters": SCHEMA, "strict": True}
TOOL: Any = {"type": "function", "function": FUNCTION}
OTHER: Any = {"type": "function", "function": {**FUNCTION, "name": "wash"}}
CUSTOM = {"name": "shout", "description": "Shouts.",
          "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": 'a"\\\\ü😀{1,2}'}}}  # fmt: skip

BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": HELLO, "temperature": 0, "max_tokens": 3},
    "completions": {"prompt": "the cat", "temperature": 0, "max_tokens": 3},
    "responses": {"input": "hello", "temperature": 0, "max_output_tokens": 3},
    "embeddings": {"input": "hello"},
}
PATHS = {"chat": "chat/completions"}
TYPES: dict[str, Any] = {
    "chat": chat_create_params.CompletionCreateParamsStreaming,
    "completions": completion_create_params.CompletionCreateParamsStreaming,
    "responses": response_create_params.ResponseCreateParamsStreaming,
    "embeddings": embedding_create_params.EmbeddingCreateParams,
}
INSIDE: dict[str, list[Any]] = {
    "messages[]": [
        ChatCompletionAssistantMessageParam, ChatCompletionDeveloperMessageParam, ChatCompletionFunctionMessageParam,
        ChatCompletionSystemMessageParam, ChatCompletionToolMessageParam, ChatCompletionUserMessageParam,
    ],
    "content[]": [ChatCompletionContentPartTextParam, ChatCompletionContentPartRefusalParam],
    "tool_calls[]": [ChatCompletionMessageFunctionToolCallParam, ChatCompletionMessageCustomToolCallParam],
    "tools[]": [ChatCompletionFunctionToolParam, ChatCompletionCustomToolParam],
    "function": [shared_params.FunctionDefinition],
    "custom": [chat_completion_custom_tool_param.Custom],
    "tool_choice": [
        ChatCompletionAllowedToolChoiceParam, ChatCompletionNamedToolChoiceParam,
        ChatCompletionNamedToolChoiceCustomParam,
    ],
    "json_schema": [response_format_json_schema.JSONSchema],
    "stream_options": [ChatCompletionStreamOptionsParam, response_create_params.StreamOptions],
    "text": [ResponseTextConfigParam],
    "reasoning": [shared_params.Reasoning],
}  # fmt: skip
SAMPLES: dict[str, Any] = {
    "access_programs": {"cyber": "standard"}, "audio": {"voice": "alloy", "format": "wav"}, "background": True,
    "background_options": {"completion_window": "2h"}, "best_of": 2, "context_management": [{"type": "compaction"}],
    "conversation": "c", "dimensions": 4, "echo": True, "encoding_format": "float", "frequency_penalty": 1,
    "function_call": "auto", "functions": [FUNCTION], "image": {"detail": "low"},
    "include": ["message.output_text.logprobs"], "instructions": "Be brief.", "logit_bias": {"5": 1},
    "max_completion_tokens": 2, "max_output_tokens": 2, "max_tokens": 2, "max_tool_calls": 1, "metadata": {"a": "b"},
    "modalities": ["text", "audio"], "model": "tuned", "moderation": {"model": "m"}, "n": 2,
    "parallel_tool_calls": False, "prediction": {"type": "content", "content": "the"}, "presence_penalty": 1,
    "previous_response_id": "r", "prompt_cache_key": "k", "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h", "reasoning": {"effort": "none", "summary": "auto"}, "reasoning_effort": "high",
    "response_format": {"type": "json_schema", "json_schema": {"name": "pet", "schema": SCHEMA}},
    "safety_identifier": "s", "seed": 1, "service_tier": "flex", "stop": ["x"] * 8, "store": True, "temperature": 0.5,
    "text": {"format": {"type": "text"}, "verbosity": "low"}, "tool_choice": "auto", "top_p": 0, "truncation": "auto",
    "user": "me", "verbosity": "low", "web_search_options": {},
    "messages": [{"role": "developer", "content": "Be brief."}, {**HELLO[0], "name": "Tom"}],
}  # fmt: skip
OWN: dict[tuple[str, str], dict[str, Any]] = {
    ("chat", "logprobs"): {"logprobs": True}, ("completions", "logprobs"): {"logprobs": 2},
    ("chat", "top_logprobs"): {"logprobs": True, "top_logprobs": 2}, ("responses", "top_logprobs"): {"top_logprobs": 2},
    ("chat", "tools"): {"tools": [TOOL, {"type": "custom", "custom": CUSTOM}]},
    ("responses", "tools"): {"tools": [{"type": "function", **FUNCTION}]},
    ("completions", "prompt"): {"prompt": ["the", "cat"]}, ("responses", "prompt"): {"prompt": {"id": "p"}},
    ("responses", "input"): {"input": HELLO}, ("embeddings", "input"): {"input": ["a", "b"]},
}  # fmt: skip


ANTHROPIC: dict[str, Any] = {
    "cache_control": {"type": "ephemeral"}, "container": "c", "diagnostics": {"previous_message_id": "m"},
    "inference_geo": "eu", "metadata": {"user_id": "me"}, "output_config": {"effort": "low"}, "service_tier": "auto",
    "speed": "fast", "stop_sequences": ["x"], "stream": True, "system": "Be brief.", "temperature": 0.5,
    "thinking": {"type": "disabled"}, "tool_choice": {"type": "none"},
    "tools": [{"name": "feed", "input_schema": SCHEMA}], "top_k": 5, "top_p": 0.5, "user_profile_id": "u",
    "workspace_id": "w",
}  # fmt: skip


def table(heading: str) -> Iterator[list[str]]:
    """The cells of each row of a table of docs/serve.md."""
    text = DOCS.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    for row in text.splitlines()[2:]:
        yield [cell.strip() for cell in row.strip().strip("|").split("|")]


def treatments(route: str) -> dict[str, str]:
    """How docs/serve.md says that each field of a route is treated."""
    place = 1 + [*BODIES].index(route)
    rows = {row[0].strip("`"): row[place] for row in table("field of OpenAI's requests")}
    return {name: treatment for name, treatment in rows.items() if treatment}


def inner() -> dict[str, str]:
    """The same of the fields inside of others, by their path."""
    rows = table("field inside OpenAI's requests")
    return {name: row[1] for row in rows for name in re.findall(r"`([^`]+)`", row[0])}


def post(client: TestClient, route: str, **change: Any) -> Any:
    """The response of a route to its usual body with changes."""
    return client.post(f"/v1/{PATHS.get(route, route)}", json=BODIES[route] | change)


def said(client: TestClient, route: str, **change: Any) -> Any:
    """What a route answers, without what differs from call to call."""
    reply = post(client, route, **change)
    assert reply.status_code == 200, (route, change, reply.text)
    if change.get("stream"):
        events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
        assert not any("error" in event and event["error"] for event in events), reply.text
        if route == "responses":
            return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        return [event["choices"] for event in events]
    body = reply.json()
    if route == "responses":
        return [item["content"][0]["text"] for item in body["output"] if item["type"] == "message"]
    return body["data"] if route == "embeddings" else body["choices"]


# -- the table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", BODIES)
def test_every_field_of_the_client_has_a_row(route: str) -> None:
    """A field that OpenAI adds shows up here."""
    assert set(treatments(route)) == set(get_type_hints(TYPES[route]))
    assert set(treatments(route).values()) <= {"honored", "neutral", "refused"}


def test_every_inner_field_of_the_client_has_a_row() -> None:
    """Those of messages, contents, tools and options."""
    expected = {f"{path}.{name}" for path, types in INSIDE.items() for kind in types for name in get_type_hints(kind)}
    assert set(inner()) == expected


def test_every_field_of_anthropics_client_has_a_row() -> None:
    """Its current types lack some that its API has."""
    anthropic = pytest.importorskip("anthropic")
    rows = {name for row in table("field of Anthropic's messages") for name in re.findall(r"`([^`]+)`", row[0])}
    types = get_type_hints(anthropic.types.message_create_params.MessageCreateParamsStreaming)
    assert rows - {"temperature", "top_k", "top_p"} == set(types) - {"temperature", "top_k", "top_p"}


def test_every_field_of_anthropics_messages_is_treated_as_its_row_says(client: TestClient) -> None:
    """Refused ones are named."""
    body: dict[str, Any] = {"model": "tuned", "messages": HELLO, "max_tokens": 2}
    for names, treatment, _ in table("field of Anthropic's messages"):
        for name in re.findall(r"`([^`]+)`", names):
            reply = client.post("/v1/messages", json=body | {name: ANTHROPIC.get(name, body.get(name))})
            assert reply.status_code == (400 if treatment == "refused" else 200), (name, reply.text)
            assert treatment != "refused" or f"'{name}'" in reply.json()["error"]["message"]


def test_the_values_of_hints_are_the_clients() -> None:
    """A new tier, effort, verbosity or kind of included data is known."""

    def literals(kind: Any) -> set[str]:
        return {value for part in (kind, *get_args(kind)) for value in get_args(part) if isinstance(value, str)}

    chat, responses = get_type_hints(TYPES["chat"]), get_type_hints(TYPES["responses"])
    assert set(TIERS) == literals(chat["service_tier"]) | literals(responses["service_tier"])
    assert set(EFFORTS) == literals(chat["reasoning_effort"])
    assert (
        set(VERBOSITIES)
        == literals(chat["verbosity"])
        == literals(get_type_hints(ResponseTextConfigParam)["verbosity"])
    )
    [listed] = [part for part in get_args(responses["include"]) if part is not type(None)]
    assert set(get_args(Includable)) == set(get_args(get_args(listed)[0]))


@pytest.mark.parametrize("route", BODIES)
def test_every_field_is_treated_as_its_row_says(client: TestClient, route: str) -> None:
    """Honored and neutral ones are taken, whole and streamed; neutral ones change nothing; refused ones are named."""
    streams = [False] if route == "embeddings" else [False, True]
    plain = [said(client, route, stream=True) if stream else said(client, route) for stream in streams]
    for field, treatment in treatments(route).items():
        if field in ("stream", "stream_options", "suffix"):
            continue  # the stream itself, and what needs another model
        sample = OWN.get((route, field)) or {field: SAMPLES[field]}
        if treatment == "refused":
            reply = post(client, route, **sample)
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, field), reply.text
            assert said(client, route, **{field: None}) == plain[0]
            continue
        for stream, before in zip(streams, plain, strict=True):
            if field == "best_of" and stream:
                continue
            after = said(client, route, **sample, **({"stream": True} if stream else {}))
            if treatment == "neutral":
                assert after == before, field


@pytest.mark.parametrize(
    ("route", "field", "wrong"),
    [
        *((route, "user", 5) for route in BODIES),
        *((route, "metadata", {"a": 1}) for route in ("chat", "completions", "responses")),
        *(
            (route, field, wrong)
            for route in ("chat", "responses")
            for field, wrong in (
                ("safety_identifier", {}), ("prompt_cache_key", 1), ("prompt_cache_retention", "1h"),
                ("prompt_cache_options", "k"), ("service_tier", "gold"),
            )
        ),
        ("chat", "prediction", "the"), ("responses", "max_tool_calls", "2"), ("responses", "max_tool_calls", True),
        ("responses", "reasoning.summary", "long"), ("responses", "reasoning.mode", 1),
        ("chat", "messages[0].cache_control", "x"), ("chat", "messages[0].annotations", {}),
        ("chat", "messages[0].content[0].cache_control", 1),
    ],
)  # fmt: skip
def test_a_label_of_another_type_is_an_error(client: TestClient, route: str, field: str, wrong: Any) -> None:
    """Without an effect, but of the type that the client's types give it."""
    outer, _, inner = field.partition(".")
    value = wrong
    if outer == "reasoning":
        value = {inner: wrong}
    elif outer.startswith("messages"):
        outer = "messages"
        name = inner.rsplit(".", 1)[-1]
        content = [{"type": "text", "text": "hi", name: wrong}] if ".content[" in field else "hi"
        value = [{**HELLO[0], "content": content} | ({} if ".content[" in field else {name: wrong})]
    reply = post(client, route, **{outer: value})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"].startswith(field)


def test_names_of_llama_cpp_and_ollama_are_the_settings(client: TestClient) -> None:
    """docs/serve.md lists them; each does what its own name does, and both at once are refused."""
    values = {"repetition_penalty": 50, "max_tokens": 2}
    listed = {row[0].strip("`"): row[1].strip("`") for row in table("other name")}
    assert listed == {alias: name for name, aliases in ALIASES.items() for alias in aliases}
    plain = {"max_tokens": 20, "temperature": 0}
    bodies = {"chat/completions": plain | {"messages": HELLO}, "completions": plain | {"prompt": "the cat"}}
    for (alias, name), (route, full) in itertools.product(listed.items(), bodies.items()):
        body = {key: value for key, value in full.items() if key != name}

        def ask(body: dict[str, Any] = body, route: str = route, **change: Any) -> Any:
            return client.post(f"/v1/{route}", json=body | change)

        own, other = ask(**{name: values[name]}).json(), ask(**{alias: values[name]}).json()
        assert own["choices"] == other["choices"] != ask(full).json()["choices"]
        assert ask(**{alias: None, name: values[name]}).status_code == 200
        for wrong, field in (({alias: values[name], name: values[name]}, name), ({alias: "x"}, alias)):
            refused = ask(**wrong)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize("route", ["chat", "completions", "responses"])
def test_an_empty_list_is_inactive(client: TestClient, route: str) -> None:
    """Of ids, words and texts alike."""
    lists = ["allowed_token_ids", "bad_words"] + ([] if route == "responses" else ["stop", "stop_token_ids"])
    for name in lists:
        assert said(client, route, **{name: []}) == said(client, route), name


def test_the_last_of_repeated_keys_counts(client: TestClient) -> None:
    """As with other servers, at any depth."""
    body = '{"prompt": "the dog", "prompt": "the cat", "max_tokens": 99, "temperature": 0, "max_tokens": 3}'
    reply = client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert reply.json()["choices"] == said(client, "completions")


@pytest.mark.parametrize("route", ["chat", "completions", "responses"])
def test_null_is_the_default_of_every_field(client: TestClient, route: str) -> None:
    """Whole and streamed, also inside of options."""
    required = {"chat": {"messages"}, "completions": {"prompt"}, "responses": {"input"}}[route]
    nulls = dict.fromkeys(set(treatments(route)) - required - set(BODIES[route]))
    inside: dict[str, Any] = {"stream_options": {"include_obfuscation": None}}
    if route == "chat":
        form = {"name": "x", "schema": None, "strict": None, "description": None}
        inside["tools"] = [{"type": "function", "function": {"name": "x", "parameters": None, "strict": None}}]
        inside |= {"tool_choice": "none", "response_format": {"type": "text", "json_schema": None}}
        assert said(client, route, response_format={"type": "json_schema", "json_schema": form})
    assert said(client, route, **nulls) == said(client, route)
    assert said(client, route, **nulls | {"stream": True} | inside) == said(client, route, stream=True)


# -- messages ------------------------------------------------------------------------------------------------------


def prompt_of(client: TestClient, messages: list[Any], **more: Any) -> list[int]:
    """The ids that the model sees of a conversation."""
    reply = post(client, "chat", messages=messages, return_token_ids=True, **more)
    assert reply.status_code == 200, reply.text
    return reply.json()["prompt_token_ids"]


def test_a_refusal_is_the_assistants_text(client: TestClient) -> None:
    """As a field and as a part."""
    plain = prompt_of(client, [*HELLO, {"role": "assistant", "content": "No."}, *HELLO])
    for message in (
        {"role": "assistant", "refusal": "No."},
        {"role": "assistant", "content": None, "refusal": "No.", "audio": None, "annotations": []},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "N", "refusal": None}, {"type": "text", "text": "o."}],
        },
    ):
        assert prompt_of(client, [*HELLO, message, *HELLO]) == plain
    reply = post(client, "chat", messages=[{"role": "user", "content": [{"type": "refusal", "refusal": "No."}]}])
    assert reply.json()["error"]["param"] == "messages[0].content[0].type"


def test_a_name_reaches_the_template() -> None:
    """The tokenizer's own template has none; another may use it."""
    from sayso.serve.chat_message import Turn

    turn = Turn.model_validate({**HELLO[0], "name": "Tom", "audio": None})
    assert turn.plain() == {"role": "user", "content": "hello", "name": "Tom"}


@pytest.mark.parametrize("route", ["chat", "responses"])
@pytest.mark.parametrize("key", ["image_url", "cache"])
def test_a_key_of_a_part_without_effect_is_told(client: TestClient, route: str, key: str) -> None:
    """Hints about caching are the only exception."""
    part = {"type": "text" if route == "chat" else "input_text", "text": "hello"}
    field = "messages" if route == "chat" else "input"
    hinted = {**part, "prompt_cache_breakpoint": {"mode": "explicit"}}
    assert said(client, route, **{field: [{"role": "user", "content": [hinted]}]}) == said(client, route)
    reply = post(client, route, **{field: [*HELLO, {"role": "user", "content": [{**part, key: 1}]}]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, f"{field}[1].content[0].{key}")


def test_a_schema_may_be_absent(client: TestClient) -> None:
    """Then any object is allowed; chats and responses."""
    chat = post(client, "chat", response_format={"type": "json_schema", "json_schema": {"name": "x"}}, max_tokens=1)
    assert chat.json()["choices"][0]["message"]["content"].startswith("{")
    form = {"format": {"type": "json_schema", "name": "x"}}
    made = post(client, "responses", text=form, max_output_tokens=1).json()
    assert made["output"][0]["content"][0]["text"].startswith("{")


# -- tools ---------------------------------------------------------------------------------------------------------


def calls_of(official: openai.OpenAI, **asked: Any) -> tuple[Any, list[Any], str]:
    """A chat's message, the deltas of the same chat streamed, and its finish reason."""
    body = {"model": "tuned", "messages": HELLO, "seed": 1, "max_tokens": 200} | asked
    whole = official.chat.completions.create(**body).choices[0]
    chunks = [chunk.choices[0] for chunk in official.chat.completions.create(**body, stream=True)]
    assert chunks[-1].finish_reason == whole.finish_reason
    return whole.message, [chunk.delta for chunk in chunks], whole.finish_reason


def test_only_allowed_tools_are_called(official: openai.OpenAI, client: TestClient) -> None:
    """The prompt has all of them; chats and responses."""
    both = [TOOL, OTHER]
    named = {"type": "function", "function": {"name": "wash"}}
    choice: Any = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    for seed in range(3):
        message, _, finish = calls_of(official, tools=both, tool_choice=choice, parallel_tool_calls=False, seed=seed)
        assert ([call.function.name for call in message.tool_calls], finish) == (["wash"], "tool_calls")
    assert prompt_of(client, HELLO, tools=both, tool_choice=choice) == prompt_of(client, HELLO, tools=both)
    flat: Any = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "wash"}]}
    made = official.responses.create(
        model="tuned", input="hello", tools=[{"type": "function", **one["function"]} for one in both], tool_choice=flat,
        max_output_tokens=200, parallel_tool_calls=False,
    )  # fmt: skip
    assert [item.name for item in made.output] == ["wash"]
    for wrong, param in (
        ({"mode": "none", "tools": [named]}, "tool_choice.allowed_tools.mode"),
        ({"mode": "auto", "tools": []}, "tool_choice.allowed_tools.tools"),
        ({"mode": "auto", "tools": [TOOL | named, {}]}, "tool_choice"),
    ):
        reply = post(client, "chat", tools=both, tool_choice={"type": "allowed_tools", "allowed_tools": wrong})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


@pytest.mark.parametrize("named", [True, False])
def test_a_custom_tool_gets_a_text(official: openai.OpenAI, client: TestClient, named: bool) -> None:
    """Whole and streamed; the call can be sent back with its result."""
    tool: Any = {"type": "custom", "custom": CUSTOM}
    choice: Any = {"type": "custom", "custom": {"name": "shout"}} if named else "required"
    message, deltas, finish = calls_of(official, tools=[tool], tool_choice=choice, parallel_tool_calls=False)
    [call] = message.tool_calls
    assert (call.type, call.custom.name, finish) == ("custom", "shout", "tool_calls")
    assert re.fullmatch('a"\\\\ü😀{1,2}', call.custom.input)
    parts = [part for delta in deltas for part in delta.tool_calls or []]
    assert (parts[0].type, parts[0].custom["name"]) == ("custom", "shout")
    assert "".join(part.custom["input"] for part in parts) == call.custom.input
    result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    assert prompt_of(client, [*HELLO, message.model_dump(), result, *HELLO], tools=[tool])
    flat: Any = {"type": "custom", "name": "shout", "format": {"type": "grammar", **CUSTOM["format"]["grammar"]}}
    asked: dict[str, Any] = {"model": "tuned", "input": HELLO, "tools": [flat], "max_output_tokens": 200}
    asked |= {"tool_choice": {"type": "custom", "name": "shout"} if named else "required", "parallel_tool_calls": False}
    made = official.responses.create(**asked, extra_body={"seed": 1})
    [item] = made.output
    assert (item.type, item.name, item.input) == ("custom_tool_call", "shout", call.custom.input)
    events = list(official.responses.create(**asked, stream=True, extra_body={"seed": 1}))
    streamed = [event.delta for event in events if event.type == "response.custom_tool_call_input.delta"]
    assert "".join(streamed) == item.input
    assert [event.input for event in events if event.type == "response.custom_tool_call_input.done"] == [item.input]
    back: Any = [*HELLO, item.model_dump(), {"type": "custom_tool_call_output", "call_id": item.call_id, "output": "x"}]
    official.responses.create(**asked | {"input": back, "max_output_tokens": 1})


@pytest.mark.parametrize("arguments", ['{"input": "a\\"\\\\\\n\\ud83d\\ude00é"}', '{ "input":"\\u00e9"}'])
def test_the_input_of_a_custom_tool_grows(arguments: str) -> None:
    """Cut anywhere, what is read of it is a beginning of the whole."""
    parts = [call_input(arguments[:end]) for end in range(len(arguments) + 1)]
    assert parts[-1] == json.loads(arguments)["input"]
    assert all(after.startswith(before) for before, after in itertools.pairwise(parts))


def test_a_call_in_pieces_is_the_whole_input() -> None:
    """However many pieces of its arguments come at once."""
    parsed, form = ToolCalls(), CallFormat(custom=frozenset({"shout"}))
    text = '<tool_call>\n{"name": "shout", "arguments": {"input": "hello"}}\n</tool_call>'
    deltas = [delta for letter in text for delta in parsed.push(letter)]
    found = [delta["tool_calls"][0]["custom"] for delta in form.deltas(parsed, deltas)]
    assert found[0]["name"] == "shout"
    assert "".join(part["input"] for part in found) == "hello"
    assert form.message(parsed)["tool_calls"][0]["custom"] == {"name": "shout", "input": "hello"}


def test_functions_are_called_in_their_older_form(official: openai.OpenAI, client: TestClient) -> None:
    """As `function_call`, whole and streamed; its result is a message of the role `function`."""
    asked: dict[str, Any] = {"functions": [FUNCTION], "function_call": {"name": "feed"}}
    message, deltas, finish = calls_of(official, **asked)
    assert (finish, message.tool_calls, message.function_call.name) == ("function_call", None, "feed")
    assert json.loads(message.function_call.arguments)["pet"] in ("cat", "dog")
    parts = [delta.function_call for delta in deltas if delta.function_call]
    assert "".join(part.name or "" for part in parts) == "feed"
    assert "".join(part.arguments or "" for part in parts) == message.function_call.arguments
    assert prompt_of(client, HELLO, **asked) == prompt_of(client, HELLO, tools=[TOOL])
    old = [*HELLO, message.model_dump(), {"role": "function", "name": "feed", "content": "done"}]
    call = {"id": "a", "type": "function", "function": message.function_call.model_dump()}
    new = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]},
           {"role": "tool", "tool_call_id": "a", "content": "done"}]  # fmt: skip
    assert prompt_of(client, old, **asked) == prompt_of(client, new, tools=[TOOL])
    nothing = [[*turns[:-1], {**turns[-1], "content": content}] for turns, content in ((old, None), (new, ""))]
    assert prompt_of(client, nothing[0], **asked) == prompt_of(client, nothing[1], tools=[TOOL])
    for wrong, param in [
        ({"functions": [FUNCTION], "tools": [TOOL]}, "functions"),
        ({"functions": [FUNCTION], "function_call": {"name": "wash"}}, "function_call"),
        ({"functions": [{"name": "?"}]}, "functions[0].name"),
    ]:
        reply = post(client, "chat", **wrong)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


def test_what_a_client_dumps_can_be_sent_back(official: openai.OpenAI, client: TestClient) -> None:
    """`model_dump()` of messages and items has every optional field, as null."""
    asked: dict[str, Any] = {"tools": [TOOL], "parallel_tool_calls": False}
    message, _, _ = calls_of(official, **asked, tool_choice="required")
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "done"}
    text = official.chat.completions.create(model="tuned", messages=HELLO, max_tokens=2).choices[0].message
    official.chat.completions.create(
        model="tuned", max_tokens=1, messages=[*HELLO, message.model_dump(), result, text.model_dump(), *HELLO], **asked
    )
    tools: Any = [{"type": "function", **FUNCTION}]
    called = official.responses.create(model="tuned", input=HELLO, tools=tools, tool_choice="required")
    spoken = official.responses.create(
        model="tuned", input=HELLO, include=["message.output_text.logprobs"], max_output_tokens=2
    )
    items: Any = [item.model_dump() for made in (spoken, called) for item in made.output]
    outputs = [{"type": "function_call_output", "call_id": item["call_id"], "output": "done", "id": None, "name": None}
               for item in items if item["type"] == "function_call"]  # fmt: skip
    official.responses.create(model="tuned", input=[*HELLO, *items, *outputs], tools=tools, max_output_tokens=1)


# -- lengths, prompts, sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_length_of_0_reads_only_the_prompt(official: openai.OpenAI, stream: bool) -> None:
    """On each route the reply is empty, its finish reason is the length, and the prompt is counted."""
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    for limit in ("max_tokens", "max_completion_tokens"):
        made = official.chat.completions.create(model="tuned", messages=HELLO, n=2, **{limit: 0}, **options)
        chunks = list(made) if stream else [made]
        finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
        assert finishes == ["length", "length"]
        assert chunks[-1].usage.completion_tokens == 0 < chunks[-1].usage.prompt_tokens
        texts = [(choice.delta if stream else choice.message).content for chunk in chunks for choice in chunk.choices]
        assert not any(texts)
    text = official.completions.create(model="tuned", prompt="the", max_tokens=0, echo=True, **options)
    assert "".join(choice.text for chunk in (text if stream else [text]) for choice in chunk.choices) == "the"
    made = official.responses.create(model="tuned", input="hello", max_output_tokens=0, stream=stream)
    response = next(event for event in made if event.type == "response.incomplete").response if stream else made
    assert (response.status, response.output_text) == ("incomplete", "")
    assert response.usage.output_tokens == 0 < response.usage.input_tokens


def test_an_absent_prompt_is_the_beginning_of_a_document(client: TestClient, replier: Replier) -> None:
    """As an empty one."""
    body = {"temperature": 0, "max_tokens": 3, "return_token_ids": True}
    replies = [client.post("/v1/completions", json=body | more).json()["choices"]
               for more in ({}, {"prompt": None}, {"prompt": ""}, {"prompt": [""]})]  # fmt: skip
    assert replies[0] == replies[1] == replies[2] == replies[3]
    assert replies[0][0]["prompt_token_ids"] == replier.text_ids("")


def test_many_replies_and_stop_texts(client: TestClient) -> None:
    """The task lists of evaluations send more than OpenAI's four stop texts."""
    assert [choice["index"] for choice in said(client, "chat", n=128, max_tokens=1)] == [*range(128)]
    text = said(client, "chat", max_tokens=8)[0]["message"]["content"]
    stops = [*"0123456789", text[3:5]]
    for route in ("chat", "completions"):
        assert said(client, route, stop=stops)
    assert said(client, "chat", max_tokens=8, stop=stops)[0]["message"]["content"] == text[: text.index(text[3:5])]


@pytest.mark.parametrize("route", ["chat", "completions", "responses"])
def test_a_top_p_of_0_is_greedy(client: TestClient, route: str) -> None:
    """Even at a high temperature; a response returns the value that was sent."""
    assert said(client, route, top_p=0, temperature=2) == said(client, route)
    if route == "responses":
        assert post(client, route, top_p=0).json()["top_p"] == 0


def test_truncation_drops_the_oldest_turns(official: openai.OpenAI) -> None:
    """Only if the conversation exceeds the context; the response says so."""
    turns: Any = [
        {"role": role, "content": f"{number} cat " * 300} for number in range(6) for role in ("user", "assistant")
    ]
    asked: dict[str, Any] = {"model": "tuned", "input": [*turns, *HELLO], "max_output_tokens": 1}
    with pytest.raises(openai.BadRequestError, match="context is 4096 tokens"):
        official.responses.create(**asked)
    made = official.responses.create(**asked, truncation="auto", instructions="Be brief.")
    assert made.truncation == "auto"
    assert made.usage is not None
    assert 2000 < made.usage.input_tokens < 4096


def foreign(*more: str, **generation: Any) -> ForeignTokenizer:
    """A tokenizer of letters with an end token and others, of a model that says how to sample."""
    letters = {letter: place for place, letter in enumerate(["<end>", *"abcdef"])}
    core = tokenizers.Tokenizer(tokenizers.models.BPE(letters, []))
    core.add_special_tokens(["<end>", *more])
    return ForeignTokenizer(core, {"eos_token": "<end>"}, generation=generation)


def test_the_defaults_are_the_imported_models(client: TestClient, replier: Replier) -> None:
    """Else a temperature of 1, as with OpenAI; the page and the command line keep theirs."""
    assert post(client, "responses", temperature=None).json()["temperature"] == 1.0
    assert sampling_defaults(replier.tokenizer) == {"temperature": 1.0}
    kept = {"temperature": 0.6, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.1}
    assert sampling_defaults(foreign(**kept, do_sample=True, max_length=5, min_p=None)) == kept
    assert sampling_defaults(foreign(top_k=-1)) == {"temperature": 1.0, "top_k": 0}
    for wrong in ({"temperature": -1}, {"top_p": "high"}):
        with pytest.raises(UserError, match=r"generation_config\.json has invalid"):
            sampling_defaults(foreign(**wrong))


def test_a_suffix_fills_in_the_middle(replier: Replier) -> None:
    """By the tokens of the model, if it has them."""
    tokenizer = foreign("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    begin, hole, end = map(tokenizer.core.token_to_id, ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"))
    a, b, c = (tokenizer.core.token_to_id(letter) for letter in "abc")
    assert infill_ids(tokenizer, "ab", "c") == infill_ids(tokenizer, [a, b], "c") == [begin, a, b, hole, c, end]
    for other in (replier.tokenizer, foreign()):
        with pytest.raises(UserError, match="cannot fill in the middle"):
            infill_ids(other, "ab", "c")
