"""LiteLLM: its OpenAI-compatible provider, whole, streamed, with tools, and its Anthropic provider."""

import json
from typing import Any

import litellm
from checks import MESSAGES, MODEL, PETS, TOOL, expect, run


def chat(base_url: str) -> None:
    """A reply with its usage."""
    found = litellm.completion(
        model=f"openai/{MODEL}", messages=MESSAGES, api_base=base_url, api_key="none", max_tokens=6
    )
    expect(0 < found.usage.completion_tokens <= 6, found)


def stream(base_url: str) -> None:
    """A stream, its usage, and the whole reply that LiteLLM builds from it."""
    chunks = list(litellm.completion(
        model=f"openai/{MODEL}", messages=MESSAGES, api_base=base_url, api_key="none", max_tokens=6, stream=True,
        stream_options={"include_usage": True},
    ))  # fmt: skip
    built = litellm.stream_chunk_builder(chunks, messages=MESSAGES)
    expect(built.choices[0].finish_reason in {"length", "stop"} and built.usage.completion_tokens <= 6, built)


def tools(base_url: str) -> None:
    """A required call has valid arguments, whole and streamed, and the message is accepted back with its result."""
    options: Any = {
        "model": f"openai/{MODEL}", "api_base": base_url, "api_key": "none", "tools": [TOOL], "max_tokens": 200,
    }  # fmt: skip
    required = options | {"tool_choice": "required", "parallel_tool_calls": False}
    found = litellm.completion(messages=MESSAGES, **required)
    chunks = list(litellm.completion(messages=MESSAGES, stream=True, **required))
    for made in (found, litellm.stream_chunk_builder(chunks, messages=MESSAGES)):
        message = made.choices[0].message
        call = message.tool_calls[0]
        expect(json.loads(call.function.arguments)["pet"] in PETS, made)
        done = {"role": "tool", "tool_call_id": call.id, "name": "feed", "content": "fed"}
        for turn in (message, message.model_dump()):
            again = litellm.completion(messages=[*MESSAGES, turn, done], **options | {"max_tokens": 4})
            expect(again.choices, again)


def text(base_url: str) -> None:
    """A raw completion."""
    found = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="the cat", api_base=base_url, api_key="none", max_tokens=6
    )
    expect(isinstance(found.choices[0].text, str), found)


def responses(base_url: str) -> None:
    """A response, whole and streamed, and its output accepted back."""
    options: Any = {"model": f"openai/{MODEL}", "api_base": base_url, "api_key": "none", "max_output_tokens": 16}
    found = litellm.responses(input="hello", **options)
    expect(found.output, found)
    events = list(litellm.responses(input="hello", stream=True, **options))
    expect(events[-1].type in {"response.completed", "response.incomplete"}, events[-1])
    hello = {"role": "user", "content": "hello"}
    again = [hello, *(item.model_dump() for item in found.output), hello]
    expect(litellm.responses(input=again, **options).output, again)


def embeddings(base_url: str) -> None:
    """Two embeddings."""
    found = litellm.embedding(model=f"openai/{MODEL}", input=["the cat", "the dog"], api_base=base_url, api_key="none")
    expect(len(found.data) == 2, found)


def anthropic(base_url: str) -> None:
    """A message by Anthropic's route."""
    found = litellm.completion(
        model=f"anthropic/{MODEL}", messages=MESSAGES, api_base=base_url.removesuffix("/v1"), api_key="none",
        max_tokens=6,
    )  # fmt: skip
    expect(found.usage.completion_tokens <= 6, found)


if __name__ == "__main__":
    run("litellm", chat, stream, tools, text, responses, embeddings, anthropic)
