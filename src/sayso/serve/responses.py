"""POST /v1/responses, OpenAI's newer route, stateless: each request contains the whole conversation.

Its body is converted to that of a chat, so that both behave alike; the reply is returned as output items or events.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import Field, ValidationError, field_validator

from sayso.base.errors import UserError
from sayso.serve.body import NEUTRAL, Strict, refusal
from sayso.serve.completions import read_chat, reported_logprobs
from sayso.serve.encode import Json
from sayso.serve.errors import failure
from sayso.serve.fields import MOST_TOPS, SamplingFields
from sayso.serve.openai import MOST_MESSAGES, ChatRequest
from sayso.serve.output import Output, new_response
from sayso.serve.served_model import ServedModel
from sayso.serve.setting_fields import settings_of, with_settings
from sayso.serve.stream import EventStream, collect, event
from sayso.serve.worker import ClosingError, EngineJob

LOGPROBS = "message.output_text.logprobs"
ITEMS = {
    "message": {"type", "role", "content", "id", "status", "phase"},
    "function_call": {"type", "call_id", "name", "arguments", "id", "status"},
    "function_call_output": {"type", "call_id", "output", "id", "status"},
}


class Format(Strict):
    """Format of the text: OpenAI's `text.format`, flatter than a chat's `response_format`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None
    description: str | None = None

    def of_chat(self) -> dict[str, Any]:
        """Return it as a chat's `response_format`."""
        if self.type != "json_schema":
            return {"type": self.type}
        own = {"name": self.name, "schema": self.schema_, "strict": self.strict, "description": self.description}
        return {"type": self.type, "json_schema": own}


class TextOptions(Strict):
    """OpenAI's `text`."""

    format: Format | None = None


@with_settings(without="max_tokens")
class ResponsesRequest(SamplingFields):
    """The body of POST /v1/responses."""

    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **NEUTRAL, "previous_response_id": (), "conversation": (), "background": (False,), "include": ([],),
        "prompt": (), "reasoning": ({},), "truncation": ("disabled",), "max_tool_calls": (),
        "context_management": ([],), "background_options": (), "access_programs": ([],), "image": (),
        "stream_options": ({},),
    }  # fmt: skip

    model: str | None = None
    input: str | list[Any]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    text: TextOptions | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    include: list[Literal["message.output_text.logprobs"]] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    metadata: dict[str, str] | None = None

    @field_validator("input")
    @classmethod
    def known_items(cls, given: Any) -> Any:
        """Reject no items, too many, and those that a text model cannot read."""
        if not given or (isinstance(given, list) and len(given) > MOST_MESSAGES):
            raise ValueError(f"'input' must have from 1 to {MOST_MESSAGES} items, or be a text that is not empty")
        for place, item in enumerate(given if isinstance(given, list) else []):
            kind = item.get("type", "message") if isinstance(item, dict) else type(item).__name__
            if not isinstance(kind, str) or kind not in ITEMS:
                text = f"An input item must be one of: {', '.join(ITEMS)}; got '{str(kind)[:100]}'."
                raise refusal(str(place), "invalid_value", text)
            if unknown := [name for name in item if name not in ITEMS[kind]]:
                raise refusal(
                    f"{place}.{unknown[0][:100]}", "unknown_parameter", f"A {kind} has no '{unknown[0][:100]}'."
                )
        return given

    def chat(self) -> ChatRequest:
        """Return it as a chat. Raises `RequestValidationError` for anything that a chat would reject."""
        same = self.model_dump(exclude_none=True, include=set(SamplingFields.model_fields)) | settings_of(self)
        messages = [{"role": "system", "content": self.instructions}] if self.instructions else []
        told = LOGPROBS in (self.include or [])
        form = self.text.format if self.text else None
        body = same | {
            "model": self.model,
            "messages": [*messages, *_messages(self.input)],
            "max_completion_tokens": self.max_output_tokens,
            "tools": [_tool_of_chat(tool) for tool in self.tools] if self.tools else None,
            "tool_choice": _choice_of_chat(self.tool_choice),
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": form.of_chat() if form else None,
            "logprobs": told or None,
            "top_logprobs": self.top_logprobs if told else None,
        }
        try:
            return ChatRequest.model_validate(body)
        except ValidationError as error:
            # Items have other positions than a chat's messages: report only the field's name.
            raise RequestValidationError([_of_input(problem) for problem in error.errors()]) from error


