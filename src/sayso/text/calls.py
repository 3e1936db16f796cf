"""Turns that call tools and turns that tell what came back, as OpenAI has them: checked, and each with its name.

Messages enter and leave; arguments become an object, what is absent becomes empty. Doing it twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sayso.base.errors import UserError
from sayso.base.jsonl import parse, whole

Message = Mapping[str, Any]


def with_calls(messages: Sequence[Message]) -> bool:
    """Whether a conversation has calls of tools, or what they gave."""
    return any(turn.get("role") == "tool" or turn.get("tool_calls") for turn in messages)


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


def value_of(text: Any) -> Any:
    """Return what a text says as JSON where that is an object or a list, else the text."""
    if not isinstance(text, str):
        raise UserError(f"What a tool gave is text; got {type(text).__name__}.")
    try:
        value = parse(whole(text).encode())
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text


def _call(call: Any) -> dict[str, Any]:
    """Return one call with its arguments as an object. Raises `UserError` for another shape."""
    call = call if isinstance(call, Mapping) else {"function": call}
    function = call["function"] if isinstance(call.get("function"), Mapping) else {}
    name = function.get("name")
    if not isinstance(name, str) or not isinstance(call.get("id", ""), str):
        raise UserError(f"A call has an id and a function with a name and arguments; got {call!r:.100}.")
    arguments = function.get("arguments", {})
    value = value_of(arguments or "{}") if isinstance(arguments, str) else arguments
    if not isinstance(value, str | dict):
        raise UserError(f"The arguments of a call are a JSON object; those of '{name}' are {value!r:.100}.")
    return {"id": call.get("id", ""), "type": "function", "function": {"name": name, "arguments": value}}
