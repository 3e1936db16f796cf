"""OpenAI's own client: chat, completions, responses, embeddings, streaming, tools, parse."""

import json
from enum import Enum

from checks import MESSAGES, MODEL, PETS, TOOL, expect, run
from openai import OpenAI
from pydantic import BaseModel


class Pet(Enum):
    """A pet."""

    cat = "cat"
    dog = "dog"


class Answer(BaseModel):
    """What `parse` gives."""

    pet: Pet


def client(base_url: str) -> OpenAI:
    """Return the client."""
    return OpenAI(base_url=base_url, api_key="none", max_retries=0)


def models(base_url: str) -> None:
    """The served model is listed and found by name."""
    listed = client(base_url).models.list().data
    expect(MODEL in [model.id for model in listed], listed)
    expect(client(base_url).models.retrieve(MODEL).id == MODEL, listed)


def chat(base_url: str) -> None:
    """A reply, its usage and its reason to finish; the message is accepted back."""
    api = client(base_url)
    found = api.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=6, temperature=0)
    expect(found.choices[0].finish_reason in {"length", "stop"}, found)
    expect(found.usage and found.usage.completion_tokens <= 6, found)
    again = [*MESSAGES, found.choices[0].message.model_dump(), {"role": "user", "content": "more"}]
    expect(api.chat.completions.create(model=MODEL, messages=again, max_tokens=3).choices, again)


def chat_stream(base_url: str) -> None:
    """A greedy stream says what the whole reply says, and its last chunk has the usage."""
    api = client(base_url)
    whole = api.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=8, temperature=0)
    chunks = list(api.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=8, temperature=0, stream=True,
        stream_options={"include_usage": True},
    ))  # fmt: skip
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    expect(text == whole.choices[0].message.content, (text, whole))
    expect(chunks[-1].usage == whole.usage, chunks[-1])


def completions(base_url: str) -> None:
    """Several prompts, log-probabilities, and more than four stop texts."""
    stop = ["a", "e", "i", "o", "u", "\n"]
    found = client(base_url).completions.create(
        model=MODEL, prompt=["the cat", "the dog"], max_tokens=6, logprobs=1, stop=stop
    )
    expect(len(found.choices) == 2, found)
    expect(not any(text in choice.text for choice in found.choices for text in stop), found)


def tools(base_url: str) -> None:
    """A required call has valid arguments, and its result is accepted."""
    api = client(base_url)
    found = api.chat.completions.create(
        model=MODEL, messages=MESSAGES, tools=[TOOL], tool_choice="required", max_tokens=200
    )
    message = found.choices[0].message
    call = (message.tool_calls or [])[0]
    expect(call.type == "function" and json.loads(call.function.arguments)["pet"] in PETS, found)
    done = {"role": "tool", "tool_call_id": call.id, "content": "fed"}
    expect(api.chat.completions.create(
        model=MODEL, messages=[*MESSAGES, message, done], tools=[TOOL], max_tokens=4
    ).choices, call)  # fmt: skip


def tools_stream(base_url: str) -> None:
    """The client's helper assembles a streamed call; only one, since a random model may never cease to call."""
    with client(base_url).chat.completions.stream(
        model=MODEL, messages=MESSAGES, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=200
    ) as stream:
        found = stream.get_final_completion()
    calls = found.choices[0].message.tool_calls or []
    expect(json.loads(calls[0].function.arguments)["pet"] in PETS, found)


def parse(base_url: str) -> None:
    """Structured output arrives as the class asked for."""
    found = client(base_url).chat.completions.parse(
        model=MODEL, messages=MESSAGES, response_format=Answer, max_tokens=200
    )
    expect(isinstance(found.choices[0].message.parsed, Answer), found)


def responses(base_url: str) -> None:
    """A response, and one parsed."""
    api = client(base_url)
    found = api.responses.create(model=MODEL, input="hello", instructions="Be short.", max_output_tokens=16)
    expect(found.output_text is not None and found.usage, found)
    parsed = api.responses.parse(model=MODEL, input="hello", text_format=Answer, max_output_tokens=200)
    expect(isinstance(parsed.output_parsed, Answer), parsed)


def responses_stream(base_url: str) -> None:
    """The events of a response end in one that holds it all."""
    with client(base_url).responses.stream(model=MODEL, input="hello", max_output_tokens=16) as stream:
        events = list(stream)
    expect(events[0].type == "response.created", events)
    expect(events[-1].type in {"response.completed", "response.incomplete"}, events[-1])


def embeddings(base_url: str) -> None:
    """The client asks for base64 and decodes it."""
    found = client(base_url).embeddings.create(model=MODEL, input=["the cat", "the dog"])
    expect(len(found.data) == 2 and isinstance(found.data[0].embedding[0], float), found)


if __name__ == "__main__":
    run("openai", models, chat, chat_stream, completions, tools, tools_stream, parse, responses, responses_stream,
        embeddings)  # fmt: skip
