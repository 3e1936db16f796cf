"""Common to all request bodies of OpenAI's API: nothing that a client sets is silently ignored.

A field is used, or is a label without effect, or has a value without effect (null, its default), or is rejected.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sayso.base.errors import nearest
from sayso.feedback.store import UNSTORABLE

MOST_IDS = 1024  # per list of ids or texts in a request
# The caller's own labels.
HARMLESS = frozenset(
    {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
     "request_id", "session_id"}
)  # fmt: skip
# Fields that no route supports, with the values that have no effect; null never has one.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "store": (False,), "service_tier": ("auto", "default"), "audio": (), "modalities": (["text"],), "prediction": (),
    "functions": ([],), "function_call": ("none", "auto"), "reasoning_effort": ("none",), "verbosity": ("medium",),
    "web_search_options": (), "moderation": (), "annotations": ([],), "refusal": (), "suffix": ("",), "priority": (0,),
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
_REASONS = {
    "use_beam_search": "a search would block all other replies; in Python, use sayso.sample.beams.beam_search",
    "store": "requests to the API are not stored",
    "chat_template": "the model's own template is used",
    "functions": "use 'tools'",
    "function_call": "use 'tool_choice'",
    "guided_json": "use 'structured_outputs'",
    "guided_regex": "use 'structured_outputs'",
    "guided_choice": "use 'structured_outputs'",
    "guided_grammar": "use 'structured_outputs'",
}

Number = Annotated[float, Field(allow_inf_nan=False)]
TokenIds = Annotated[list[Annotated[int, Field(ge=0, strict=True)]], Field(max_length=MOST_IDS)]


class Strict(BaseModel):
    """A body that rejects unknown fields and values of another type: true is no number, "1" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True)
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = NEUTRAL

    @model_validator(mode="before")
    @classmethod
    def screen(cls, body: Any) -> Any:
        """Drop fields without effect; reject unknown and unsupported ones by name.

        A whole number may be written with a decimal point, as in JSON Schema.
        """
        if not isinstance(body, dict):
            raise ValueError("The body must be a JSON object")
        known = [info.alias or name for name, info in cls.model_fields.items()]
        kept = {}
        for name, value in body.items():
            if name in known:
                kept[name] = int(value) if isinstance(value, float) and value.is_integer() else value
            elif value is None or name in HARMLESS or _is_neutral(value, cls.neutral.get(name, ())):
                continue
            elif name in cls.neutral:
                reason = f": {_REASONS[name]}" if name in _REASONS else "; omit it"
                raise refusal(name, "unsupported_parameter", f"'{name}' is not supported here{reason}.")
            else:
                text = f"'{str(name)[:100]}' is not a parameter of this request.{nearest(str(name), known)}"
                raise refusal(str(name)[:100], "unknown_parameter", text)
        return kept


def _is_neutral(value: Any, neutral: tuple[Any, ...]) -> bool:
    """Whether a value is one of those without effect; 0 and False are distinct."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in neutral)


def refusal(param: str, code: str, text: str) -> PydanticCustomError:
    """Return the error of one field: its name, OpenAI's error code, and a sentence."""
    return PydanticCustomError("refused", "{text}", {"text": shown(text), "param": shown(param), "code": code})


def shown(text: str) -> str:
    """Return a client's text in a form that an error can hold: lone surrogates become U+FFFD."""
    return UNSTORABLE.sub("\ufffd", text)
