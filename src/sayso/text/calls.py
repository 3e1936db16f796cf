"""Check turns with tool calls and tool results, in OpenAI's format, and name each result.

Takes and returns messages; arguments become an object, missing fields become empty. Both steps are idempotent.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from sayso.base.errors import FieldError, UserError
from sayso.base.json_words import json_kind, json_shown
from sayso.base.jsonl import parse, repair_surrogates
from sayso.text.document import Message, Messages


def with_calls(messages: Messages) -> bool:
    """Whether a conversation has tool calls or tool results."""
    return any(turn.get("role") == "tool" or turn.get("tool_calls") for turn in messages)


def has_id(call: Any) -> bool:
    """Whether a call has an id."""
    return isinstance(call, Mapping) and bool(call.get("id"))


def resolved(messages: Messages) -> list[Message]:
    """Return messages in which each call has an id and each result the id of its call.

    A result without an id is matched by its name, else by its order among the calls before it. Raises `UserError` if
    that is ambiguous, and for a result that answers no call.
    """
    done: list[Message] = []
    waiting: dict[str, str] = {}  # ids of calls without a result so far, with the names of their functions
    latest: list[str] = []  # those of the turns directly before, which results without an id may answer
    results: list[Message] = []
    used: set[str] = set()
    for message in [*messages, None]:
        if message is not None and message.get("role") == "tool":
            results.append(message)
            continue
        if results:
            done += _matched(results, waiting, latest)
            results, latest = [], []
        if message is None:
            return done
        if not message.get("tool_calls"):
            latest = []
        else:
            message = _identified(message, used)
            waiting |= {call["id"]: call["function"]["name"] for call in message["tool_calls"]}
            latest = [*latest, *(call["id"] for call in message["tool_calls"])]
            if len(set(latest)) < len(latest):
                raise UserError(f"The ids of calls before one result must be unique; got {', '.join(latest)}.")
        done.append(message)
    return done


def _identified(message: Message, used: set[str]) -> Message:
    """Return a turn whose calls all have ids; missing ones get an id that is not `used`."""
    original = message["tool_calls"]
    calls = [_call(call) for call in (original if isinstance(original, list | tuple) else [original])]
    used.update(call["id"] for call in calls if call["id"])
    for call in calls:
        call["id"] = call["id"] or next(name for name in map("call_{}".format, count(len(used))) if name not in used)
        used.add(call["id"])
    return {**message, "tool_calls": calls}


def _matched(results: Messages, waiting: dict[str, str], latest: Sequence[str]) -> list[Message]:
    """Return consecutive results with the ids of their calls, which are removed from `waiting`."""
    ids: list[str | None] = []
    for result in results:  # by id
        known = result.get("tool_call_id")
        if known and known not in waiting:
            raise UserError(
                "A tool's result must answer a call: its tool_call_id must be that of an earlier call without a "
                f"result; got {json_shown(known)}."
            )
        ids.append(str(known) if known else None)
        if known:
            del waiting[known]
    left = [call for call in latest if call in waiting]
    for place, result in enumerate(results):  # by name
        name = result.get("name")
        if ids[place] is None and name:
            call = next((call for call in left if waiting[call] == name), None)
            if call is None:
                raise UserError(
                    f"A tool's result must answer a call; no call directly before it calls {json_shown(name)}."
                )
            ids[place] = call
            left.remove(call)
    unnamed = [place for place, known in enumerate(ids) if known is None]
    if unnamed and len(unnamed) != len(left):  # by order
        raise UserError(
            f"It is ambiguous which call a result answers; calls without a result: {len(left)}, results without "
            f"tool_call_id or name: {len(unnamed)}. Add a tool_call_id to each result."
        )
    for place, call in zip(unnamed, left, strict=False):
        ids[place] = call
    for call in ids:
        waiting.pop(str(call), None)
    return [{**result, "tool_call_id": call} for result, call in zip(results, ids, strict=True)]


def as_data(messages: Messages) -> list[dict[str, Any]]:
    """Return messages as chat templates expect them: arguments as an object, content as text, results with a name.

    Raises `UserError` for calls that are not in OpenAI's format, and for a result without a call.
    """
    names: dict[str, str] = {}
    done = []
    for place, message in enumerate(messages):
        turn = dict(message)
        if calls := turn.get("tool_calls"):
            if turn.get("role") != "assistant":
                role = json_shown(turn.get("role"))
                raise UserError(
                    f"Only assistant messages may call tools; got a call in a message with the role {role}."
                )
            turn["tool_calls"] = [_call(call) for call in (calls if isinstance(calls, list | tuple) else [calls])]
            names |= {call["id"]: call["function"]["name"] for call in turn["tool_calls"]}
            turn["content"] = "" if turn.get("content") is None else turn["content"]
        elif turn.get("role") == "tool":
            turn["name"] = names.get(str(turn.get("tool_call_id"))) or turn.get("name")
            if not isinstance(turn["name"], str):
                raise unanswered(f"messages[{place}]", turn.get("tool_call_id"))
        done.append(turn)
    return done


def unanswered(where: str, given: Any) -> FieldError:
    """Return the error of a tool's result, the message at the path `where`, whose id is that of no earlier call."""
    field = f"{where}.tool_call_id"
    text = f"A tool's result must answer a call: '{field}' must be the id of an earlier call"
    return FieldError(field, f"{text}; got {'none' if given is None else json_shown(given)}.")


def json_or_text(text: Any) -> Any:
    """Return the value of a text that is a JSON object or list, else the text."""
    if not isinstance(text, str):
        raise UserError(f"A tool's result must be text; got {json_kind(text)}.")
    try:
        value = parse(repair_surrogates(text).encode())
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text


def _call(call: Any) -> dict[str, Any]:
    """Return one call with its arguments as an object. Raises `UserError` for another shape."""
    outer = call if isinstance(call, Mapping) else {}
    function = outer.get("function", outer)  # ShareGPT's calls have no id and no function object
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not isinstance(outer.get("id") or "", str):
        raise UserError(f"A call must have an id and a function with a name and arguments; got {json_shown(call)}.")
    arguments = function.get("arguments")
    if arguments is None or arguments == "":
        arguments = {}
    value = json_or_text(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(value, str | dict):
        raise UserError(f"The arguments of a call must be a JSON object; those of '{name}' are {json_shown(value)}.")
    return {"id": outer.get("id") or "", "type": "function", "function": {"name": name, "arguments": value}}
