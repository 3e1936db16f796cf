"""OpenAI's requests and replies as data.

A JSON body enters as a checked request, or is refused with the name of the field that is wrong; what was said leaves
as OpenAI's objects. Nothing that a client sets is silently ignored: fields that change no word (`user`) are accepted,
fields that would (`logit_bias`) are refused unless they ask for nothing.
"""

import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sayso.base.errors import nearest
from sayso.sample.sampling import Sampling

COMPLETION_TOKENS = 16  # OpenAI's default for /v1/completions
MOST_CHOICES, MOST_PROMPTS, MOST_MESSAGES = 8, 256, 1000
# Fields that change nothing about the words.
HARMLESS = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
# Fields that are not built, with the values that ask for nothing; null asks for nothing everywhere.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "logprobs": (False,), "audio": (),
    "response_format": ({"type": "text"},), "structured_outputs": (), "tools": ([],), "tool_choice": ("none", "auto"),
    "functions": ([],), "function_call": ("none", "auto"), "parallel_tool_calls": (True, False), "tool_calls": ([],),
    "modalities": (["text"],), "top_logprobs": (0,), "prediction": (), "reasoning_effort": (), "verbosity": (),
    "web_search_options": (), "best_of": (1,), "suffix": ("",), "echo": (False,), "annotations": ([],), "refusal": (),
}  # fmt: skip

Number = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """A body whose every field is known."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def screen(cls, body: Any) -> Any:
        """Drop what asks for nothing; refuse what is unknown or not built, by name."""
        if not isinstance(body, dict):
            raise ValueError("The body must be a JSON object")
        kept = {}
        for name, value in body.items():
            if name in cls.model_fields:
                kept[name] = value
            elif value is None or name in HARMLESS or (name in NEUTRAL and value in NEUTRAL[name]):
                continue
            elif name in NEUTRAL:
                raise refusal(name, "unsupported_parameter", f"'{name}' is not supported here; leave it away.")
            else:
                text = f"'{str(name)[:100]}' is not a parameter of this request.{nearest(str(name), cls.model_fields)}"
                raise refusal(name, "unknown_parameter", text)
        return kept


def refusal(param: str, code: str, text: str) -> PydanticCustomError:
    """Return the error of one field: its name, OpenAI's code for what is wrong, and a sentence."""
    return PydanticCustomError("refused", "{text}", {"text": text, "param": param, "code": code})


class Turn(Strict):
    """One message of a conversation. `developer` is OpenAI's newer name for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str

    @field_validator("content", mode="before")
    @classmethod
    def join_parts(cls, content: Any) -> Any:
        """Join the text parts that newer clients send; other parts cannot be read."""
        if not isinstance(content, list):
            return content
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                kind = part.get("type") if isinstance(part, dict) else type(part).__name__
                raise ValueError(f"This model reads text only; got a part of type '{str(kind)[:100]}'")
        return "".join(part["text"] for part in content)

    def plain(self) -> dict[str, str]:
        """Return the message as the tokenizer's chat layout takes it."""
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class StreamOptions(Strict):
    """What else a stream shall tell."""

    include_usage: bool = False
    include_obfuscation: bool = False  # padding against eavesdroppers on the length of chunks; we send none


class Asked(Strict):
    """What both kinds of request share. A null stands for the default."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[Number, Field(gt=0, le=100)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def as_list(cls, stop: Any) -> Any:
        """A single stop text may stand without a list."""
        return [stop] if isinstance(stop, str) else stop

    @model_validator(mode="after")
    def options_need_a_stream(self) -> "Asked":
        """Refuse options of a stream that was not asked for."""
        if self.stream_options is not None and not self.stream:
            raise ValueError("'stream_options' is only allowed with 'stream': true")
        return self

    @property
    def choices(self) -> int:
        """How many replies are asked for."""
        return self.n or 1

    @property
    def with_usage(self) -> bool:
        """Whether the stream shall end with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, default_tokens: int) -> Sampling:
        """Return what was asked for over our defaults; `default_tokens` where the length was left open."""
        names = ("temperature", "top_p", "min_p", "repetition_penalty", "seed")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        length = self.length if self.length is not None else default_tokens
        top_k = max(self.top_k or 0, 0)  # vLLM says -1 for off
        return Sampling(**given, top_k=top_k, max_tokens=length, stop=tuple(self.stop or ()))

    @property
    def length(self) -> int | None:
        """The most tokens of a reply, when it was set."""
        return self.max_tokens


