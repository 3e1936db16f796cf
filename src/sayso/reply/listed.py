"""The tools that the text of a prompt lists: takes its turns, returns them in OpenAI's format."""

import json
import re
from collections.abc import Mapping
from typing import Any

from sayso.text.document import Messages

_TOOLS = re.compile(r"<tools>\s*\n(.*?)\n\s*</tools>", re.DOTALL)


def tools_of(prompt: Messages) -> tuple[Mapping[str, Any], ...]:
    """Return the tools between <tools> and </tools>, one a line; a line that is none is ignored."""
    found = []
    for turn in prompt:
        for block in _TOOLS.findall(str(turn.get("content") or "")) if turn["role"] in ("system", "user") else ():
            found += [tool for line in block.splitlines() if (tool := _tool(line)) is not None]
    return tuple(found)


def _tool(line: str) -> Mapping[str, Any] | None:
    try:
        tool = json.loads(line)
        return tool if isinstance(tool["function"]["name"], str) else None
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
