"""Anthropic's own client: messages, streaming, tools, the count of tokens."""

from typing import Any

from anthropic import Anthropic
from checks import MODEL, PETS, SCHEMA, expect, run

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
TOOL: Any = {"name": "feed", "description": "Feeds a pet.", "input_schema": SCHEMA}


def client(base_url: str) -> Anthropic:
    """Return the client, which adds /v1 by itself."""
    return Anthropic(base_url=base_url.removesuffix("/v1"), api_key="none", max_retries=0)


def messages(base_url: str) -> None:
    """A message with a system prompt, its usage and its stop reason."""
    found = client(base_url).messages.create(model=MODEL, system="Be short.", messages=HELLO, max_tokens=6)
    expect(found.stop_reason in {"max_tokens", "end_turn"} and found.usage.output_tokens <= 6, found)


def stream(base_url: str) -> None:
    """The streamed text is the final message's."""
    with client(base_url).messages.stream(model=MODEL, messages=HELLO, max_tokens=6) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    expect(final.content[0].type == "text" and final.content[0].text == text, final)


def tools(base_url: str) -> None:
    """A tool is used with a valid input, and its result is accepted."""
    api = client(base_url)
    choice: Any = {"type": "any", "disable_parallel_tool_use": True}  # a random model may never cease to call
    found = api.messages.create(model=MODEL, messages=HELLO, tools=[TOOL], tool_choice=choice, max_tokens=200)
    call = found.content[-1]
    expect(found.stop_reason == "tool_use" and call.type == "tool_use" and call.input["pet"] in PETS, found)
    done = [{"type": "tool_result", "tool_use_id": call.id, "content": "fed"}]
    again = [*HELLO, {"role": "assistant", "content": found.content}, {"role": "user", "content": done}]
    expect(api.messages.create(model=MODEL, messages=again, tools=[TOOL], max_tokens=4).usage, again)


def count_tokens(base_url: str) -> None:
    """The count is that of the message itself, with what the cache held."""
    api = client(base_url)
    counted = api.messages.count_tokens(model=MODEL, messages=HELLO, tools=[TOOL]).input_tokens
    used = api.messages.create(model=MODEL, messages=HELLO, tools=[TOOL], max_tokens=1).usage
    expect(counted == used.input_tokens + (used.cache_read_input_tokens or 0), (counted, used))


if __name__ == "__main__":
    run("anthropic", messages, stream, tools, count_tokens)
