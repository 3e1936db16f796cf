"""The input of /v1/responses in a chat's form: items become messages, flat tools become nested ones.

Only what differs between the routes is read here; a chat validates the result.
"""

import json
from collections.abc import Mapping
from typing import Any

from sayso.reply.tools import INPUT
from sayso.serve.body import refusal, shown

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


def check_item(place: int, item: Any) -> None:
    """Raise an error for an item of another type, and for a field that would have no effect."""
    kind = _kind(item) if isinstance(item, dict) else type(item).__name__
    if not isinstance(item, dict) or kind not in ITEMS:
        text = f"An input item must be one of: {', '.join(ITEMS)}; got '{shown(kind[:100])}'."
        raise refusal(str(place), "invalid_value", text)
    if unknown := [name for name, value in item.items() if value is not None and name not in ITEMS[kind]]:
        name = unknown[0][:100]
        raise refusal(f"{place}.{name}", "unknown_parameter", f"A {kind} has no '{name}'.")


def messages_of(given: str | list[Any]) -> tuple[list[dict[str, Any]], list[int | str]]:
    """Return input items as a chat's messages, and the index of the item of each; "" for a plain text.

    Calls belong to the assistant's message before them, reasoning to the one after it.
    """
    if isinstance(given, str):
        return [{"role": "user", "content": given}], [""]
    done: list[dict[str, Any]] = []
    places: list[int | str] = []
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
        places += [place] * (len(done) - len(places))
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


def _kind(item: Mapping[str, Any]) -> str:
    return str(item.get("type") or "message")


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
