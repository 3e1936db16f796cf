"""Content blocks, tools and tool choices of Anthropic's messages in a chat's form.

Only what differs between the routes is read here; a chat validates the result. Errors name Anthropic's fields.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sayso.base.json_words import either_of, json_shown
from sayso.serve.errors import ApiError

_LABELS = {"cache_control"}
_BLOCKS = {
    "text": {"type", "text", "citations"},
    "tool_use": {"type", "id", "name", "input", "caller", "toolset_name"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "toolset_name"},
    "thinking": {"type", "thinking", "signature"},
}
"""Fields of the content blocks that a text model can read."""
_TOOL = {"type", "name", "description", "input_schema", "strict", "eager_input_streaming"}
_TOOL_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "allowed_callers": (["direct"], [], None), "defer_loading": (False, None), "input_examples": ([], None),
}  # fmt: skip
_OWNERS = {"tool_use": "assistant", "thinking": "assistant", "tool_result": "user"}
"""The role of the messages that may have a kind of block."""
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_turns(role: str, content: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield one message as a chat's, each with its path: results of tools first, then the text with its calls."""
    if isinstance(content, str):
        yield where, {"role": role, "content": content}
        return
    texts, calls, thoughts = [], list[dict[str, Any]](), list[str]()
    for number, block in enumerate(content):
        place = f"{where}.content[{number}]"
        kind = _kind(block, place)
        owner = _OWNERS.get(kind, role)
        if owner != role:
            text = f'must not be {json_shown(kind)} in a message with the role "{role}"'
            raise wrong(f"{place}.type", text)
        if kind == "text":
            texts.append(joined_text([block], f"{where}.content", number))
        elif kind == "thinking":
            thoughts.append(str(block.get("thinking") or ""))
        elif kind == "tool_use":
            calls.append(_call(block, place))
        elif kind == "tool_result":
            result = joined_text(block.get("content") or "", f"{place}.content")
            text = f"Error: {result}" if block.get("is_error") else result
            yield place, {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text}
    if texts or calls or thoughts or not content:
        message: dict[str, Any] = {"role": role, "content": "".join(texts)}
        if any(thoughts):
            message["reasoning_content"] = "".join(thoughts)
        yield where, message | ({"tool_calls": calls} if calls else {})


def wrong(field: str, rule: str, code: str = "invalid_value") -> ApiError:
    """Return the error of a field that breaks a rule, such as "must be an object"."""
    return ApiError(400, f"'{field}' {rule}.", code, field)


def _call(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a `tool_use` block as a chat's call."""
    for name in ("id", "name"):
        if not isinstance(block.get(name), str):
            raise wrong(f"{where}.{name}", f"must be a string; got {json_shown(block.get(name))}")
    given = block.get("input")
    if not isinstance(given, dict | None):
        raise wrong(f"{where}.input", f"must be an object; got {json_shown(given)}")
    function = {"name": block["name"], "arguments": json.dumps(given or {})}
    return {"id": block["id"], "type": "function", "function": function}


def _kind(block: Mapping[str, Any], where: str) -> str:
    """Return the type of a content block; reject types that are not text, and unknown fields."""
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in _BLOCKS:
        known = either_of([json_shown(one) for one in _BLOCKS])
        raise wrong(f"{where}.type", f"must be {known}, because the model reads only text; got {json_shown(kind)}")
    if unknown := sorted(block.keys() - _BLOCKS[kind] - _LABELS):
        text = f"is not supported in a block of the type {json_shown(kind)}; omit it"
        raise wrong(f"{where}.{unknown[0][:100]}", text, "unknown_parameter")
    return kind


def joined_text(content: Any, where: str, first: int = 0) -> str:
    """Return a text, or the joined text of content blocks, which are numbered from `first` on."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(where, f"must be a string or an array of blocks; got {json_shown(content)}")
    for number, block in enumerate(content, first):
        place = f"{where}[{number}]"
        if not isinstance(block, dict):
            raise wrong(place, f"must be an object; got {json_shown(block)}")
        if block.get("type") != "text":
            raise wrong(f"{place}.type", f'must be "text"; got {json_shown(block.get("type"))}')
        _kind(block, place)
        if not isinstance(block.get("text"), str):
            raise wrong(f"{place}.text", f"must be a string; got {json_shown(block.get('text'))}")
    return "".join(block["text"] for block in content)


def chat_tool(tool: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return a tool in a chat's form; Anthropic's own tools, which run on its servers, are rejected."""
    where = f"tools[{number}]"
    if tool.get("type", "custom") not in ("custom", None):
        text = f'must be "custom", because the server runs no tools itself; got {json_shown(tool["type"])}'
        raise wrong(f"{where}.type", text, "unsupported_parameter")
    if not isinstance(tool.get("input_schema"), dict):
        text = f"must be an object, a JSON schema; got {json_shown(tool.get('input_schema'))}"
        raise wrong(f"{where}.input_schema", text)
    for name in sorted(tool.keys() - _TOOL - _LABELS):
        if name not in _TOOL_NEUTRAL or tool[name] not in _TOOL_NEUTRAL[name]:
            raise wrong(f"{where}.{name[:100]}", "is not supported; omit it", "unsupported_parameter")
    function = {"name": tool.get("name"), "description": tool.get("description"), "strict": tool.get("strict")}
    return {"type": "function", "function": {**function, "parameters": tool.get("input_schema")}}


def chat_choice(choice: Mapping[str, Any] | None) -> tuple[Any, bool | None]:
    """Return a `tool_choice` in a chat's form, and whether several calls are allowed."""
    if choice is None:
        return None, None
    kind, single = choice.get("type"), bool(choice.get("disable_parallel_tool_use"))
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}, not single
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise wrong("tool_choice.type", f'must be "auto", "any", "tool" or "none"; got {json_shown(kind)}')
    return _CHOICES[kind], not single
