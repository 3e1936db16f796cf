"""How tools reach a prompt: what may be called, what was called, and what came back.

Messages and tools are OpenAI's. A model whose template knows the format of Hermes and Qwen is given them as data; for
every other layout, our own among them, they become text of the roles that it knows: system, user and assistant.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sayso.base.errors import UserError

CALL, CALL_END = "<tool_call>", "</tool_call>"
RESULT, RESULT_END = "<tool_response>", "</tool_response>"
DESCRIPTION = """You may call tools. These are functions, one a line, with a JSON schema of their arguments:
<tools>
{tools}
</tools>
To call one, write its name and its arguments:
<tool_call>
{{"name": "NAME", "arguments": {{...}}}}
</tool_call>
What it gives comes back between <tool_response> and </tool_response>."""

_MARK = re.compile(r"<(?=/?tool(s|_call|_response)>)")
Message = Mapping[str, Any]


def with_tools(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> bool:
    """Whether a conversation has tools, calls of them, or what they gave."""
    return bool(tools) or any(turn.get("role") == "tool" or turn.get("tool_calls") for turn in messages)


def as_data(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as chat templates expect them: arguments as an object, content as text, results with a name.

    Raises `UserError` for calls that are not OpenAI's, and for a result without a call.
    """
    names: dict[str, str] = {}
    done = []
    for message in messages:
        turn = dict(message)
        if calls := turn.get("tool_calls"):
            if turn.get("role") != "assistant":
                raise UserError(f"Only an assistant calls tools; a message of role {turn.get('role')!r} does.")
            turn["tool_calls"] = [_call(call) for call in (calls if isinstance(calls, list | tuple) else [calls])]
            names |= {call["id"]: call["function"]["name"] for call in turn["tool_calls"]}
            turn["content"] = "" if turn.get("content") is None else turn["content"]
        elif turn.get("role") == "tool":
            turn["name"] = names.get(str(turn.get("tool_call_id"))) or turn.get("name")
            if not isinstance(turn["name"], str):
                raise UserError(
                    "A tool's message answers a call: its tool_call_id is the id of an earlier call; "
                    f"got {turn.get('tool_call_id')!r:.100}."
                )
        done.append(turn)
    return done


def as_text(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return the same conversation in three roles, with the tools told in the first, a system message.

    What a tool gave is JSON in a user's turn, in which no mark can stand; a mark that a user typed loses its "<" to
    "&lt;", so that neither can pass for the other. Raises `UserError` as `as_data`.
    """
    done: list[dict[str, Any]] = []
    results = False
    for turn in as_data(messages):
        content, after = turn.get("content"), results
        results = turn.get("role") == "tool"
        if results:
            block = f"{RESULT}\n{_json({'name': turn['name'], 'content': _value(content)})}\n{RESULT_END}"
            if after:
                done[-1]["content"] += f"\n{block}"
            else:
                done.append({"role": "user", "content": block})
            continue
        if calls := turn.pop("tool_calls", None):
            turn["content"] = "\n".join([*([content] if content else []), *map(_call_text, calls)])
        elif turn.get("role") == "user" and isinstance(content, str):
            turn["content"] = _MARK.sub("&lt;", content)
        done.append(turn)
    if tools:
        told = DESCRIPTION.format(tools="\n".join(map(_json, tools)))
        if done and done[0].get("role") == "system" and isinstance(done[0].get("content"), str):
            done[0]["content"] += f"\n\n{told}"
        else:
            done.insert(0, {"role": "system", "content": told})
    return done


def opening(name: str) -> str:
    """Return what stands between the mark of a call and its arguments."""
    return f'\n{{"name": {json.dumps(name)}, "arguments": '


CLOSING = "}\n" + CALL_END  # what stands after the arguments


def _call_text(call: Mapping[str, Any]) -> str:
    function = call["function"]
    return CALL + opening(function["name"]) + _json(function["arguments"]) + CLOSING


def _call(call: Any) -> dict[str, Any]:
    """Return one call with its arguments as an object. Raises `UserError` for another shape."""
    call = call if isinstance(call, Mapping) else {"function": call}
    function = call["function"] if isinstance(call.get("function"), Mapping) else {}
    name = function.get("name")
    if not isinstance(name, str) or not isinstance(call.get("id", ""), str):
        raise UserError(f"A call has an id and a function with a name and arguments; got {call!r:.100}.")
    arguments = function.get("arguments", {})
    value = _value(arguments or "{}") if isinstance(arguments, str) else arguments
    if not isinstance(value, str | dict):
        raise UserError(f"The arguments of a call are a JSON object; those of '{name}' are {value!r:.100}.")
    return {"id": call.get("id", ""), "type": "function", "function": {"name": name, "arguments": value}}


def _value(text: Any) -> Any:
    """Return what a text says as JSON where that is an object or a list, else the text."""
    if not isinstance(text, str):
        raise UserError(f"What a tool gave is text; got {type(text).__name__}.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict | list) else text


def _json(value: Any) -> str:
    """Return JSON in which no mark stands: the same value, spelled so that it cannot end its block."""
    return _MARK.sub(r"\\u003c", json.dumps(value, ensure_ascii=False))
