"""LangChain's ChatOpenAI: whole, streamed, tools, structured output, the responses route; and OpenAIEmbeddings."""

from typing import Any, Literal

from checks import MESSAGES, MODEL, PETS, TOOL, expect, run
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

KEY = SecretStr("none")


class Answer(BaseModel):
    """What the structured output gives."""

    pet: Literal["cat", "dog"]


def model(base_url: str, **options: Any) -> ChatOpenAI:
    """Return the chat model."""
    return ChatOpenAI(model=MODEL, base_url=base_url, api_key=KEY, max_retries=0, **options)


def chat(base_url: str) -> None:
    """A reply with its usage, several at once, and stop texts."""
    found = model(base_url, max_tokens=6, temperature=0).invoke(MESSAGES, stop=["###"])
    expect(found.usage_metadata and found.usage_metadata["output_tokens"] <= 6, found)
    expect(len(model(base_url, max_tokens=6).batch(["hello", "good day"])) == 2, found)


def stream(base_url: str) -> None:
    """A greedy stream says what the whole reply says."""
    api = model(base_url, max_tokens=6, temperature=0, stream_usage=True)
    chunks = list(api.stream(MESSAGES))
    text = "".join(str(chunk.content) for chunk in chunks)
    expect(text == api.invoke(MESSAGES).content, chunks)
    expect(any(chunk.usage_metadata for chunk in chunks), chunks)


def tools(base_url: str) -> None:
    """A bound tool is called, and its result is accepted."""
    api = model(base_url, max_tokens=200)
    called = api.bind_tools([TOOL], tool_choice="feed").invoke(MESSAGES)
    expect(called.tool_calls[0]["args"]["pet"] in PETS, called)
    done = ToolMessage("fed", tool_call_id=called.tool_calls[0]["id"])
    turns = [HumanMessage("hello"), called, done]
    expect(model(base_url, max_tokens=4).bind_tools([TOOL]).invoke(turns).usage_metadata, called)


def structured(base_url: str) -> None:
    """Structured output by each method."""
    for method in ("json_schema", "function_calling"):
        found = model(base_url, max_tokens=200).with_structured_output(Answer, method=method).invoke(MESSAGES)
        expect(isinstance(found, Answer), found)


def responses(base_url: str) -> None:
    """The same by the responses route, whole and streamed; replies, calls and their results are accepted back."""
    api = model(base_url, max_tokens=16, use_responses_api=True)
    reply = api.invoke(MESSAGES)
    expect(reply.usage_metadata, "no usage")
    expect(list(api.stream(MESSAGES)), "no chunks")
    expect(api.invoke([*MESSAGES, reply, HumanMessage("more")]).usage_metadata, reply)
    calling = model(base_url, max_tokens=200, use_responses_api=True).bind_tools(
        [TOOL], tool_choice="feed", parallel_tool_calls=False
    )
    called = calling.invoke(MESSAGES)
    expect(called.tool_calls[0]["args"]["pet"] in PETS, called)
    done = ToolMessage("fed", tool_call_id=called.tool_calls[0]["id"])
    expect(api.invoke([*MESSAGES, called, done]).usage_metadata, called)
    parsed = model(base_url, max_tokens=200, use_responses_api=True).with_structured_output(Answer).invoke(MESSAGES)
    expect(isinstance(parsed, Answer), parsed)


def embeddings(base_url: str) -> None:
    """Embeddings of texts; LangChain sends ids of OpenAI's tokenizer unless told not to."""
    api = OpenAIEmbeddings(model=MODEL, base_url=base_url, api_key=KEY, check_embedding_ctx_length=False)
    expect(len(api.embed_documents(["the cat", "the dog"])) == 2, MODEL)


if __name__ == "__main__":
    run("langchain-openai", chat, stream, tools, structured, responses, embeddings)
