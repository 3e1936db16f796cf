"""What the server says of a wrong request: which field, which rule, what it got, in the words of the client's API."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sayso.base.errors import nearest
from sayso.base.json_words import MOST_SHOWN, either_of, json_kind, json_shown
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.serve.app import make_app
from sayso.serve.chat_message import Turn
from sayso.text.calls import as_data
from sayso.token.template import Template

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
UNFOLLOWED = {"type": "object", "properties": {"a": {"not": {}}}, "required": ["a"]}
STRICT = {"name": "feed", "parameters": UNFOLLOWED, "strict": True}
TOOL = {"type": "function", "function": {"name": "feed"}}
LONG = "cat " * 5000
CHAT, TEXT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HELLO, "max_tokens": 2},
    TEXT: {"prompt": "cat", "max_tokens": 2},
    RESPONSES: {"input": "hello", "max_output_tokens": 2},
    MESSAGES: {"model": "tuned", "messages": HELLO, "max_tokens": 2},
    "/v1/messages/count_tokens": {"model": "tuned", "messages": HELLO},
    "/v1/embeddings": {"input": "cat"},
    "/v1/score": {"text_1": "cat", "text_2": "dog"},
    "/v1/rerank": {"query": "cat", "documents": ["dog"]},
    "/tokenize": {"prompt": "cat"},
    "/detokenize": {"tokens": [1]},
    "/apply-template": {"messages": HELLO},
    "/api/messages": {"conversation_id": 1, "content": "hello"},
    "/api/replies": {"message_id": 1, "max_tokens": 2},
    "/api/ratings": {"kind": "thumb", "message_id": 1, "value": 1},
}
WRONG: list[Any] = [
    True, False, -1.5, 10**30, float("nan"), "", "x", [], [None], [True], [[]], ["x", 1], {}, {"x": None},
    {"type": "x"}, [{"type": True}], [{"role": "user", "content": [None]}],
]  # fmt: skip
PYTHONS = re.compile(
    r"\b(True|False|None|NoneType|nan|str|int|bool|dict|dictionary|tuple|validation)\b|\{'|\['|Error\b"
)


@pytest.fixture(scope="module")
def client(replier: Replier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server that all these tests share."""
    store = Store(tmp_path_factory.mktemp("store") / "store.sqlite")
    with TestClient(make_app(replier, store, "tuned"), base_url="http://127.0.0.1") as client:
        yield client
    store.close()


