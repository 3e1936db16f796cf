"""The tools of a stored prompt: takes its turns, returns the tools in OpenAI's format, or the turns with them as text.

A recorded prompt has its tools in a first turn of the role "tools"; another one may list them in its text.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from sayso.text.document import Messages
from sayso.token.tools import tool_text

TOOLS = "tools"
"""Role of the turn in which the tools of a recorded prompt are, as JSON."""
_PLAIN = ("system", "user", "assistant")
_TOOLS = re.compile(r"<tools>\s*\n(.*?)\n\s*</tools>", re.DOTALL)


def tools_of(prompt: Messages) -> tuple[Mapping[str, Any], ...]:
    """Return the tools of a prompt: those of its turn of tools, and those that its text lists, one a line."""
    found = [tool for turn in prompt if turn["role"] == TOOLS for tool in _listed(str(turn["content"]))]
    for turn in prompt:
        for block in _TOOLS.findall(str(turn.get("content") or "")) if turn["role"] in ("system", "user") else ():
            found += [tool for line in block.splitlines() if (tool := _tool(line)) is not None]
    return tuple(found)


def is_chat(prompt: Messages) -> bool:
    """Whether a stored prompt is a conversation that can be answered again, rather than a raw text."""
    return bool(prompt) and all(turn["role"] in (*_PLAIN, "tool", TOOLS) for turn in prompt)


def with_tool_text(prompt: Messages) -> Messages:
    """Return a prompt in the roles system, user and assistant, with its tools, calls and results as text.

    Raises `UserError` for a result whose call is not in the prompt.
    """
    plain = all(turn["role"] in _PLAIN and "tool_calls" not in turn for turn in prompt)
    return prompt if plain else tool_text([turn for turn in prompt if turn["role"] != TOOLS], tools_of(prompt))


def _listed(text: str) -> list[Mapping[str, Any]]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found = [_tool(json.dumps(one)) for one in listed] if isinstance(listed, list) else []
    return [tool for tool in found if tool is not None]


def _tool(line: str) -> Mapping[str, Any] | None:
    try:
        tool = json.loads(line)
        return tool if isinstance(tool["function"]["name"], str) else None
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
