"""Request bodies of OpenAI's chats and completions: checked, or rejected with the field's name."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from sayso.reply.tools import Toolbox, toolbox
from sayso.serve.body import Strict, refusal, shown
from sayso.serve.fields import MOST_TOPS, GenerationFields

MOST_PROMPTS, MOST_MESSAGES, MOST_BEST = 256, 1000, 20


Prompts = str | list[str] | list[int] | list[list[int]]


def some_prompts(prompts: Prompts) -> Prompts:
    """Reject no prompt and too many."""
    if len(prompts) == 0 or (isinstance(prompts, list) and len(prompts_of(prompts)) > MOST_PROMPTS):
        raise ValueError(f"The number of prompts must be from 1 to {MOST_PROMPTS}")
    return prompts


def prompts_of(prompts: Prompts) -> Sequence[str | list[int]]:
    """Return prompts as a list, each a text or ids."""
    if isinstance(prompts, str):
        return [prompts]
    return [prompts] if isinstance(prompts[0], int) else prompts


class Turn(Strict):
    """One message of a conversation. `developer` is OpenAI's newer name for `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def join_parts(cls, content: Any) -> Any:
        """Join the text parts that newer clients send; reject other parts."""
        if not isinstance(content, list):
            return content
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                kind = part.get("type") if isinstance(part, dict) else type(part).__name__
                raise ValueError(f"This model accepts only text; got a part of type '{shown(str(kind)[:100])}'")
        return "".join(part["text"] for part in content)

    @model_validator(mode="after")
    def fields_of_its_role(self) -> "Turn":
        """Reject fields that belong to another role, and an empty message."""
        owners = {"tool_calls": ("assistant",), "tool_call_id": ("tool",), "name": ("tool",)}
        for field, roles in owners.items():
            if getattr(self, field) and self.role not in roles:
                text = f"'{field}' is not allowed in a message with the role '{self.role}'."
                raise refusal(field, "unknown_parameter", text)
        if self.content is None and not self.tool_calls:
            raise refusal("content", "invalid_value", f"A message with the role '{self.role}' needs 'content'.")
        return self

    def plain(self) -> dict[str, Any]:
        """Return the message in the form that the tokenizer's chat template takes."""
        plain = self.model_dump(exclude_none=True)
        return plain | {"role": "system" if self.role == "developer" else self.role}


class ChatRequest(GenerationFields):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    @model_validator(mode="after")
    def chat_options_go_together(self) -> "ChatRequest":
        """Reject `top_logprobs` without log-probabilities, and contradictory ways to begin the reply."""
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("'top_logprobs' needs 'logprobs': true")
        if self.continue_final_message:
            if self.add_generation_prompt:
                raise ValueError("'continue_final_message' needs 'add_generation_prompt': false, or neither")
            if self.messages[-1].role != "assistant" or not self.messages[-1].content:
                raise ValueError("'continue_final_message' needs a last message by the assistant that is not empty")
        return self

    @property
    def length(self) -> int | None:
        """Prefer OpenAI's newer name for the length."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else super().length

    @property
    def tops(self) -> int | None:
        """Number of likeliest tokens to return per position; None without log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def toolbox(self) -> Toolbox:
        """Return the checked tools. Raises `UserError` if they do not follow OpenAI's format."""
        return toolbox(self.tools, self.tool_choice, parallel=self.parallel_tool_calls)


class CompletionRequest(GenerationFields):
    """The body of POST /v1/completions. With `echo`, `logprobs` and a length of 0 or 1 it scores a prompt (lm-eval)."""

    prompt: Annotated[Prompts, AfterValidator(some_prompts)]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    best_of: Annotated[int, Field(ge=1, le=MOST_BEST)] | None = None
    add_special_tokens: bool | None = None

    @model_validator(mode="after")
    def completion_options_go_together(self) -> "CompletionRequest":
        """Reject a length of 0 without a result, and a `best_of` below `n`."""
        if self.length == 0 and (not self.echo or self.stream):
            raise ValueError("'max_tokens' must be at least 1, or 0 with 'echo' and no stream")
        if self.best_of is not None and self.best_of < self.choices:
            raise ValueError(f"'best_of' must be at least 'n', {self.choices}; got {self.best_of}")
        if self.best_of is not None and self.best_of > self.choices and self.stream:
            raise ValueError("'best_of' cannot be streamed: the best reply is known only at the end")
        return self

    @property
    def tops(self) -> int | None:
        """Number of likeliest tokens to return per position; None without log-probabilities."""
        return self.logprobs

    @property
    def prompt_tops(self) -> int | None:
        """With `echo`, the prompt's tokens are returned as part of the reply."""
        wanted = [top for top in (self.logprobs if self.echo else None, self.prompt_logprobs) if top is not None]
        return max(wanted, default=None)

    @property
    def scores(self) -> bool:
        """Whether the prompt is to be scored: the next token is then unrestricted, as lm-eval expects."""
        return bool(self.echo) and self.logprobs is not None and self.length in (0, 1)
