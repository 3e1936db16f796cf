"""One message of a chat's body: takes OpenAI's roles, contents and legacy calls, returns what chat templates take.

`developer` is OpenAI's newer name for `system`; a `function` message and a `function_call` are its older form of
`tool` and `tool_calls`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import ValidationInfo, field_validator, model_validator

from sayso.base.json_words import json_shown
from sayso.reply.tools import INPUT
from sayso.serve.body import ANY, KINDS, Strict, has_no_effect, refusal, rule, shown
from sayso.text.calls import json_or_text, unanswered

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
        if not isinstance(content, str | list):
            raise rule("must be a string or an array of parts", content)
        if isinstance(content, str):
            return content
        return "".join(_part_text(place, part, info.data.get("role")) for place, part in enumerate(content))

    @field_validator("tool_calls")
    @classmethod
    def known_calls(cls, calls: list[Any]) -> list[Any]:
        """Reject calls that are not in OpenAI's form."""
        for place, call in enumerate(calls):
            _check_call(f"[{place}]", call)
        return calls

    @model_validator(mode="after")
    def fields_of_its_role(self) -> "Turn":
        """Reject fields that belong to another role, and an empty message."""
        owners = {
            "refusal": "assistant", "reasoning_content": "assistant", "tool_calls": "assistant",
            "function_call": "assistant", "tool_call_id": "tool",
        }  # fmt: skip
        for field, role in owners.items():
            if getattr(self, field) and self.role != role:
                text = f"'{field}' is not allowed in a message with the role {json_shown(self.role)}."
                raise refusal(field, "unknown_parameter", text)
        if self.role == "function" and not self.name:
            raise refusal("name", "invalid_value", "A message with the role \"function\" requires 'name'.")
        others = (self.refusal, self.reasoning_content, self.tool_calls, self.function_call)
        if self.content is None and not any(others) and self.role != "function":  # OpenAI's type allows null there
            text = f"A message with the role {json_shown(self.role)} requires 'content'."
            raise refusal("content", "invalid_value", text)
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
            calls.append(_function_call({"function": self.function_call.model_dump()}))
        text = "" if self.text is None and not calls else self.text  # a reply that was cut in its reasoning
        fields = {
            "content": text, "reasoning_content": self.reasoning_content, "tool_calls": calls or None,
            "tool_call_id": self.tool_call_id, "name": self.name,
        }  # fmt: skip
        given = {name: value for name, value in fields.items() if value is not None}
        return {"role": _ROLES.get(self.role, self.role), **given}


def _part_text(place: int, part: Any, role: str | None) -> str:
    """Return the text of one part. Raises an error for another type, and for a field that would have no effect."""
    if not isinstance(part, dict):
        text = f'A part of a message must be an object such as {{"type": "text", ...}}; got {json_shown(part)}.'
        raise refusal(f"[{place}]", "invalid_value", text)
    kind = part.get("type")
    field = TEXTS.get(kind) if isinstance(kind, str) else None
    if field is None:
        text = f"This model accepts only text; got a part of the type {json_shown(kind)}."
        raise refusal(f"[{place}].type", "invalid_value", text)
    if kind == "refusal" and role != "assistant":
        text = f'A part of the type "refusal" is not allowed in a message with the role {json_shown(role)}.'
        raise refusal(f"[{place}].type", "invalid_value", text)
    if not isinstance(part.get(field), str):
        text = f"A part of the type {json_shown(kind)} requires '{field}', a string."
        raise refusal(f"[{place}].{field}", "invalid_value", text)
    for name, value in part.items():
        if value is None or name in ("type", field):
            continue
        if name in PART_NEUTRAL and not has_no_effect(value, PART_NEUTRAL[name]):
            text = f"'{name}' must be {KINDS[PART_NEUTRAL[name]]}; got {json_shown(value)}."
            raise refusal(f"[{place}].{name}", "invalid_value", text)
        if name not in PART_NEUTRAL:
            text = f"'{shown(str(name)[:100])}' is not supported in a part of the type {json_shown(kind)}; omit it."
            raise refusal(f"[{place}].{str(name)[:100]}", "unknown_parameter", text)
    return str(part[field])


def _check_call(where: str, call: Any) -> None:
    """Raise an error for a call that is not in OpenAI's form; an id may be absent."""
    if not isinstance(call, dict):
        raise refusal(where, "invalid_value", f"A tool call must be an object; got {json_shown(call)}.")
    kind = call.get("type") or "function"
    if kind not in ("function", "custom"):
        text = f'The type of a tool call must be "function" or "custom"; got {json_shown(kind)}.'
        raise refusal(f"{where}.type", "invalid_value", text)
    own = call.get(kind)
    if not isinstance(own, dict):
        text = f"A tool call of the type {json_shown(kind)} requires '{kind}', an object."
        raise refusal(f"{where}.{kind}", "invalid_value", text)
    argument = "arguments" if kind == "function" else "input"
    given = own.get(argument)
    if kind == "function" and isinstance(given, dict | None):
        given = ""  # an object, or no arguments: beyond what OpenAI accepts
    texts = {"id": call.get("id") or "", f"{kind}.name": own.get("name"), f"{kind}.{argument}": given}
    for name, value in texts.items():
        if not isinstance(value, str):
            message = f"'{name.rpartition('.')[2]}' of a tool call must be a string; got {json_shown(value)}."
            raise refusal(f"{where}.{name}", "invalid_value", message)


def check_results(messages: Sequence[Turn]) -> None:
    """Raise an error for a tool's or function's result that answers no earlier call."""
    ids, names = set[str](), set[str]()
    for place, turn in enumerate(messages):
        for call in turn.plain().get("tool_calls", []):
            ids.add(call.get("id") or "")
            names.add(call["function"]["name"])
        where = f"messages[{place}]"
        if turn.role == "tool" and (turn.tool_call_id not in ids if turn.tool_call_id else turn.name not in names):
            error = unanswered(where, turn.tool_call_id)
            raise refusal(error.field, "invalid_value", str(error))
        if turn.role == "function" and turn.name not in names:
            text = f"A function's result must answer a call: '{where}.name' must be that of an earlier call"
            raise refusal(f"{where}.name", "invalid_value", f"{text}; got {json_shown(turn.name)}.")


def _function_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call as that of a function whose arguments are a JSON object.

    The input of a custom tool becomes its only argument. So do arguments that are no JSON object, such as those of a
    call that was cut: OpenAI accepts them, but chat templates cannot render them.
    """
    kind = "custom" if call.get("type") == "custom" else "function"
    own = call[kind]
    arguments = own.get("input") if kind == "custom" else own.get("arguments") or {}
    if kind == "custom" or (isinstance(arguments, str) and not isinstance(json_or_text(arguments), dict)):
        arguments = json.dumps({INPUT: arguments}, ensure_ascii=False)
    return {"id": call.get("id") or "", "type": "function", "function": {"name": own["name"], "arguments": arguments}}
