"""Request bodies of OpenAI's chats and completions: checked, or rejected with the field's name."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from sayso.base.json_words import json_shown
from sayso.reply.tools import Toolbox, toolbox
from sayso.serve.body import Length, refusal, rule
from sayso.serve.chat_message import Turn, check_results
from sayso.serve.fields import MOST_CHOICES, MOST_TOPS, GenerationFields
from sayso.serve.template_fields import TemplateFields

MOST_PROMPTS, MOST_MESSAGES, MOST_REPLIES = 256, 1000, 4096


Prompts = str | list[str] | list[int] | list[list[int]]


def some_prompts(prompts: Prompts) -> Prompts:
    """Reject an empty list of prompts and too many."""
    if prompts == [] or len(prompts_of(prompts)) > MOST_PROMPTS:
        raise rule(f"must have from 1 to {MOST_PROMPTS} items", len(prompts))
    return prompts


def prompts_of(prompts: Prompts) -> Sequence[str | list[int]]:
    """Return prompts as a list, each a text or ids."""
    if isinstance(prompts, str):
        return [prompts]
    return [prompts] if isinstance(prompts[0], int) else prompts


def check_continued(messages: Sequence[Turn], opened: bool | None) -> None:
    """Raise an error for a conversation whose last message cannot be continued."""
    text = ""
    if opened:
        text = "'continue_final_message' cannot be combined with 'add_generation_prompt': true; omit one of them."
    elif messages[-1].role != "assistant" or not messages[-1].text:
        text = "'continue_final_message' requires the last message to be the assistant's and not empty."
    if text:
        raise refusal("continue_final_message", "invalid_value", text)


class ChatRequest(GenerationFields, TemplateFields):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: Length | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    @model_validator(mode="after")
    def chat_options_go_together(self) -> "ChatRequest":
        """Reject `top_logprobs` without log-probabilities, results without calls, and contradictory beginnings."""
        check_results(self.messages)
        if self.top_logprobs is not None and not self.logprobs:
            raise refusal("top_logprobs", "invalid_value", "'top_logprobs' requires 'logprobs': true.")
        if self.continue_final_message:
            check_continued(self.messages, self.add_generation_prompt)
        return self

    @model_validator(mode="after")
    def one_kind_of_tools(self) -> "ChatRequest":
        """Reject functions next to tools, and a `function_call` of none of them."""
        if self.functions and self.tools:
            raise refusal("functions", "invalid_value", "'functions' is the older form of 'tools'; omit one of them.")
        names = [function.get("name") for function in self.functions or [] if isinstance(function, Mapping)]
        choice = self.function_call
        if isinstance(choice, Mapping):
            known = choice.get("name") in names
        else:
            known = choice is None or choice in ("none", "auto")
        if not known:
            text = '\'function_call\' must be "none", "auto" or {"name": NAME} of one of the functions'
            text += f"; got {json_shown(choice)}."
            raise refusal("function_call", "invalid_value", text)
        return self

    @property
    def length(self) -> int | None:
        """Prefer OpenAI's newer name for the length."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else super().length

    @property
    def tops(self) -> int | None:
        """Number of likeliest tokens to return per position; None without log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def legacy(self) -> bool:
        """Whether calls are requested and returned in OpenAI's older form, one `function_call` per reply."""
        return bool(self.functions)

    def toolbox(self) -> Toolbox:
        """Return the checked tools. Raises `UserError` if they do not follow OpenAI's format."""
        if not self.functions:
            return toolbox(self.tools, self.tool_choice, parallel=self.parallel_tool_calls)
        tools = [{"type": "function", "function": function} for function in self.functions]
        choice = self.function_call
        named = {"type": "function", "function": choice} if isinstance(choice, Mapping) else choice
        return toolbox(tools, named, parallel=False)


class CompletionRequest(GenerationFields):
    """The body of POST /v1/completions. With `echo`, `logprobs` and a length of 0 or 1 it scores a prompt (lm-eval)."""

    prompt: Annotated[Prompts, AfterValidator(some_prompts)] = ""
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    best_of: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    add_special_tokens: bool | None = None
    parse_special: bool | None = None

    @model_validator(mode="after")
    def completion_options_go_together(self) -> "CompletionRequest":
        """Reject a `best_of` below `n`, too many replies, and what a `suffix` excludes."""
        best, prompts = max(self.best_of or 1, self.choices), len(prompts_of(self.prompt))
        if self.best_of is not None and self.best_of < self.choices:
            text = f"'best_of' must be at least 'n', which is {self.choices}; got {self.best_of}."
            raise refusal("best_of", "invalid_value", text)
        if self.best_of is not None and self.best_of > self.choices and self.stream:
            text = "'best_of' cannot be streamed, because the best reply is known only at the end; omit 'stream'."
            raise refusal("best_of", "invalid_value", text)
        if best * prompts > MOST_REPLIES:
            text = f"A request may have at most {MOST_REPLIES} replies; got {prompts} prompts with {best} replies each."
            raise refusal("best_of" if best > self.choices else "n", "invalid_value", text)
        if self.suffix and (self.echo or self.truncate_prompt_tokens is not None or self.add_special_tokens is False):
            text = "'suffix' cannot be combined with 'echo', 'truncate_prompt_tokens' or 'add_special_tokens': false."
            raise refusal("suffix", "invalid_value", text)
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
