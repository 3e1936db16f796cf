"""Common to all request bodies of OpenAI's API: nothing that a client sets is silently ignored.

A field is used, or is a label without effect, or has a value without effect (null, its default), or is rejected.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from sayso.base.errors import nearest
from sayso.base.json_words import either_of, json_shown
from sayso.base.ranges import LARGEST
from sayso.feedback.storable import UNSTORABLE

MOST_IDS = 1024  # per list of ids or texts in a request
ANY: tuple[Any, ...] = (...,)
"""Stands for every value of a field that never has an effect."""
TIERS = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[str, ...] = get_args(Effort)
VERBOSITIES = ("low", "medium", "high")

STRINGS: Any = dict[str, str]
KINDS: Mapping[Any, str] = {
    str: "a string", int: "an integer", list: "an array", dict: "an object",
    STRINGS: "an object whose values are strings",
}  # fmt: skip
"""Types of labels, as an error names them."""

# Fields that requests may have without an effect, with the values that have none, or their type if that is any value;
# null never has one. The first are the caller's own labels and hints about speed, which do not change the reply.
NEUTRAL: Mapping[str, Any] = {
    "user": str, "metadata": STRINGS, "safety_identifier": str, "prompt_cache_key": str,
    "prompt_cache_retention": ("in_memory", "in-memory", "24h"), "prompt_cache_options": dict, "request_id": str,
    "session_id": str, "prediction": dict, "cache_prompt": (True,), "repeat_last_n": (-1,),
    "service_tier": TIERS, "reasoning_effort": EFFORTS, "verbosity": VERBOSITIES,
    "store": (False,), "audio": (), "modalities": (["text"],), "functions": ([],), "function_call": ("none", "auto"),
    "web_search_options": (), "moderation": (), "suffix": ("",), "priority": (0,),
    "documents": ([],), "chat_template": (), "chat_template_kwargs": ({},), "mm_processor_kwargs": ({},),
    "media_io_kwargs": ({},), "prompt_embeds": (), "use_beam_search": (False,), "length_penalty": (1, 1.0),
    "spaces_between_special_tokens": (True,), "logprob_token_ids": ([],), "thinking_token_budget": (),
    "include_reasoning": (True,), "repetition_detection": (), "watermarking": (), "return_token_offsets": (False,),
    "return_prompt_text": (False,), "return_weight_versions": (False,), "kv_transfer_params": (),
    "ec_transfer_params": (), "vllm_xargs": ({},), "stream_interval": (1,), "mm_payload": (), "mirostat": (0,),
    "top_n_sigma": (-1, 0), "guided_json": (), "guided_regex": (), "guided_choice": (), "guided_grammar": (),
    "echo": (False,), "best_of": (1,), "add_special_tokens": (False,), "add_generation_prompt": (True,),
    "continue_final_message": (False,), "logprobs": (False,), "top_logprobs": (0,), "tools": ([],),
    "tool_choice": ("none", "auto"), "parallel_tool_calls": (True, False), "tool_calls": ([],),
}  # fmt: skip
REASONS = {
    "access_programs": "the server has none",
    "audio": "the model reads and writes only text",
    "background": "send the request without it and wait for the response",
    "background_options": "there is no background mode",
    "chat_template": "the model's own template is used",
    "context_management": "to drop the oldest turns, use 'truncation': 'auto'",
    "conversation": "the server keeps no conversations; send all items as 'input'",
    "guided_choice": "use 'structured_outputs'",
    "guided_grammar": "use 'structured_outputs'",
    "guided_json": "use 'structured_outputs'",
    "guided_regex": "use 'structured_outputs'",
    "image": "the model reads and writes only text",
    "modalities": "the model reads and writes only text",
    "moderation": "the server has no moderation model",
    "repeat_last_n": "penalties apply to all tokens",
    "previous_response_id": "the server keeps no responses; send all items as 'input'",
    "prompt": "the server keeps no prompts; send the text as 'input' and 'instructions'",
    "store": "whether requests are stored is set for the whole server, by its option --record",
    "use_beam_search": "a search would block all other replies; in Python, use sayso.sample.beams.beam_search",
    "web_search_options": "the server has no web search; define a function as a tool",
}
"""Why a field is refused, where the reason is not plain."""

OTHER_NAMES = {
    "instructions": ("system",),
    "input": ("messages", "prompt"),
    "max_completion_tokens": ("max_tokens", "max_output_tokens"),
    "max_new_tokens": ("max_tokens", "max_output_tokens"),
    "max_output_tokens": ("max_tokens",),
    "max_tokens": ("max_output_tokens",),
    "messages": ("input", "prompt"),
    "n_predict": ("max_tokens", "max_output_tokens"),
    "n_probs": ("logprobs", "top_logprobs"),
    "num_predict": ("max_tokens", "max_output_tokens"),
    "output_config": ("response_format", "text"),
    "prompt": ("messages", "input"),
    "response_format": ("text", "output_config"),
    "stop": ("stop_sequences",),
    "stop_sequences": ("stop",),
    "system": ("instructions", "messages"),
    "text": ("response_format", "input", "prompt"),
}
"""Names of fields of other routes and servers, with those that the same thing may have here."""
NEAR = 0.75  # similarity of a misspelled name

Number = Annotated[float, Field(allow_inf_nan=False)]
Length = Annotated[int, Field(ge=0, le=LARGEST)]
TokenIds = Annotated[list[Annotated[int, Field(ge=0, strict=True)]], Field(max_length=MOST_IDS)]


class Strict(BaseModel):
    """A JSON object that rejects unknown fields and values of another type: true is no number, "1" is no number.

    null stands for the default of any field.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    neutral: ClassVar[Mapping[str, Any]] = {}
    """Fields that have no effect, with the values for which this is true, or their type."""

    @model_validator(mode="before")
    @classmethod
    def screen(cls, body: Any) -> Any:
        """Drop fields without effect; reject unknown and unsupported ones by name.

        A whole number may be written with a decimal point, as in JSON Schema.
        """
        if not isinstance(body, dict):
            raise PydanticCustomError("model_type", "must be an object")
        fields = {name: field for field, info in cls.model_fields.items() for name in _names(field, info)}
        known = list(fields)
        kept: dict[str, Any] = {}
        held: dict[str, str] = {}  # the name under which each field was sent
        for name, value in body.items():
            if value is None:
                continue
            if name in known:
                if (other := held.setdefault(fields[name], name)) != name:
                    text = f"'{name}' and '{other}' are the same parameter; omit one of them."
                    raise refusal(name, "invalid_value", text)
                kept[name] = _whole(value)
            elif name not in cls.neutral:
                text = f"'{str(name)[:100]}' is not a parameter of this request.{_hint(str(name), known)}"
                raise refusal(str(name)[:100], "unknown_parameter", text)
            elif not has_no_effect(value, cls.neutral[name]):
                raise _unsupported(name, value, cls.neutral[name])
        return kept


