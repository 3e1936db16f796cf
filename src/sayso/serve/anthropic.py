"""Anthropic's routes: POST /v1/messages and /v1/messages/count_tokens.

A body is converted to that of a chat, so that all routes behave alike; the reply is returned as content blocks, whole
or as Anthropic's stream events. Prompts are not stored, and nothing is cached on request: `cache_control` is a label.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from sayso.base.errors import UserError
from sayso.serve.anthropic_reply import MessageReply
from sayso.serve.body import STRINGS, Number, Strict, refusal
from sayso.serve.completions import read_chat
from sayso.serve.encode import Json
from sayso.serve.errors import anthropic_error, failure, status_of
from sayso.serve.openai import MOST_MESSAGES, ChatRequest
from sayso.serve.served_model import ServedModel
from sayso.serve.stream import EventStream, collect, event
from sayso.serve.worker import ClosingError, EngineJob

_LABELS = {"cache_control"}
_BLOCKS = {
    "text": {"type", "text", "citations"},
    "tool_use": {"type", "id", "name", "input", "caller", "toolset_name"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "toolset_name"},
    "thinking": {"type", "thinking", "signature"},
}
"""Fields of the content blocks that a text model can read."""
_TOOL = {"type", "name", "description", "input_schema", "strict", "eager_input_streaming"}
_TOOL_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "allowed_callers": (["direct"], [], None), "defer_loading": (False, None), "input_examples": ([], None),
}  # fmt: skip
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class MessageTurn(Strict):
    """One message: a text, or a list of content blocks."""

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class Thinking(Strict):
    """Anthropic's `thinking`; a budget is a hint."""

    neutral: ClassVar[Mapping[str, Any]] = {"display": ("summarized",)}

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Field(ge=1024)] | None = None

    @property
    def effort(self) -> str | None:
        """The effort that has the same effect in a chat; None leaves the choice to the chat template."""
        return {"enabled": "medium", "disabled": "none"}.get(self.type)


class OutputFormat(Strict):
    """The format of the text: JSON that follows a schema."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]

    def chat_body(self) -> dict[str, Any]:
        """Return it as a chat's `response_format`."""
        return {"type": "json_schema", "json_schema": {"name": "output", "schema": self.schema_, "strict": True}}


class OutputConfig(Strict):
    """Anthropic's `output_config`; the effort has no effect on a model that does not think."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class CountRequest(Strict):
    """The body of POST /v1/messages/count_tokens."""

    neutral: ClassVar[Mapping[str, Any]] = {
        "service_tier": ("auto", "standard_only"), "container": (), "mcp_servers": ([],), "context_management": (),
        "betas": ([],), "inference_geo": (), "speed": ("standard",), "diagnostics": (), "metadata": STRINGS,
    }  # fmt: skip

    model: str
    messages: Annotated[list[MessageTurn], Field(min_length=1, max_length=MOST_MESSAGES)]
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: dict[str, Any] | None = None  # a label, as are the next two
    user_profile_id: str | None = None
    workspace_id: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def chat_body(self) -> dict[str, Any]:
        """Return the conversation as the body of a chat. Raises a validation error for blocks that are not text."""
        form = self.output_config.format if self.output_config else None
        messages = [{"role": "system", "content": _text(self.system, "system")}] if self.system else []
        for place, turn in enumerate(self.messages):
            messages += _turns(turn, f"messages.{place}.content")
        prefilled = messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls")
        choice, parallel = _choice(self.tool_choice)
        return {
            "model": self.model,
            "messages": messages,
            "tools": [_tool(tool, place) for place, tool in enumerate(self.tools)] if self.tools else None,
            "tool_choice": choice,
            "parallel_tool_calls": parallel,
            "continue_final_message": prefilled or None,
            "response_format": form.chat_body() if form else None,
            "reasoning_effort": self.thinking.effort if self.thinking else None,
            "chat_template_kwargs": self.chat_template_kwargs,
        }

    def chat(self) -> ChatRequest:
        """Return it as a chat. Raises `RequestValidationError` for anything that a chat would reject."""
        try:
            return ChatRequest.model_validate(self.chat_body())
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        except PydanticCustomError as error:
            problem = {"type": "refused", "loc": (), "msg": error.message(), "input": None, "ctx": error.context}
            raise RequestValidationError([problem]) from error


class MessageRequest(CountRequest):
    """The body of POST /v1/messages."""

    max_tokens: Annotated[int, Field(ge=1)]
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None

    def chat_body(self) -> dict[str, Any]:
        """Return the body of a chat with the sampling settings."""
        return super().chat_body() | {
            "max_completion_tokens": self.max_tokens,
            "stop": self.stop_sequences or None,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
        }


def anthropic_routes(model: ServedModel) -> APIRouter:
    """Return the routes for one served model."""
    router = APIRouter(prefix="/v1")

    @router.post("/messages")
    async def messages(body: MessageRequest, request: Request) -> Response:
        model.adapter(body.model)  # before any other error in the body
        prompt, terms, tools = await read_chat(model, body.chat())
        job = await model.speak([prompt], terms)
        reply = MessageReply(terms.adapter or model.name, job.choices[0], calls=tools.calls, reasoning=terms.reasoning)
        if body.stream:
            return EventStream(_events(job, reply), model.worker, job)
        for piece in await collect(model.worker, job, request):
            reply.push(piece)
        return Json(reply.message)

    @router.post("/messages/count_tokens")
    async def count_tokens(body: CountRequest) -> dict[str, int]:
        model.adapter(body.model)
        prompt, _, _ = await read_chat(model, body.chat())
        return {"input_tokens": len(prompt)}

    return router


async def _events(job: EngineJob, reply: MessageReply) -> AsyncIterator[str]:
    try:
        async for piece in job:
            for one in reply.push(piece):
                yield event(one, one["type"])
    except Exception as error:  # the status is sent already: the stream itself must report it
        body = anthropic_error(status_of(error), failure(error)["error"]["message"])
        yield event(body, "error")
        if not isinstance(error, UserError | ClosingError):
            raise


def _turns(turn: MessageTurn, where: str) -> Iterator[dict[str, Any]]:
    """Yield one message as a chat's: results of tools first, then the text with the calls that belong to it."""
    if isinstance(turn.content, str):
        yield {"role": turn.role, "content": turn.content}
        return
    texts, calls, thoughts = [], list[dict[str, Any]](), list[str]()
    for place, block in enumerate(turn.content):
        kind = _kind(block, f"{where}.{place}")
        if kind == "text":
            texts.append(_text([block], f"{where}.{place}"))
        elif kind == "thinking":
            thoughts.append(str(block.get("thinking") or ""))
        elif kind == "tool_use":
            function = {"name": block.get("name"), "arguments": json.dumps(block.get("input") or {})}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        elif kind == "tool_result":
            content = _text(block.get("content") or "", f"{where}.{place}.content")
            text = f"Error: {content}" if block.get("is_error") else content
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text}
    if texts or calls or thoughts or not turn.content:
        message: dict[str, Any] = {"role": turn.role, "content": "".join(texts)}
        if any(thoughts):
            message["reasoning_content"] = "".join(thoughts)
        yield message | ({"tool_calls": calls} if calls else {})


