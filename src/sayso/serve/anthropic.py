"""Anthropic's routes: POST /v1/messages and /v1/messages/count_tokens.

A body is converted to that of a chat, so that all routes behave alike; the reply is returned as content blocks, whole
or as Anthropic's stream events. Nothing is cached on request: `cache_control` is a label.
"""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from sayso.base.errors import UserError
from sayso.base.ranges import LARGEST
from sayso.serve.anthropic_reply import MessageReply
from sayso.serve.blocks import chat_choice, chat_tool, chat_turns, joined_text
from sayso.serve.body import STRINGS, Length, Number, Strict
from sayso.serve.completions import read_chat
from sayso.serve.encode import Json
from sayso.serve.errors import anthropic_error, failure, status_of
from sayso.serve.openai import MOST_MESSAGES, ChatRequest
from sayso.serve.served_models import ServedModels
from sayso.serve.stream import EventStream, collect, event
from sayso.serve.wording import Wording
from sayso.serve.worker import ClosingError, EngineJob

_WORDING = Wording(
    {
        r"\btool_call_id$": "tool_use_id",
        r"^(tools\[\d+\])\.function\.parameters\b": r"\1.input_schema",
        r"^(tools\[\d+\])\.function\b": r"\1",
        r"^response_format(\.json_schema)?": "output_config.format",
        r"^max_(completion_)?tokens$": "max_tokens",
        r"^stop\b": "stop_sequences",
    }
)
"""Names of a chat's fields here."""


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

    def settings(self) -> dict[str, Any]:
        """Return all but the conversation as fields of a chat."""
        form = self.output_config.format if self.output_config else None
        choice, parallel = chat_choice(self.tool_choice)
        return {
            "model": self.model,
            "tools": [chat_tool(tool, number) for number, tool in enumerate(self.tools)] if self.tools else None,
            "tool_choice": choice,
            "parallel_tool_calls": parallel,
            "response_format": form.chat_body() if form else None,
            "reasoning_effort": self.thinking.effort if self.thinking else None,
            "chat_template_kwargs": self.chat_template_kwargs,
        }

    def chat(self) -> tuple[ChatRequest, Wording]:
        """Return it as a chat, with the words of its errors. Raises `ApiError` for anything that a chat would reject.

        An assistant's last message is continued, unless it is empty.
        """
        messages = (
            [("system", {"role": "system", "content": joined_text(self.system, "system")})] if self.system else []
        )
        for number, turn in enumerate(self.messages):
            messages += chat_turns(turn.role, turn.content, f"messages[{number}]")
        last = messages[-1][1]
        plain = last["role"] == "assistant" and not last.get("tool_calls")
        if plain and len(messages) > 1 and not last["content"] and "reasoning_content" not in last:
            messages.pop()
        wording = _WORDING.at([place for place, _ in messages])
        body = self.settings() | {
            "messages": [message for _, message in messages],
            "continue_final_message": (plain and bool(last["content"])) or None,
        }
        return wording.chat(body), wording


class MessageRequest(CountRequest):
    """The body of POST /v1/messages."""

    max_tokens: Annotated[int, Field(ge=1, le=LARGEST)]
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Length | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None

    def settings(self) -> dict[str, Any]:
        """Return all but the conversation as fields of a chat."""
        return super().settings() | {
            "max_completion_tokens": self.max_tokens,
            "stop": self.stop_sequences or None,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
        }


def anthropic_routes(models: ServedModels) -> APIRouter:
    """Return the routes for the served models."""
    router = APIRouter(prefix="/v1")

    @router.post("/messages")
    async def messages(body: MessageRequest, request: Request) -> Response:
        model = await models.pick_for(body.model, request)
        model.adapter(body.model)  # before any other error in the body
        chat, wording = body.chat()
        prompt, terms, tools = await read_chat(model, chat, wording=wording)
        job = await model.speak([prompt], terms, request)
        reply = MessageReply(terms.adapter or model.name, job.choices[0], calls=tools.calls, reasoning=terms.reasoning)
        if body.stream:
            return EventStream(_events(job, reply), partial(model.worker.stop, job), waits=job.waits)
        for piece in await collect(model.worker, job, request):
            reply.push(piece)
        return Json(reply.message)

    @router.post("/messages/count_tokens")
    async def count_tokens(body: CountRequest) -> dict[str, int]:
        model = models.pick(body.model)
        model.adapter(body.model)
        chat, wording = body.chat()
        prompt, _, _ = await read_chat(model, chat, wording=wording)
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
