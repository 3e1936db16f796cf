"""Fields common to chats and completions: sampling, end of the reply, and what to return about it.

OpenAI's, and those of vLLM and llama.cpp under their names there.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sayso.base.errors import FieldError
from sayso.sample import grammar as language
from sayso.sample.grammar import Grammar
from sayso.serve.body import MOST_IDS, Number, RequestBody, Strict, TokenIds, refusal, rule
from sayso.serve.setting_fields import settings_of, with_settings

MOST_CHOICES, MOST_STOPS, MOST_TOPS = 128, 128, 20
_Text = Annotated[str, Field(min_length=1, max_length=1000)]


class SamplingFields(RequestBody):
    """Sampling of the next token, in addition to the declared settings; DRY's breakers have llama.cpp's name."""

    logit_bias: Annotated[dict[str, Annotated[Number, Field(ge=-100, le=100)]], Field(max_length=MOST_IDS)] | None = (
        None
    )
    allowed_token_ids: TokenIds | None = None
    bad_words: Annotated[list[_Text], Field(max_length=MOST_IDS)] | None = None
    dry_sequence_breakers: Annotated[list[_Text], Field(max_length=64)] | None = None


class LengthFields(RequestBody):
    """When a reply ends."""

    stop: Annotated[list[_Text], Field(max_length=MOST_STOPS)] | None = None
    stop_token_ids: TokenIds | None = None
    ignore_eos: bool | None = None
    include_stop_str_in_output: bool | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def as_list(cls, stop: Any) -> Any:
        """Accept a single stop text without a list."""
        if not isinstance(stop, str | list):
            raise rule("must be a string or an array of strings", stop)
        return [stop] if isinstance(stop, str) else stop


class SchemaFormat(Strict):
    """OpenAI's `json_schema`."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None
    description: str | None = None

    @property
    def grammar(self) -> Grammar:
        """Return its grammar: any object without a schema.

        What cannot be enforced is an error only if the schema is strict, as with OpenAI.
        """
        if self.schema_ is None:
            return language.json_object()
        return language.json_schema(self.schema_, lenient=not self.strict)


class ResponseFormat(Strict):
    """OpenAI's `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None

    @model_validator(mode="after")
    def schema_needs_its_type(self) -> "ResponseFormat":
        """Reject a missing schema, and one that would not be used."""
        if (self.json_schema is not None) != (self.type == "json_schema"):
            text = "'json_schema' is required with the type \"json_schema\", and allowed only with it."
            raise refusal("json_schema", "invalid_value", text)
        return self

    @property
    def grammar(self) -> Grammar | None:
        """Return its grammar, None for text."""
        if self.json_schema is not None:
            return self.json_schema.grammar
        return language.json_object() if self.type == "json_object" else None


class StructuredOutputs(Strict):
    """vLLM's `structured_outputs`: exactly one of its kinds."""

    json_: Annotated[dict[str, Any] | str | None, Field(alias="json")] = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def screen(cls, body: Any) -> Any:
        """Reject none of the kinds, and several."""
        asked = super().screen(body)  # type: ignore[operator]
        kinds = [name for name, value in asked.items() if (name, value) != ("json_object", False)]
        if len(kinds) != 1:
            text = (
                "'structured_outputs' must have exactly one of 'json', 'regex', 'choice', 'grammar' and 'json_object'"
            )
            raise refusal("", "invalid_value", f"{text}; got {', '.join(map(repr, kinds)) or 'none'}.")
        return asked

    @property
    def language(self) -> Grammar:
        """Return its grammar."""
        if self.regex is not None:
            return language.regex(self.regex)
        if self.choice is not None:
            return language.choice(self.choice)
        if self.grammar is not None:
            return language.rules(self.grammar)
        return language.json_object() if self.json_object else language.json_schema(_loaded(self.json_))


class StreamOptions(Strict):
    """What else a stream includes."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    include_obfuscation: bool = False  # padding against eavesdroppers on the length of chunks; we send none


@with_settings()
class GenerationFields(SamplingFields, LengthFields):
    """Fields common to chats and completions."""

    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    prompt_logprobs: Annotated[int, Field(ge=0, le=MOST_TOPS)] | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    skip_special_tokens: bool | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = None
    cache_salt: _Text | None = None

    @model_validator(mode="after")
    def options_go_together(self) -> "GenerationFields":
        """Reject stream options without a stream, what no stream supports, and two formats at once."""
        if self.stream_options is not None and not self.stream:
            raise refusal("stream_options", "invalid_value", "'stream_options' is only allowed with 'stream': true.")
        if self.prompt_logprobs is not None and self.stream:
            text = "'prompt_logprobs' is not supported in a stream; omit 'stream'."
            raise refusal("prompt_logprobs", "invalid_value", text)
        if self.structured_outputs is not None and _has_form(self.response_format):
            text = "'structured_outputs' and 'response_format' both set the format of the reply; omit one of them."
            raise refusal("structured_outputs", "invalid_value", text)
        if self.truncate_prompt_tokens == 0:
            text = "'truncate_prompt_tokens' must be at least 1, or -1 to keep as many as fit; got 0."
            raise refusal("truncate_prompt_tokens", "invalid_value", text)
        return self

    @property
    def choices(self) -> int:
        """Number of replies."""
        return self.n or 1

    @property
    def length(self) -> int | None:
        """The maximum number of tokens of a reply, if set."""
        return settings_of(self).get("max_tokens")

    @property
    def options(self) -> StreamOptions:
        """What else the stream includes."""
        return self.stream_options or StreamOptions()

    @property
    def tops(self) -> int | None:
        """Number of likeliest tokens to return per position; None without log-probabilities."""
        return None

    @property
    def prompt_tops(self) -> int | None:
        """Number of likeliest tokens to return per position of the prompt; None without prompt log-probabilities."""
        return self.prompt_logprobs

    @property
    def grammar(self) -> Grammar | None:
        """Return the grammar of the reply. Raises `UserError` if it is too large or no schema."""
        if self.structured_outputs is not None:
            return self.structured_outputs.language
        return self.response_format.grammar if self.response_format is not None else None


def _has_form(asked: ResponseFormat | None) -> bool:
    return asked is not None and asked.type != "text"


def _loaded(schema: dict[str, Any] | str | None) -> Any:
    """Return a JSON schema, which may be given as text."""
    if not isinstance(schema, str):
        return schema
    try:
        return json.loads(schema)
    except (ValueError, RecursionError) as error:
        field = "structured_outputs.json"
        raise FieldError(
            field, f"'{field}' must be a JSON schema, as an object or as a string of JSON; got invalid JSON."
        ) from error