def _kind(block: Mapping[str, Any], where: str) -> str:
    """Return the type of a content block; reject types that are not text, and unknown fields."""
    kind = str(block.get("type"))
    if kind not in _BLOCKS:
        text = f"A content block must be one of: {', '.join(_BLOCKS)}; got '{kind[:100]}'. This model reads only text."
        raise refusal(where, "invalid_value", text)
    if unknown := sorted(block.keys() - _BLOCKS[kind] - _LABELS):
        text = f"A content block of type '{kind}' has no '{unknown[0][:100]}'."
        raise refusal(f"{where}.{unknown[0][:100]}", "unknown_parameter", text)
    return kind


def _text(content: str | list[dict[str, Any]], where: str) -> str:
    """Return a text, or the joined text of content blocks."""
    if isinstance(content, str):
        return content
    for place, block in enumerate(content):
        kind = _kind(block, f"{where}.{place}") if isinstance(block, dict) else type(block).__name__
        if kind != "text" or not isinstance(block.get("text"), str):
            text = f"Only text is allowed here; got a block of type '{kind[:100]}'."
            raise refusal(f"{where}.{place}", "invalid_value", text)
    return "".join(block["text"] for block in content)


def _tool(tool: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Return a tool in a chat's form; Anthropic's own tools, which run on its servers, are rejected."""
    if tool.get("type", "custom") not in ("custom", None):
        text = f"Only tools with an 'input_schema' are supported; got the type '{str(tool['type'])[:100]}'."
        raise refusal(f"tools.{place}.type", "unsupported_parameter", text)
    if not isinstance(tool.get("input_schema"), dict):
        raise refusal(f"tools.{place}.input_schema", "invalid_value", "A tool needs an 'input_schema', a JSON object.")
    for name in sorted(tool.keys() - _TOOL - _LABELS):
        if name not in _TOOL_NEUTRAL or tool[name] not in _TOOL_NEUTRAL[name]:
            text = f"'{name[:100]}' of a tool is not supported here; omit it."
            raise refusal(f"tools.{place}.{name[:100]}", "unsupported_parameter", text)
    function = {"name": tool.get("name"), "description": tool.get("description"), "strict": tool.get("strict")}
    return {"type": "function", "function": {**function, "parameters": tool.get("input_schema")}}


def _choice(choice: Mapping[str, Any] | None) -> tuple[Any, bool | None]:
    """Return a `tool_choice` in a chat's form, and whether several calls are allowed."""
    if choice is None:
        return None, None
    kind, single = choice.get("type"), bool(choice.get("disable_parallel_tool_use"))
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}, not single
    if kind not in _CHOICES:
        text = f"'tool_choice.type' must be auto, any, tool or none; got '{str(kind)[:100]}'."
        raise refusal("tool_choice.type", "invalid_value", text)
    return _CHOICES[kind], not single
