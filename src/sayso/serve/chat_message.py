"""One message of a chat's body: takes OpenAI's roles, contents and legacy calls, returns what chat templates take.

`developer` is OpenAI's newer name for `system`; a `function` message and a `function_call` are its older form of
`tool` and `tool_calls`.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import ValidationInfo, field_validator, model_validator

from sayso.reply.tools import INPUT
from sayso.serve.body import ANY, KINDS, Strict, has_no_effect, refusal, shown

TEXTS = {"text": "text", "refusal": "refusal"}
"""The parts that are text, by type, each with the field of its text."""
PART_NEUTRAL: Mapping[str, Any] = {
    "prompt_cache_breakpoint": dict, "cache_control": dict, "annotations": list, "logprobs": list, "parsed": ANY,
}  # fmt: skip
"""Fields of a part without effect, with their types: hints about caching, and what responses add to a text."""
_ROLES = {"developer": "system", "function": "tool"}


class FunctionCall(Strict):
    """OpenAI's older form of a tool call."""

    neutral: ClassVar[Mapping[str, Any]] = {"parsed_arguments": ANY}

    name: str
    arguments: str


class Turn(Strict):
    """One message of a conversation."""

    neutral: ClassVar[Mapping[str, Any]] = {
        "annotations": list, "audio": (), "parsed": ANY, "cache_control": dict,
    }  # fmt: skip

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Any] | None = None
    function_call: FunctionCall | None = None
    tool_call_id: str | None = None
    name: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def join_parts(cls, content: Any, info: ValidationInfo) -> Any:
        """Join the text parts that newer clients send; reject other parts."""
        if not isinstance(content, list):
            return content
        return "".join(_part_text(place, part, info.data.get("role")) for place, part in enumerate(content))

    @model_validator(mode="after")
    def fields_of_its_role(self) -> "Turn":
        """Reject fields that belong to another role, and an empty message."""
        owners = {
            "refusal": "assistant", "reasoning_content": "assistant", "tool_calls": "assistant",
            "function_call": "assistant", "tool_call_id": "tool",
        }  # fmt: skip
        for field, role in owners.items():
            if getattr(self, field) and self.role != role:
                text = f"'{field}' is not allowed in a message with the role '{self.role}'."
                raise refusal(field, "unknown_parameter", text)
        if self.role == "function" and not self.name:
            raise refusal("name", "invalid_value", "A message with the role 'function' needs 'name'.")
        others = (self.refusal, self.reasoning_content, self.tool_calls, self.function_call)
        if self.content is None and not any(others):
            raise refusal("content", "invalid_value", f"A message with the role '{self.role}' needs 'content'.")
        return self

    @property
    def text(self) -> str | None:
        """The message's text: its content, its refusal, or both; None if it only calls tools."""
        parts = [part for part in (self.content, self.refusal) if part is not None]
        return "".join(parts) if parts else None

    def plain(self) -> dict[str, Any]:
        """Return the message in the form that the tokenizer's chat template takes."""
        calls = [_function_call(call) for call in self.tool_calls or []]
        if self.function_call is not None:
            calls.append({"type": "function", "function": self.function_call.model_dump()})
        text = "" if self.text is None and not calls else self.text  # a reply that was cut in its reasoning
        fields = {
            "content": text, "reasoning_content": self.reasoning_content, "tool_calls": calls or None,
            "tool_call_id": self.tool_call_id, "name": self.name,
        }  # fmt: skip
        given = {name: value for name, value in fields.items() if value is not None}
        return {"role": _ROLES.get(self.role, self.role), **given}


def _part_text(place: int, part: Any, role: str | None) -> str:
    """Return the text of one part. Raises an error for another type, and for a field that would have no effect."""
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    field = TEXTS.get(kind) if isinstance(part, dict) and isinstance(kind, str) else None
    if field is None:
        text = f"This model accepts only text; got a part of type '{shown(str(kind)[:100])}'."
        raise refusal(f"{place}.type", "invalid_value", text)
    if kind == "refusal" and role != "assistant":
        text = f"A part of type 'refusal' is not allowed in a message with the role '{role}'."
        raise refusal(f"{place}.type", "invalid_value", text)
    if not isinstance(part.get(field), str):
        raise refusal(f"{place}.{field}", "invalid_value", f"A part of type '{kind}' needs '{field}', a text.")
    for name, value in part.items():
        if value is None or name in ("type", field):
            continue
        if name in PART_NEUTRAL and not has_no_effect(value, PART_NEUTRAL[name]):
            text = f"'{name}' must be {KINDS[PART_NEUTRAL[name]]}."
            raise refusal(f"{place}.{name}", "invalid_value", text)
        if name not in PART_NEUTRAL:
            text = f"'{shown(str(name)[:100])}' is not supported in a part of type '{kind}'; omit it."
            raise refusal(f"{place}.{str(name)[:100]}", "unknown_parameter", text)
    return str(part[field])


def _function_call(call: Any) -> Any:
    """Return a call of a custom tool as that of a function with its input as the only argument; others unchanged."""
    if not isinstance(call, Mapping) or call.get("type") != "custom":
        return call
    custom = call.get("custom")
    custom = custom if isinstance(custom, Mapping) else {}
    arguments = json.dumps({INPUT: custom.get("input")}, ensure_ascii=False)
    return {"id": call.get("id"), "type": "function", "function": {"name": custom.get("name"), "arguments": arguments}}
