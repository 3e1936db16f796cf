"""Put tools into a prompt: the available functions, the calls, and their results.

Messages and tools are in OpenAI's format. A template that supports the format of Hermes and Qwen gets them as data; for
every other layout, including our own, they become text of the roles system, user and assistant.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from sayso.text.calls import as_data, json_or_text, with_calls
from sayso.text.document import Messages

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

_MARKER = re.compile(r"<(?=/?tool(s|_call|_response)>)")


def with_tools(messages: Messages, tools: Messages = ()) -> bool:
    """Whether a conversation has tools, tool calls or tool results."""
    return bool(tools) or with_calls(messages)


def tool_text(messages: Messages, tools: Messages = (), *, system: bool = True) -> list[dict[str, Any]]:
    """Return the same conversation in three roles, with the tools described in a first system message.

    Without `system`, for templates that reject that role, the description begins the first message of the user.
    A tool's result is JSON in a user's turn, escaped so that it contains no marker; in a marker that a user typed, "<"
    becomes "&lt;", so that neither can be mistaken for the other. Raises `UserError` as `as_data` does.
    """
    done: list[dict[str, Any]] = []
    results = False
    for turn in as_data(messages):
        content, after = turn.get("content"), results
        results = turn.get("role") == "tool"
        if results:
            block = f"{RESULT}\n{_json({'name': turn['name'], 'content': json_or_text(content)})}\n{RESULT_END}"
            if after:
                done[-1]["content"] += f"\n{block}"
            else:
                done.append({"role": "user", "content": block})
            continue
        if calls := turn.pop("tool_calls", None):
            turn["content"] = "\n".join([*([content] if content else []), *map(_call_text, calls)])
        elif turn.get("role") == "user" and isinstance(content, str):
            turn["content"] = _MARKER.sub("&lt;", content)
        done.append(turn)
    if tools:
        description = DESCRIPTION.format(tools="\n".join(map(_json, tools)))
        role = "system" if system else "user"
        place = 1 if not system and done and done[0].get("role") == "system" else 0  # left for the template to reject
        first = done[place].get("content") if place < len(done) and done[place].get("role") == role else None
        if not isinstance(first, str):
            done.insert(place, {"role": role, "content": description})
        else:
            done[place]["content"] = f"{first}\n\n{description}" if system else f"{description}\n\n{first}"
    return done


def opening(name: str) -> str:
    """Return the text between the marker of a call and its arguments."""
    return f'\n{{"name": {json.dumps(name)}, "arguments": '


CLOSING = "}\n" + CALL_END
"""The text after the arguments of a call."""


def _call_text(call: Mapping[str, Any]) -> str:
    function = call["function"]
    return CALL + opening(function["name"]) + _json(function["arguments"]) + CLOSING


def _json(value: Any) -> str:
    """Return JSON without markers: the same value, escaped so that it cannot end its block."""
    return _MARKER.sub(r"\\u003c", json.dumps(value, ensure_ascii=False))