def post(client: TestClient, path: str, change: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The status of a route's usual body with changes, and its error."""
    content = json.dumps(BODIES[path] | change)
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    return answer.status_code, answer.json().get("error", {}) if answer.status_code >= 400 else {}


def fields(client: TestClient, path: str) -> list[str]:
    """The names of the fields of a route's body."""
    app: Any = client.app
    schema = app.openapi()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = [schema["$ref"]] if "$ref" in schema else [one["$ref"] for one in schema["oneOf"]]
    schemas = app.openapi()["components"]["schemas"]
    return sorted({field for name in names for field in schemas[name.rpartition("/")[2]]["properties"]})


@pytest.mark.parametrize("path", BODIES)
def test_every_error_names_a_field_in_jsons_words(client: TestClient, path: str) -> None:
    """Some wrong values of any field: its path in OpenAI's notation, a code, and no word of Python."""
    for field in fields(client, path):
        for value in random.Random(field).sample(WRONG, 6):
            status, error = post(client, path, {field: value})
            if status not in (400, 404):
                assert status < 300, (field, value, error)
                continue
            message, told = error["message"], (field, value, error)
            quoted = re.findall(r"'([a-z_]\w*(?:\[\d+\]|\.\w+)*)'", message)
            if status == 400 and not path.startswith("/v1/messages"):
                assert error["param"], told
                assert error["code"], told
                assert re.split(r"[.\[]", error["param"])[0] in {*BODIES[path], field, "model"}, told
                quoted.append(error["param"])
            assert quoted or status == 404, told
            assert not re.search(r"[a-z_]\.\d", message), told
            assert all(not re.search(r"\.\d", name) for name in quoted), told
            assert not PYTHONS.search(message), told
            assert message[-1] in ".?", told
            assert not re.match(r"'(\w+)':? '\1'", message), told


TOGETHER: list[tuple[str, dict[str, Any], str, str]] = [
    (CHAT, {"tool_choice": "required"}, "tool_choice", "there are no 'tools'"),
    (CHAT, {"tools": [TOOL], "tool_choice": "some"}, "tool_choice", 'got "some"'),
    (CHAT, {"stream_options": {}}, "stream_options", "'stream': true"),
    (CHAT, {"top_logprobs": 2}, "top_logprobs", "requires 'logprobs': true"),
    (CHAT, {"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message",
     "cannot be combined with 'add_generation_prompt': true"),
    (CHAT, {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "x"}}, "structured_outputs",
     "both set the format"),
    (CHAT, {"logit_bias": {"1": 1, "01": 2}}, "logit_bias", "each token id once"),
    (CHAT, {"messages": [{"role": "user", "content": LONG}]}, "messages", "context is 4096 tokens"),
    (TEXT, {"min_tokens": 3}, "min_tokens", "2 tokens; got 3"),
    (TEXT, {"best_of": 2, "n": 3}, "best_of", "'n', which is 3; got 2"),
    (TEXT, {"best_of": 2, "stream": True}, "best_of", "cannot be streamed"),
    (TEXT, {"n": 128, "prompt": ["a"] * 100}, "n", "100 prompts with 128 replies each"),
    (TEXT, {"prompt": LONG}, "prompt", "context is 4096 tokens"),
    (TEXT, {"prompt": ["a"] * 257}, "prompt", "from 1 to 256 items; got 257"),
    (TEXT, {"prompt": [-5, 1]}, "prompt", "got -5"),
    (RESPONSES, {"input": LONG}, "input", "context is 4096 tokens"),
    (RESPONSES, {"min_tokens": 3}, "min_tokens", "2 tokens; got 3"),
    (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "x", "schema": UNFOLLOWED, "strict": True}}},
     "text.format", "unsupported keywords: [\"not\"]"),
    ("/tokenize", {"messages": HELLO}, "messages", "either 'prompt' or 'messages'; got both"),
    ("/v1/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_1", "got 2 and 3"),
    ("/api/messages", {"content": " "}, "content", "must not be empty"),
    ("/api/replies", {"min_tokens": 9}, "min_tokens", "2 tokens; got 9"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "change", "param", "text"), TOGETHER)
def test_a_rule_of_several_fields_names_one(
    app: FastAPI, store: Store, path: str, change: dict[str, Any], param: str, text: str
) -> None:
    """In `param`, with a code."""
    store.say(store.new_conversation().id, "hello")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        status, error = post(client, path, change)
    assert (status, error["param"]) == (400, param)
    assert error["code"] in ("invalid_value", "context_length_exceeded")
    assert text in error["message"]


@pytest.mark.parametrize(
    ("path", "change", "rule"),
    [
        (CHAT, {"stop": 5}, "'stop' must be a string or an array of strings; got 5."),
        (CHAT, {"messages": [{"role": "user", "content": 5}]}, "must be a string or an array of parts; got 5."),
        (CHAT, {"structured_outputs": {"json": True}}, "must be an object or a string; got true."),
        (TEXT, {"prompt": [True]}, "'prompt[0]' must be a string, an integer or an array of integers; got true."),
        (TEXT, {"prompt": [[1], ["x"]]}, "'prompt[1][0]' must be an integer; got \"x\"."),
        (MESSAGES, {"system": 5}, "'system' must be a string or an array of objects; got 5."),
        ("/v1/rerank", {"documents": [5]}, "'documents[0]' must be a string or an object; got 5."),
        ("/v1/score", {"text_1": {}}, "'text_1' must be a string or an array of strings; got {}."),
        ("/v1/score", {"text_1": []}, "'text_1' must not be empty."),
        ("/v1/embeddings", {"input": ["a", ""]}, '\'input\' must not have an empty text; got ["a", ""].'),
    ],
)
def test_all_shapes_of_a_field_are_named(client: TestClient, path: str, change: dict[str, Any], rule: str) -> None:
    """Not only the last one that was tried."""
    status, error = post(client, path, change)
    assert status == 400
    assert rule in error["message"]