class RequestBody(Strict):
    """The body of a request; fields that other routes or servers support are accepted while they have no effect."""

    neutral: ClassVar[Mapping[str, Any]] = NEUTRAL


def _whole(value: Any, depth: int = 2) -> Any:
    """Return a value in which whole numbers are integers, also those in a list of lists, such as prompts of ids."""
    if isinstance(value, list) and depth:
        return [_whole(one, depth - 1) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hint(name: str, known: Collection[str]) -> str:
    """Return the name that a field has here: a known other name, or one that is spelled much alike."""
    other = next((one for one in OTHER_NAMES.get(name, ()) if one in known), None)
    return f" Did you mean '{other}'?" if other else nearest(name, known, NEAR)


def has_no_effect(value: Any, neutral: Any) -> bool:
    """Whether a value is one of those without effect, or of that type; 0 and False are distinct."""
    if neutral is STRINGS:
        return isinstance(value, dict) and all(one is None or isinstance(one, str) for one in value.values())
    if isinstance(neutral, type):
        return isinstance(value, neutral) and not isinstance(value, bool)
    return neutral is ANY or any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in neutral)


def _names(field: str, info: FieldInfo) -> list[str]:
    """Return the names of a field in a body."""
    if isinstance(info.validation_alias, AliasChoices):
        return [str(name) for name in info.validation_alias.choices]
    return [info.alias or field]


def _unsupported(name: str, value: Any, neutral: Any) -> PydanticCustomError:
    if not isinstance(neutral, tuple):
        return refusal(name, "invalid_value", f"'{name}' must be {KINDS[neutral]}; got {json_shown(value)}.")
    choices = [json_shown(one) for one in neutral if isinstance(one, str)]
    if len(choices) > 1 and name not in REASONS:
        text = f"'{name}' must be {either_of(choices)}; got {json_shown(value)}."
        return refusal(name, "invalid_value", text)
    reason = f": {REASONS[name]}" if name in REASONS else "; omit it"
    return refusal(name, "unsupported_parameter", f"'{name}' is not supported here{reason}.")


def rule(text: str, got: Any) -> PydanticCustomError:
    """Return the error of the field that is validated: the rule to follow its name ("must be ..."), and what it got."""
    return PydanticCustomError("rule", "{text}", {"text": shown(f"{text}; got {json_shown(got)}")})


def refusal(param: str, code: str, text: str) -> PydanticCustomError:
    """Return the error of one field: its name, OpenAI's error code, and a sentence."""
    return PydanticCustomError("refused", "{text}", {"text": shown(text), "param": shown(param), "code": code})


def shown(text: str) -> str:
    """Return a client's text in a form that an error can hold: lone surrogates become U+FFFD."""
    return UNSTORABLE.sub("\ufffd", text)