class ChatRequest(Asked):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def length(self) -> int | None:
        """OpenAI's newer name for the length comes first."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class CompletionRequest(Asked):
    """The body of POST /v1/completions. `echo` and `logprobs` together score a prompt (lm-eval's loglikelihood)."""

    prompt: str | list[str] | list[int] | list[list[int]]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @field_validator("prompt")
    @classmethod
    def some_prompts(cls, prompt: Any) -> Any:
        """Refuse no prompt and too many."""
        if len(prompt) == 0 or (len(prompt) > MOST_PROMPTS and not isinstance(prompt[0], int | str)):
            raise ValueError(f"'prompt' must have from 1 to {MOST_PROMPTS} prompts")
        return prompt

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts one by one, each a text or ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)

    @model_validator(mode="after")
    def only_scoring(self) -> "CompletionRequest":
        """Refuse what is not built: log-probabilities of what is written, and writing nothing."""
        if bool(self.echo) != (self.logprobs is not None):
            raise ValueError("'echo' and 'logprobs' are supported only together, to score a prompt")
        if self.scores and ((self.length or 0) > 1 or self.stream or self.choices > 1 or self.length is None):
            raise ValueError("Scoring with 'echo' and 'logprobs' takes 'max_tokens' 0 or 1, 'n' 1 and no stream")
        if not self.scores and self.length == 0:
            raise ValueError("'max_tokens' must be at least 1, or 0 to score a prompt with 'echo' and 'logprobs'")
        return self

    @property
    def scores(self) -> bool:
        """Whether the prompt shall be scored instead of continued."""
        return bool(self.echo) and self.logprobs is not None


class Shape(Protocol):
    """How the choices of one kind of answer look, whole and in a stream."""

    kind: str
    chunk: str
    prefix: str

    def whole(self, index: int, text: str, finish: str) -> dict[str, Any]:
        """One whole choice."""

    def opening(self, index: int) -> list[dict[str, Any]]:
        """What opens a choice's stream."""

    def part(self, index: int, text: str) -> dict[str, Any]:
        """Some more text."""

    def end(self, index: int, finish: str) -> dict[str, Any]:
        """What closes a choice's stream."""


class ChatShape:
    """Choices with a message, or with the deltas of one."""

    kind, chunk, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def whole(self, index: int, text: str, finish: str) -> dict[str, Any]:
        """A choice with its message."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}

    def opening(self, index: int) -> list[dict[str, Any]]:
        """A first delta names the role."""
        return [self._delta(index, {"role": "assistant", "content": ""}, None)]

    def part(self, index: int, text: str) -> dict[str, Any]:
        """A delta with some more text."""
        return self._delta(index, {"content": text}, None)

    def end(self, index: int, finish: str) -> dict[str, Any]:
        """An empty delta with the reason."""
        return self._delta(index, {}, finish)

    def _delta(self, index: int, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


class TextShape:
    """Choices with bare text."""

    kind, chunk, prefix = "text_completion", "text_completion", "cmpl"

    def whole(self, index: int, text: str, finish: str | None) -> dict[str, Any]:
        """A choice with its text."""
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}

    def opening(self, index: int) -> list[dict[str, Any]]:  # noqa: ARG002 - a chat needs it
        """Bare text opens with its first piece."""
        return []

    def part(self, index: int, text: str) -> dict[str, Any]:
        """A choice with some more text."""
        return self.whole(index, text, None)

    def end(self, index: int, finish: str) -> dict[str, Any]:
        """No more text, and the reason."""
        return self.whole(index, "", finish)


def new_head(kind: str, prefix: str, model: str, fingerprint: str) -> dict[str, Any]:
    """Return what all objects of one answer share."""
    made = int(time.time())
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": made,
        "model": model,
        "system_fingerprint": fingerprint,
    }


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return the number of tokens as OpenAI says it."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