@pytest.mark.parametrize(
    ("path", "name", "hint"),
    [
        (TEXT, "max_completion_tokens", "max_tokens"),
        (RESPONSES, "max_tokens", "max_output_tokens"),
        (RESPONSES, "messages", "input"),
        (RESPONSES, "stop", None),
        (RESPONSES, "foo", None),
        (CHAT, "stop_sequences", "stop"),
        (CHAT, "temprature", "temperature"),
        (MESSAGES, "stop", "stop_sequences"),
        (MESSAGES, "response_format", "output_config"),
    ],
)
def test_a_suggestion_is_near_or_the_name_here(client: TestClient, path: str, name: str, hint: str | None) -> None:
    """Without one of both there is none."""
    _, error = post(client, path, {name: 1})
    expected = f" Did you mean '{hint}'?" if hint else ""
    assert error["message"] == f"'{name}' is not a parameter of this request.{expected}"


def test_an_unknown_field_inside_of_another_is_named_by_its_path(client: TestClient) -> None:
    """As a message and in `param`; the same holds for a value without effect."""
    for path, change, name in (
        (CHAT, {"stream": True, "stream_options": {"foo": 1}}, "stream_options.foo"),
        (RESPONSES, {"reasoning": {"effort": "utmost"}}, "reasoning.effort"),
        (CHAT, {"messages": [*HELLO, {**HELLO[0], "foo": 1}]}, "messages[1].foo"),
    ):
        _, error = post(client, path, change)
        assert error["param"] == name
        assert error["message"].startswith(f"'{name}' ")


CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}],
}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}


