"""LiteLLM: its OpenAI-compatible provider, whole, streamed, with tools, and its Anthropic provider."""

import json

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
    """A required call has valid arguments."""
    found = litellm.completion(
        model=f"openai/{MODEL}", messages=MESSAGES, api_base=base_url, api_key="none", tools=[TOOL],
        tool_choice="required", max_tokens=200,
    )  # fmt: skip
    expect(json.loads(found.choices[0].message.tool_calls[0].function.arguments)["pet"] in PETS, found)


def text(base_url: str) -> None:
    """A raw completion."""
    found = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="the cat", api_base=base_url, api_key="none", max_tokens=6
    )
    expect(isinstance(found.choices[0].text, str), found)


def responses(base_url: str) -> None:
    """A response."""
    found = litellm.responses(
        model=f"openai/{MODEL}", input="hello", api_base=base_url, api_key="none", max_output_tokens=16
    )
    expect(found.output, found)


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
