"""Clients that people bring: the official ones as they are, others by the requests that they send.

`client_requests.jsonl` holds requests of LiteLLM 1.110.2, langchain-openai 1.7.4, llm 0.36 and inspect-ai 0.3.285, as
recorded between `bench.clients` and a server, with ids and replies shortened. Those of Open WebUI were not recorded:
they are written out from what version 0.12.4 sends.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import anthropic
import jsonschema_rs
import openai
import pytest
from fastapi.testclient import TestClient
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from pydantic import BaseModel

from sayso.reply import Replier
from sayso.sample.sampling import Sampling

RECORDED = [json.loads(line) for line in (Path(__file__).parent / "client_requests.jsonl").read_text().splitlines()]
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
PETS = {"type": "object", "properties": {"pet": {"type": "string", "enum": ["cat", "dog"]}}, "required": ["pet"],
        "additionalProperties": False}  # fmt: skip
TOOL: Any = {"type": "function", "function": {"name": "feed", "description": "Feeds a pet.", "parameters": PETS}}
ONE_CALL: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
TYPES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatCompletion, "/v1/completions": Completion, "/v1/responses": Response,
    "/v1/embeddings": CreateEmbeddingResponse, "/v1/messages": anthropic.types.Message,
}  # fmt: skip
GENERATING = [request for request in RECORDED if request["path"] != "/v1/embeddings"]


class Pet(BaseModel):
    """What the structured outputs give."""

    pet: Literal["cat", "dog"]


# -- the official clients ------------------------------------------------------------------------------------------


def test_many_tasks_of_an_asynchronous_client_get_the_same_answers(start: Callable[..., str], replier: Replier) -> None:
    """Whole and streamed at once, over real connections; each is what the model says."""
    address = start(rows=4)
    [own] = replier.replies([HELLO], Sampling(temperature=0, max_tokens=8))
    greedy: dict[str, Any] = {"model": "tuned", "messages": HELLO, "max_tokens": 8}

    async def ask() -> list[str | None]:
        async with (
            openai.AsyncOpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as api,
            anthropic.AsyncAnthropic(api_key="none", base_url=address, max_retries=0) as claude,
        ):

            async def whole() -> str | None:
                return (await api.chat.completions.create(**greedy, temperature=0)).choices[0].message.content

            async def streamed() -> str | None:
                chunks = await api.chat.completions.create(**greedy, temperature=0, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

            async def responded() -> str | None:
                made = await api.responses.create(model="tuned", input=HELLO, max_output_tokens=8, temperature=0)
                return made.output_text

            async def claudes() -> str | None:
                async with claude.messages.stream(**greedy, extra_body={"temperature": 0}) as stream:
                    return await stream.get_final_text()

            return await asyncio.gather(*(task() for task in (whole, streamed, responded, claudes) * 3))

    assert asyncio.run(ask()) == [own.text] * 12


def test_a_form_is_parsed_by_each_route(official: openai.OpenAI, client: TestClient) -> None:
    """`parse` and `stream` of both clients give the class that was asked for."""
    ask: dict[str, Any] = {"model": "tuned", "temperature": 0}
    chat = official.chat.completions.parse(messages=HELLO, response_format=Pet, max_tokens=200, **ask)
    with official.chat.completions.stream(messages=HELLO, response_format=Pet, max_tokens=200, **ask) as stream:
        streamed = stream.get_final_completion()
    response = official.responses.parse(input=HELLO, text_format=Pet, max_output_tokens=200, **ask)
    claude = anthropic.Anthropic(api_key="none", base_url="http://127.0.0.1", http_client=client, max_retries=0)
    message = claude.messages.parse(
        model="tuned", messages=HELLO, output_format=Pet, max_tokens=200, extra_body={"temperature": 0}
    )
    found = [chat.choices[0].message.parsed, streamed.choices[0].message.parsed, response.output_parsed]
    assert [type(pet) for pet in [*found, message.parsed_output]] == [Pet] * 4
    assert found == [found[0]] * 3


def test_a_chat_kept_in_a_file_goes_on(official: openai.OpenAI, tmp_path: Path) -> None:
    """Text, calls and results of three turns, each `model_dump()` and JSON; the reply is that to the plain messages."""
    file, ask = tmp_path / "chat.json", {"model": "tuned", "temperature": 0, "max_tokens": 100}
    turns: list[Any] = list(HELLO)
    for more in ({}, ONE_CALL, {"tools": [TOOL]}):
        message = official.chat.completions.create(messages=turns, **ask, **more).choices[0].message  # type: ignore[call-overload]
        turns.append(message.model_dump())
        turns += [{"role": "tool", "tool_call_id": call.id, "content": "fed"} for call in message.tool_calls or []]
        turns += HELLO if not message.tool_calls else []
        file.write_text(json.dumps(turns))
        turns = json.loads(file.read_text())
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "tool", "assistant", "user"]
    plain = [{name: value for name, value in turn.items() if value is not None} for turn in turns]
    found = [official.chat.completions.create(messages=form, **ask) for form in (turns, plain)]  # type: ignore[call-overload]
    assert found[0].choices[0].message == found[1].choices[0].message
    assert found[0].usage.prompt_tokens == found[1].usage.prompt_tokens


def test_a_response_kept_in_a_file_goes_on(official: openai.OpenAI, tmp_path: Path) -> None:
    """Items dumped in full, and without what the server had assigned, have the same prompt."""
    tools: Any = [{"type": "function", **TOOL["function"]}]
    ask: dict[str, Any] = {"model": "tuned", "temperature": 0, "tools": tools, "max_output_tokens": 100}
    items: list[Any] = list(HELLO)
    for more in ({"tool_choice": "none"}, {"tool_choice": "required", "parallel_tool_calls": False}):
        output = official.responses.create(input=items, **ask, **more).output
        items += [item.model_dump() for item in output]
        items += [{"type": "function_call_output", "call_id": item.call_id, "output": "fed"}
                  for item in output if item.type == "function_call"]  # fmt: skip
    assert [item.get("type") for item in items] == [None, "message", "function_call", "function_call_output"]
    (tmp_path / "items.json").write_text(json.dumps(items))
    kept = json.loads((tmp_path / "items.json").read_text())
    bare = [{name: value for name, value in item.items() if name not in ("id", "status")} for item in kept]
    counts = [official.responses.input_tokens.count(model="tuned", input=form, tools=tools) for form in (kept, bare)]
    assert counts[0].input_tokens == counts[1].input_tokens
    replies = [official.responses.create(input=form, **ask, tool_choice="none").output_text for form in (kept, bare)]
    assert replies[0] == replies[1]


def test_a_message_kept_in_a_file_goes_on(client: TestClient, tmp_path: Path) -> None:
    """Blocks of Anthropic's client dumped in full: text, a call, its result."""
    claude = anthropic.Anthropic(api_key="none", base_url="http://127.0.0.1", http_client=client, max_retries=0)
    tools: Any = [{"name": "feed", "description": "Feeds a pet.", "input_schema": PETS}]
    ask: dict[str, Any] = {"model": "tuned", "max_tokens": 100, "tools": tools, "extra_body": {"temperature": 0}}
    turns: list[Any] = list(HELLO)
    for choice in ({"type": "none"}, {"type": "any", "disable_parallel_tool_use": True}, {"type": "none"}):
        made = claude.messages.create(messages=turns, tool_choice=choice, **ask)
        turns.append({"role": "assistant", "content": made.model_dump()["content"]})
        results = [{"type": "tool_result", "tool_use_id": block.id, "content": "fed"}
                   for block in made.content if block.type == "tool_use"]  # fmt: skip
        turns.append({"role": "user", "content": results or "hello"})
        (tmp_path / "turns.json").write_text(json.dumps(turns))
        turns = json.loads((tmp_path / "turns.json").read_text())
    assert [block["type"] for turn in turns[1::2] for block in turn["content"]] == ["text", "tool_use", "text"]
    assert claude.messages.create(messages=turns, tool_choice={"type": "none"}, **ask).content