def result(name: str | None) -> dict[str, Any]:
    """Anthropic's message with the result of a call."""
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": name, "content": "x"}]}


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        (CHAT, {"messages": [*HELLO, CALL, {"role": "tool", "tool_call_id": "b", "content": "x"}]},
         "messages[2].tool_call_id"),
        (CHAT, {"messages": [*HELLO, {"role": "tool", "tool_call_id": "b", "name": "f", "content": "x"}]},
         "messages[1].tool_call_id"),
        (CHAT, {"messages": [*HELLO, {"role": "function", "name": "f", "content": "x"}]}, "messages[1].name"),
        (CHAT, {"messages": [*HELLO, {"role": "assistant", "tool_calls": [{"type": "function"}]}]},
         "messages[1].tool_calls[0].function"),
        (CHAT, {"messages": [*HELLO, {"role": "assistant", "tool_calls": [5]}]}, "messages[1].tool_calls[0]"),
        (CHAT, {"functions": [{"name": "f", "parameters": []}]}, None),
        (CHAT, {"functions": [{"name": "f", "parameters": 5}]}, "functions[0].parameters"),
        (CHAT, {"tools": [{"type": "function", "function": STRICT}]}, "tools[0].function.parameters"),
        ("/tokenize", {"prompt": None, "messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (RESPONSES, {"input": [*HELLO, {"type": "function_call_output", "call_id": "b", "output": "x"}]},
         "input[1].call_id"),
        (RESPONSES, {"instructions": "Be brief.", "input": [
            *HELLO, {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_image"}]}]},
         "input[2].output[0].type"),
        (RESPONSES, {"input": [{"type": "function_call", "call_id": "a", "name": "f"}]}, "input[0].arguments"),
        (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "a"}]}, "input[0].output"),
        (RESPONSES, {"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        (RESPONSES, {"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        (RESPONSES, {"tools": [{"type": "function", **STRICT}]}, "tools[0].parameters"),
        (RESPONSES, {"tool_choice": {"type": "allowed_tools", "mode": "x"}}, "tool_choice.mode"),
        (MESSAGES, {"messages": [*HELLO, result("b")], "system": "Be brief."}, "messages[1].content[0].tool_use_id"),
        (MESSAGES, {"messages": [*HELLO, USE, result(None)]}, "messages[2].content[0].tool_use_id"),
        (MESSAGES, {"messages": [{**USE, "role": "user"}]}, "messages[0].content[0].type"),
        (MESSAGES, {"messages": [{**result("a"), "role": "assistant"}]}, "messages[0].content[0].type"),
        (MESSAGES, {"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name"),
        (MESSAGES, {"tools": [{"name": "f", "input_schema": UNFOLLOWED, "strict": True}]}, "tools[0].input_schema"),
        (MESSAGES, {"stop_sequences": [""]}, "stop_sequences[0]"),
        (MESSAGES, {"output_config": {"format": {"type": "json_schema", "schema": UNFOLLOWED}}},
         "output_config.format"),
    ],
)  # fmt: skip
def test_each_route_names_its_own_fields(
    client: TestClient, path: str, change: dict[str, Any], field: str | None
) -> None:
    """Also where its request is converted to that of a chat; Anthropic's errors have only a message."""
    status, error = post(client, path, change)
    assert status == (400 if field else 200), error
    if field and path != MESSAGES:
        assert error["param"] == field
    if field:
        assert f"'{field}'" in error["message"] or path != MESSAGES
        assert not re.search(r"tool_call_id|role \"tool\"|tool_calls", error["message"]) or path in (CHAT, "/tokenize")


def test_a_schema_that_cannot_be_followed_names_its_tool(client: TestClient) -> None:
    """And shows nothing of the grammar that is made of all tools."""
    tools = [TOOL, {"type": "function", "function": {**STRICT, "name": "wash"}}]
    _, error = post(client, CHAT, {"tools": tools})
    expected = 'The schema of the tool "wash" cannot be followed: unsupported keywords: ["not"]. Fix or simplify it.'
    assert error["message"] == f"'tools[1].function.parameters': {expected}"
    _, error = post(client, CHAT, {"structured_outputs": {"regex": "("}})
    assert "start:" not in error["message"]
    _, error = post(client, CHAT, {"structured_outputs": {"grammar": 'start: "x" y'}})
    assert 'line 1, column 8: unknown name: "y"' in error["message"]


def test_settings_that_exclude_every_token_are_named(client: TestClient) -> None:
    """Only those that are set, by the client's names, on each route."""
    for path, change, names in (
        (
            TEXT,
            {"allowed_token_ids": [4], "min_tokens": 1, "stop_token_ids": [4]},
            "'allowed_token_ids' and 'min_tokens'",
        ),
        (CHAT, {"structured_outputs": {"choice": ["a"]}, "min_tokens": 2}, "'structured_outputs' and 'min_tokens'"),
    ):
        status, error = post(client, path, change)
        assert (status, error["code"]) == (400, "invalid_value")
        assert error["message"].startswith(f"{names} together exclude all tokens at position ")


def test_arguments_that_are_no_object_do_not_break_a_template(client: TestClient) -> None:
    """A call that was cut can be sent back, as with OpenAI; a template may rely on an object."""
    template = Template("{% for m in messages %}{% for c in m.tool_calls or [] %}"
                        "{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }};{% endfor %}"
                        "{% endfor %}{% endfor %}", {})  # fmt: skip
    for arguments, shown in (
        ('{"a": 1}', "a=1;"),
        ('{"bad', 'input={"bad;'),
        ("[1]", "input=[1];"),
        ("", ""),
        ("5", "input=5;"),
    ):
        call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
        turn = {"role": "assistant", "tool_calls": [call]}
        assert template.text(as_data([Turn.model_validate(turn).plain()])) == shown
        legacy = {"role": "assistant", "function_call": call["function"]}
        assert template.text(as_data([Turn.model_validate(legacy).plain()])) == shown
        talk = [*HELLO, turn, {"role": "tool", "tool_call_id": "a", "content": "x"}]
        assert post(client, CHAT, {"messages": talk})[0] == 200
        item = {"type": "function_call", "call_id": "a", "name": "f", "arguments": arguments}
        assert post(client, RESPONSES, {"input": [*HELLO, item]})[0] == 200


def test_an_empty_last_message_of_the_assistant_is_none(client: TestClient) -> None:
    """Anthropic allows it, and nothing is there to be continued."""
    talks = [HELLO, [*HELLO, {"role": "assistant", "content": ""}], [*HELLO, {"role": "assistant", "content": []}]]
    bodies = [{"model": "tuned", "messages": talk} for talk in talks]
    ids = [client.post("/v1/messages/count_tokens", json=body).json() for body in bodies]
    assert ids[0] == ids[1] == ids[2]


def test_json_is_shown_in_its_own_words() -> None:
    """Whatever the value, on one line and of a limited length."""
    assert [json_shown(value) for value in (True, None, "é\n", {"a": [1]})] == ["true", "null", '"é\\n"', '{"a": [1]}']
    assert [json_kind(value) for value in (True, None, "a", 1.5, [], {})] == [
        "true", "null", "a string", "a number", "an array", "an object"
    ]  # fmt: skip
    assert len(json_shown("x" * 1000)) == MOST_SHOWN
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert json_shown(deep) == "an array"
    assert [either_of(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a or b", "a, b or c"]


def test_a_suggestion_can_be_required_to_be_nearer() -> None:
    """`least` is the similarity."""
    assert nearest("stop", ["top_p"]) == " Did you mean 'top_p'?"
    assert nearest("stop", ["top_p"], 0.75) == ""
