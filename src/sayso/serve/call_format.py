"""Tool calls in the format of their request: of functions, of custom tools, or OpenAI's older `function_call`.

Takes calls as they are parsed; returns messages and the deltas of a stream.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sayso.reply.calls import Delta
from sayso.reply.parser import ReplyParser
from sayso.reply.tools import INPUT

_BEGIN = re.compile(rf'\s*\{{\s*"{INPUT}"\s*:\s*"((?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{{4}}))*)')
_HALF = re.compile("[\ud800-\udbff]$")  # the first half of a character that JSON spells as two escapes


@dataclass(frozen=True)
class CallFormat:
    """The format of the calls of one response."""

    legacy: bool = False
    """Whether the one call of a reply is a `function_call`."""
    custom: frozenset[str] = frozenset()
    """Names of the custom tools, whose calls have an input instead of arguments."""

    def finish(self, parsed: ReplyParser, finish: str) -> str:
        """Return the finish reason of a reply."""
        if not parsed.calls or finish != "stop":
            return finish
        return "function_call" if self.legacy else "tool_calls"

    def message(self, parsed: ReplyParser) -> dict[str, Any]:
        """Return a finished reply as a message."""
        message = parsed.message()
        calls = message.pop("tool_calls", [])
        if self.legacy and calls:
            return message | {"function_call": calls[0]["function"]}
        return message | ({"tool_calls": [self._call(call) for call in calls]} if calls else {})

    def deltas(self, parsed: ReplyParser, deltas: Sequence[Delta]) -> Iterator[dict[str, Any]]:
        """Yield the latest deltas of a parsed reply in the format of a stream."""
        for place, delta in enumerate(deltas):
            if delta.call is None:
                yield delta.openai()
            elif self.legacy:
                yield {"function_call": delta.openai()["tool_calls"][0]["function"]}
            elif parsed.calls[delta.call].name not in self.custom:
                yield delta.openai()
            else:
                later = sum(len(other.arguments) for other in deltas[place + 1 :] if other.call == delta.call)
                arguments = parsed.calls[delta.call].arguments
                end = len(arguments) - later
                text = call_input(arguments[:end])[len(call_input(arguments[: end - len(delta.arguments)])) :]
                if delta.id or text:
                    yield _custom_delta(delta, text)

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = call["function"]
        if function["name"] not in self.custom:
            return call
        custom = {"name": function["name"], "input": call_input(function["arguments"])}
        return {"id": call["id"], "type": "custom", "custom": custom}


def call_input(arguments: str) -> str:
    """Return the input of a custom tool's call as far as it is written; `arguments` may be incomplete JSON."""
    found = _BEGIN.match(arguments)
    return _HALF.sub("", json.loads(f'"{found[1]}"', strict=False)) if found else ""


def _custom_delta(delta: Delta, text: str) -> dict[str, Any]:
    head = {"id": delta.id, "type": "custom"} if delta.id else {}
    custom = {"name": delta.name, "input": text} if delta.id else {"input": text}
    return {"tool_calls": [{"index": delta.call, **head, "custom": custom}]}
