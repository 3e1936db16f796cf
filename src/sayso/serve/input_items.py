"""The input of /v1/responses in a chat's form: items become messages, flat tools become nested ones.

Only what differs between the routes is read here; a chat validates the result.
"""

import json
from collections.abc import Mapping
from typing import Any

from sayso.base.json_words import either_of, json_shown
from sayso.reply.tools import INPUT
from sayso.serve.body import refusal

_OWN = {"type", "id", "status"}  # fields of every item; the latter two are labels
ITEMS = {
    "message": _OWN | {"role", "content", "phase"},
    "function_call": _OWN | {"call_id", "name", "arguments", "parsed_arguments"},
    "reasoning": _OWN | {"summary", "content", "encrypted_content"},
    "function_call_output": _OWN | {"call_id", "output", "name"},
    "custom_tool_call": _OWN | {"call_id", "name", "input"},
    "custom_tool_call_output": _OWN | {"call_id", "output"},
}
"""Fields of the items that a text model can read."""
ROLES = ("user", "assistant", "system", "developer")
_TEXTS = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id",),
    "custom_tool_call": ("call_id", "name", "input"),
    "custom_tool_call_output": ("call_id",),
}
"""Required fields of each kind of item that are strings."""


def check_item(place: int, item: Any) -> None:
    """Raise an error for an item of another type or without a required field, and for a field without effect."""
    where = f"[{place}]"
    if not isinstance(item, dict):
        raise refusal(where, "invalid_value", f"'input{where}' must be an object; got {json_shown(item)}.")
    kind = _kind(item)
    if not isinstance(kind, str) or kind not in ITEMS:
        text = f"'input{where}.type' must be {either_of([json_shown(one) for one in ITEMS])}; got {json_shown(kind)}."
        raise refusal(f"{where}.type", "invalid_value", text)
    if kind == "message" and item.get("role") not in ROLES:
        known = either_of([json_shown(role) for role in ROLES])
        text = f"'input{where}.role' must be {known}; got {json_shown(item.get('role'))}."
        raise refusal(f"{where}.role", "invalid_value", text)
    if kind.endswith("_output") and not isinstance(item.get("output"), str | list):
        text = f"'input{where}.output' must be a string or an array of parts; got {json_shown(item.get('output'))}."
        raise refusal(f"{where}.output", "invalid_value", text)
    for name in _TEXTS.get(kind, ()):
        if not isinstance(item.get(name), str):
            text = f"'input{where}.{name}' must be a string; got {json_shown(item.get(name))}."
            raise refusal(f"{where}.{name}", "invalid_value", text)
    if unknown := [name for name, value in item.items() if value is not None and name not in ITEMS[kind]]:
        name = unknown[0][:100]
        text = f"'input{where}.{name}' is not supported in an item of the type {json_shown(kind)}; omit it."
        raise refusal(f"{where}.{name}", "unknown_parameter", text)


def messages_of(given: str | list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return input items as a chat's messages, and the path of the item of each; "input" for a plain text.

    Calls belong to the assistant's message before them, reasoning to the one after it.
    """
    if isinstance(given, str):
        return [{"role": "user", "content": given}], ["input"]
    done: list[dict[str, Any]] = []
    places: list[str] = []
    reasoned = False  # whether the last message has only reasoning so far
    for place, item in enumerate(given):
        kind, after, reasoned = _kind(item), reasoned, False
        if kind == "reasoning":
            if text := _reasoning(item):
                done.append({"role": "assistant", "content": "", "reasoning_content": text})
                reasoned = True
        elif kind.endswith("_output"):
            done.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _content(item.get("output"))})
        elif kind.endswith("_call"):
            if not done or done[-1]["role"] != "assistant":
                done.append({"role": "assistant", "content": "", "tool_calls": []})
            custom = kind == "custom_tool_call"
            arguments = json.dumps({INPUT: item.get("input")}) if custom else item.get("arguments")
            call = {"id": item.get("call_id"), "type": "function"}
            call["function"] = {"name": item.get("name"), "arguments": arguments}
            done[-1].setdefault("tool_calls", []).append(call)
        elif after and item.get("role") == "assistant":
            done[-1]["content"] = _content(item.get("content"))
        else:
            done.append({"role": item.get("role"), "content": _content(item.get("content"))})
        where = f"input[{place}].output" if kind.endswith("_output") else f"input[{place}]"
        places += [where] * (len(done) - len(places))
    return done, places


def tool_of_chat(tool: Any) -> Any:
    """Return a flat function or custom tool in a chat's form."""
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if kind not in ("function", "custom"):
        return tool
    fields = {name: value for name, value in tool.items() if name != "type"}
    form = fields.get("format")
    if isinstance(form, Mapping) and form.get("type") == "grammar":
        fields["format"] = {"type": "grammar", "grammar": {**form, "type": None}}
    return {"type": kind, kind: fields}


def choice_of_chat(choice: Any) -> Any:
    """Return a flat `tool_choice` in a chat's form."""
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind in ("function", "custom"):
        return {"type": kind, kind: {"name": choice.get("name")}}
    if kind != "allowed_tools":
        return choice
    tools = choice.get("tools")
    tools = [choice_of_chat(tool) for tool in tools] if isinstance(tools, list) else tools
    return {"type": kind, kind: {"mode": choice.get("mode"), "tools": tools}}


def _kind(item: Mapping[str, Any]) -> Any:
    return item.get("type") or "message"


def _reasoning(item: Mapping[str, Any]) -> str:
    """Return the text of a reasoning item; none if it is empty, or encrypted by another server."""
    parts = item.get("content")
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "".join(text for text in texts if isinstance(text, str))


def _content(content: Any) -> Any:
    """Return text parts with the type that chats use."""
    if not isinstance(content, list):
        return content
    kinds = ("input_text", "output_text")
    return [
        part | {"type": "text"} if isinstance(part, dict) and part.get("type") in kinds else part for part in content
    ]