def test_embeddings_are_the_same_in_each_form(official: openai.OpenAI, client: TestClient) -> None:
    """The client decodes base64 by itself; floats, and a request without a format, are the same numbers."""
    texts = ["the cat", "the dog"]
    decoded = [row.embedding for row in official.embeddings.create(model="tuned", input=texts).data]
    floats = official.embeddings.create(model="tuned", input=texts, encoding_format="float").data
    plain = client.post("/v1/embeddings", json={"model": "tuned", "input": texts}).json()["data"]
    for one, other, third in zip(decoded, floats, plain, strict=True):
        assert one == pytest.approx(other.embedding, abs=1e-6)
        assert third["embedding"] == pytest.approx(other.embedding, abs=1e-6)


# -- recorded requests ---------------------------------------------------------------------------------------------


def named(request: dict[str, Any]) -> str:
    """Return the client and route of a recorded request."""
    return f"{request['client'].partition(' ')[0]}{request['path'].removeprefix('/v1')}"


def streamed(path: str, text: str) -> Any:
    """Return the object that the events of a stream add up to, each of them of the official type."""
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines()
              if line.startswith("data: ") and line != "data: [DONE]"]  # fmt: skip
    if path == "/v1/responses":
        return events[-1]["response"]
    model = ChatCompletionChunk if path == "/v1/chat/completions" else Completion
    choices = [choice for event in events for choice in event["choices"]]
    for event in events:
        of_type = [choice | {"finish_reason": choice["finish_reason"] or "stop"} for choice in event["choices"]]
        model.model_validate(event | {"choices": of_type})  # a stream has null until its end, whatever the type says
    said = "".join((choice.get("delta") or choice).get("content") or choice.get("text") or "" for choice in choices)
    calls = [call["function"] for choice in choices for call in choice.get("delta", {}).get("tool_calls") or []]
    names, arguments = ("".join(call.get(key) or "" for call in calls) for key in ("name", "arguments"))
    call = {"tool_calls": [{"function": {"name": names, "arguments": arguments}}]} if calls else {}
    usage = [event["usage"] for event in events if event.get("usage")]
    return {"choices": [{"message": {"content": said, **call}, "text": said,
                         "finish_reason": choices[-1]["finish_reason"]}], "usage": usage[-1]}  # fmt: skip


def essence(path: str, answer: Any) -> Any:
    """Return what an answer says, its calls, why it ended, and the numbers of tokens."""
    if path == "/v1/responses":
        kept = ("text", "name", "arguments")
        parts = [part for item in answer["output"] for part in item.get("content") or [item]]
        counts = [answer["usage"][name] for name in ("input_tokens", "output_tokens")]
        return [{name: part[name] for name in kept if name in part} for part in parts], answer["status"], counts
    [choice] = answer["choices"]
    counts = [answer["usage"][name] for name in ("prompt_tokens", "completion_tokens")]
    message = choice.get("message") or {}
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return message.get("content") or choice.get("text") or "", calls, choice["finish_reason"], counts


@pytest.mark.parametrize("request_", GENERATING, ids=named)
def test_a_recorded_request_is_answered_in_the_official_form(client: TestClient, request_: dict[str, Any]) -> None:
    """As sent, greedy; whole and streamed it says the same; stops, lengths, forms and choices of tools hold."""
    path, body, headers = request_["path"], request_["body"] | {"temperature": 0}, request_["headers"]
    body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    whole = client.post(path, json=body, headers=headers)
    assert whole.status_code == 200, whole.text
    TYPES[path].model_validate(whole.json())
    if path == "/v1/messages":
        assert whole.json()["usage"]["output_tokens"] <= body["max_tokens"]
        return
    asked = {"stream": True} | ({} if path == "/v1/responses" else {"stream_options": {"include_usage": True}})
    stream = client.post(path, json=body | asked, headers=headers)
    assert stream.headers["content-type"].startswith("text/event-stream"), stream.text
    found = essence(path, whole.json())
    assert essence(path, streamed(path, stream.text)) == found
    assert found[-1][1] <= next(body[name] for name in body if name.startswith("max_"))
    assert not any(stop in str(found[0]) for stop in body.get("stop", []))
    if (form := form_of(body)) is not None:
        text = found[0] if path == "/v1/chat/completions" else found[0][0]["text"]
        assert jsonschema_rs.is_valid(form, json.loads(text)), text
    if isinstance(body.get("tool_choice"), dict) or body.get("tool_choice") == "required":
        [call] = found[1] if path == "/v1/chat/completions" else found[0]
        assert json.loads(call["arguments"]) in ({"pet": "cat"}, {"pet": "dog"})


def form_of(body: dict[str, Any]) -> Any:
    """Return the schema that a body asks for, None without one."""
    if "response_format" in body:
        return body["response_format"]["json_schema"]["schema"]
    return body.get("text", {}).get("format", {}).get("schema")


@pytest.mark.parametrize("request_", [one for one in GENERATING if "messages" in one["body"]], ids=named)
def test_a_recorded_conversation_is_read_as_its_plain_messages(client: TestClient, request_: dict[str, Any]) -> None:
    """Whatever a client adds or leaves out: the prompt is that of roles, texts, calls and results."""
    body = request_["body"]
    system = [{"role": "system", "content": plain_text(body["system"])}] if "system" in body else []
    turns: list[dict[str, Any]] = []
    for turn in [*system, *body["messages"]]:
        names = ("role", "tool_calls", "tool_call_id", "reasoning_content")
        kept = {name: turn[name] for name in names if turn.get(name)}
        turns.append(kept | {"content": plain_text(turn.get("content") or "")})
    tools = {name: body[name] for name in ("tools", "tool_choice") if name in body}
    counted = client.post("/tokenize", json={"messages": turns, **tools}).json()["count"]
    answer = client.post(request_["path"], json=body | {"stream": False, "stream_options": None}).json()
    used = answer["usage"]
    if "prompt_tokens" in used:
        assert used["prompt_tokens"] == counted
    else:
        assert used["input_tokens"] + (used["cache_read_input_tokens"] or 0) == counted


def plain_text(content: Any) -> str:
    """Return a content's text, which may come in parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
