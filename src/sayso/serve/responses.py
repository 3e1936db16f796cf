"""POST /v1/responses, OpenAI's newer route, stateless: each request contains the whole conversation.

Its body is converted to that of a chat, so that both behave alike; the reply is returned as output items or events.
"""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field, field_validator, model_validator

from sayso.base.errors import UserError
from sayso.base.json_words import json_shown
from sayso.serve.body import NEUTRAL, VERBOSITIES, Effort, Length, Strict, refusal, rule
from sayso.serve.completions import read_chat, reported_logprobs
from sayso.serve.encode import Json
from sayso.serve.errors import failure
from sayso.serve.fields import MOST_TOPS, SamplingFields
from sayso.serve.input_items import check_item, choice_of_chat, messages_of, tool_of_chat
from sayso.serve.openai import MOST_MESSAGES, ChatRequest
from sayso.serve.output import Output, new_response
from sayso.serve.served_models import ServedModels
from sayso.serve.setting_fields import settings_of, with_settings
from sayso.serve.stream import EventStream, collect, event
from sayso.serve.wording import Wording
from sayso.serve.worker import ClosingError, EngineJob

SUMMARIES = ("auto", "concise", "detailed")
LOGPROBS = "message.output_text.logprobs"
Includable = Literal[
    "message.output_text.logprobs",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]
"""OpenAI's `include`: only the log-probabilities exist here; there is nothing to include of the other kinds."""


class Format(Strict):
    """Format of the text: OpenAI's `text.format`, flatter than a chat's `response_format`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None
    description: str | None = None

    @model_validator(mode="after")
    def schema_needs_its_type(self) -> "Format":
        """Reject a schema that has no name, and one that would not be used."""
        if self.type == "json_schema" and self.name is None:
            raise refusal("name", "invalid_value", "A format of the type \"json_schema\" requires 'name'.")
        for field, value in self.model_dump(exclude_none=True, by_alias=True).items():
            if field != "type" and self.type != "json_schema":
                text = f"'{field}' is only allowed with the type \"json_schema\"; got {json_shown(value)}."
                raise refusal(field, "invalid_value", text)
        return self

    def of_chat(self) -> dict[str, Any]:
        """Return it as a chat's `response_format`."""
        if self.type != "json_schema":
            return {"type": self.type}
        own = {"name": self.name, "schema": self.schema_, "strict": self.strict, "description": self.description}
        return {"type": self.type, "json_schema": own}


class TextOptions(Strict):
    """OpenAI's `text`."""

    neutral: ClassVar[Mapping[str, Any]] = {"verbosity": VERBOSITIES}

    format: Format | None = None


class Reasoning(Strict):
    """OpenAI's `reasoning`; only its effort has an effect."""

    neutral: ClassVar[Mapping[str, Any]] = {
        "summary": SUMMARIES, "generate_summary": SUMMARIES, "context": ("auto", "current_turn", "all_turns"),
        "mode": str,
    }  # fmt: skip

    effort: Effort | None = None


class ResponseStreamOptions(Strict):
    """OpenAI's `stream_options` of responses."""

    include_obfuscation: bool = False  # padding against eavesdroppers on the length of chunks; we send none


@with_settings(without=("max_tokens",))
class ResponsesRequest(SamplingFields):
    """The body of POST /v1/responses."""

    neutral: ClassVar[Mapping[str, Any]] = {
        **NEUTRAL, "previous_response_id": (), "conversation": (), "background": (False,), "prompt": (),
        "max_tool_calls": int, "context_management": ([],), "background_options": (), "access_programs": (),
        "image": (),
    }  # fmt: skip

    model: str | None = None
    input: str | list[Any]
    instructions: str | None = None
    max_output_tokens: Length | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    include: list[Includable] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    metadata: dict[str, str] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator("input")
    @classmethod
    def known_items(cls, given: Any) -> Any:
        """Reject no items, too many, and those that a text model cannot read."""
        if not given or (isinstance(given, list) and len(given) > MOST_MESSAGES):
            raise rule(f"must have from 1 to {MOST_MESSAGES} items, or be a string that is not empty", len(given))
        for place, item in enumerate(given if isinstance(given, list) else []):
            check_item(place, item)
        return given

    def chat(self) -> tuple[ChatRequest, Wording]:
        """Return it as a chat, with the words of its errors.

        Raises `ApiError` for anything that a chat would reject.
        """
        same = self.model_dump(exclude_none=True, include=set(SamplingFields.model_fields)) | settings_of(self)
        messages, places = messages_of(self.input)
        if self.instructions:
            messages, places = [{"role": "system", "content": self.instructions}, *messages], ["instructions", *places]
        wanted = bool(self.top_logprobs) or LOGPROBS in (self.include or [])
        form = self.text.format if self.text else None
        body = same | {
            "model": self.model,
            "messages": messages,
            "max_completion_tokens": self.max_output_tokens,
            "tools": [tool_of_chat(tool) for tool in self.tools] if self.tools else None,
            "tool_choice": choice_of_chat(self.tool_choice),
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": form.of_chat() if form else None,
            "logprobs": wanted or None,
            "top_logprobs": self.top_logprobs if wanted else None,
            "reasoning_effort": self.reasoning.effort if self.reasoning else None,
            "chat_template_kwargs": self.chat_template_kwargs,
        }
        wording = WORDING.at(places)
        return wording.chat(body), wording


WORDING = Wording(
    {
        r"^messages$": "input",
        r"\.output\.content\b": ".output",
        r"\.output\.tool_call_id$": ".call_id",
        r"^tool_call_id$": "call_id",
        r"^(tools\[\d+\])\.(function|custom)\b": r"\1",
        r"^tool_choice\.(function|custom|allowed_tools)\b": "tool_choice",
        r"^response_format(\.json_schema)?": "text.format",
        r"^max_(completion_)?tokens$": "max_output_tokens",
    }
)
"""Names of a chat's fields here."""


def response_routes(models: ServedModels) -> APIRouter:
    """Return the route for the served models."""
    router = APIRouter(prefix="/v1")

    @router.post("/responses")
    async def respond(asked: ResponsesRequest, request: Request) -> Response:
        served = await models.pick_for(asked.model, request)
        served.adapter(asked.model)  # before any other error in the body
        chat, wording = asked.chat()
        prompt, terms, tools = await read_chat(served, chat, truncate=asked.truncation == "auto", wording=wording)
        job = await served.speak([prompt], terms, request)
        response = new_response(terms.adapter or served.name, terms.sampling, _echoed(asked))
        output = Output(response, reported_logprobs(served, chat), job.choices[0], tools, terms.reasoning)
        if asked.stream:
            return EventStream(_events(job, output), partial(served.worker.stop, job), waits=job.waits)
        for piece in await collect(served.worker, job, request):
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
        "truncation": asked.truncation or "disabled",
        **asked.model_dump(include={"top_p"}, exclude_none=True),
    }
