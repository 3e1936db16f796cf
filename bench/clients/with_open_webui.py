"""The requests of Open WebUI 0.12.4, written out from what it sends: models, chats and responses, background tasks."""

import json
from typing import Any
from urllib.request import Request, urlopen

from checks import MESSAGES, MODEL, TOOL, expect, run

HEADERS = {
    "Content-Type": "application/json", "Authorization": "Bearer none", "X-OpenWebUI-User-Name": "A",
    "X-OpenWebUI-User-Id": "1", "X-OpenWebUI-User-Email": "a@example.org", "X-OpenWebUI-User-Role": "user",
    "X-OpenWebUI-Chat-Id": "2",
}  # fmt: skip


def post(base_url: str, body: dict[str, Any], route: str = "chat/completions") -> str:
    """Return the answer of a route."""
    request = Request(f"{base_url}/{route}", json.dumps({"model": MODEL} | body).encode(), HEADERS)
    with urlopen(request) as answer:
        return str(answer.read().decode())


def events(base_url: str, body: dict[str, Any]) -> list[Any]:
    """Return the chunks of a streamed chat, read by lines as Open WebUI does."""
    lines = [line for line in post(base_url, body | {"stream": True}).splitlines() if line]
    expect(lines[-1] == "data: [DONE]", lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def models(base_url: str) -> None:
    """The connection test: a list of models."""
    with urlopen(Request(f"{base_url}/models", headers=HEADERS)) as answer:
        listed = json.load(answer)
    expect(MODEL in [model["id"] for model in listed["data"]], listed)


def chat(base_url: str) -> None:
    """A chat as the page sends it, with the parameters of its advanced settings."""
    found = events(base_url, {
        "messages": MESSAGES, "stream_options": {"include_usage": True}, "max_tokens": 8, "temperature": 0.8,
        "top_p": 0.9, "top_k": 40, "min_p": 0.0, "frequency_penalty": 0.1, "presence_penalty": 0.1,
 "seed": 1, "stop": ["###"], "logit_bias": {"5": -10}, "reasoning_effort": "low",
    })  # fmt: skip
    expect(found[-1]["usage"]["completion_tokens"] <= 8, found)


def parts(base_url: str) -> None:
    """Messages whose content is a list of text parts, after an empty reply."""
    part = [{"type": "text", "text": "hello"}]
    messages = [{"role": "user", "content": part}, {"role": "assistant", "content": ""},
                {"role": "user", "content": part}]  # fmt: skip
    expect(events(base_url, {"messages": messages, "max_tokens": 4}), messages)


def native_tools(base_url: str) -> None:
    """Native function calling: tools in a stream, then their results."""
    call = {"id": "call_1", "index": 0, "type": "function",
            "function": {"name": "feed", "arguments": '{"pet": "cat"}'}}  # fmt: skip
    messages = [
        *MESSAGES, {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "A pet."},
        {"role": "tool", "tool_call_id": "call_1", "content": "fed"},
    ]  # fmt: skip
    for turns in (MESSAGES, messages):
        expect(events(base_url, {"messages": turns, "tools": [TOOL], "max_tokens": 8}), turns)


def responses(base_url: str) -> None:
    """A connection of the type "responses": instructions, parts of text, a call and its result."""
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "the cat"}]},
        {"type": "function_call", "call_id": "call_1", "name": "feed", "arguments": '{"pet": "cat"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "fed"},
    ]
    tool = {"type": "function", "strict": False} | TOOL["function"]
    body = {"instructions": "Be short.", "input": items, "tools": [tool], "max_output_tokens": 16, "stream": True}
    lines = [line for line in post(base_url, body, "responses").splitlines() if line.startswith("data: ")]
    found = json.loads(lines[-1].removeprefix("data: "))
    expect(found["type"] in {"response.completed", "response.incomplete"}, lines)


def tasks(base_url: str) -> None:
    """The title, tags and follow-ups of a chat, written in the background."""
    messages = [{"role": "user", "content": "### Task:\nGenerate a concise title of the chat as JSON."}]
    for limit in ("max_tokens", "max_completion_tokens"):
        found = json.loads(post(base_url, {"messages": messages, "stream": False, limit: 8}))
        expect(isinstance(found["choices"][0]["message"]["content"], str), found)


if __name__ == "__main__":
    run("open-webui", models, chat, parts, native_tools, responses, tasks, package="-")