_FIELDS = {
    ("messages",): ("input",),
    ("response_format", "json_schema"): ("text", "format"),
    ("response_format",): ("text", "format"),
    ("max_completion_tokens",): ("max_output_tokens",),
}
"""Fields of a chat that have another name here."""


def _of_input(problem: Mapping[str, Any]) -> dict[str, Any]:
    loc = problem["loc"]
    for chat, own in _FIELDS.items():
        if loc[: len(chat)] == chat:
            loc = own if chat == ("messages",) else (*own, *loc[len(chat) :])
            break
    return {**problem, "loc": loc}


def response_routes(voice: ServedModel) -> APIRouter:
    """Return the route for one served model."""
    router = APIRouter(prefix="/v1")

    @router.post("/responses")
    async def respond(asked: ResponsesRequest, request: Request) -> Response:
        voice.adapter(asked.model)  # before any other error in the body
        chat = asked.chat()
        prompt, terms, tools = await read_chat(voice, chat)
        job = await voice.speak([prompt], terms)
        response = new_response(terms.adapter or voice.name, terms.sampling, _echoed(asked))
        output = Output(response, reported_logprobs(voice, chat), job.choices[0].request, calls=tools.calls)
        if asked.stream:
            return EventStream(_events(job, output), voice.worker, job)
        for piece in await collect(voice.worker, job, request):
            output.push(piece)
        return Json(output.response)

    return router


async def _events(job: EngineJob, output: Output) -> AsyncIterator[str]:
    for one in output.begin():
        yield event(one, one["type"])
    try:
        async for piece in job:
            for one in output.push(piece):
                yield event(one, one["type"])
    except Exception as error:  # the status is sent already: the stream itself must report it
        for one in output.fail(failure(error)["error"]["message"]):
            yield event(one, one["type"])
        if not isinstance(error, UserError | ClosingError):
            raise


def _echoed(asked: ResponsesRequest) -> dict[str, Any]:
    """Return the part of the request that a response repeats."""
    form = asked.text.format if asked.text else None
    return {
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "metadata": asked.metadata or {},
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "text": {"format": form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}},
        "tool_choice": asked.tool_choice or "auto",
        "tools": asked.tools or [],
        "top_logprobs": asked.top_logprobs or 0,
    }


def _messages(given: str | list[Any]) -> list[dict[str, Any]]:
    """Return input items as a chat's messages; calls belong to the assistant's message before them."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    done: list[dict[str, Any]] = []
    for item in given:
        kind = item.get("type", "message")
        if kind == "function_call_output":
            done.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _text(item.get("output"))})
        elif kind == "function_call":
            if not done or done[-1]["role"] != "assistant":
                done.append({"role": "assistant", "content": "", "tool_calls": []})
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            done[-1].setdefault("tool_calls", []).append(call)
        else:
            done.append({"role": item.get("role"), "content": _text(item.get("content"))})
    return done


def _text(content: Any) -> Any:
    """Return text parts with the type that chats use."""
    if not isinstance(content, list):
        return content
    kinds = ("input_text", "output_text")
    return [
        {"type": "text", "text": part.get("text")} if isinstance(part, dict) and part.get("type") in kinds else part
        for part in content
    ]


def _tool_of_chat(tool: Any) -> Any:
    """Return a flat function in a chat's form; a chat validates it."""
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        return tool
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _choice_of_chat(choice: Any) -> Any:
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice
