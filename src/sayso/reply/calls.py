"""Tool calls in a reply: takes its text piece by piece, returns text and calls piece by piece.

A possible beginning of a marker is held back, and so is whitespace before one; arguments stream as they are written.
How the text was split into pieces does not affect the combined result. A block that is not a call stays text.
"""

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sayso.reply.text import beginning
from sayso.token.tools import CALL, CALL_END

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*')


@dataclass(frozen=True)
class Delta:
    """A further piece of a reply: of its text, of its reasoning, or of one of its calls."""

    content: str = ""
    reasoning: str = ""
    call: int | None = None
    """Index of the call, from 0; None for text and reasoning."""
    id: str = ""
    """With `name`, only in the first piece of a call."""
    name: str = ""
    arguments: str = ""
    """A further piece of the call's arguments, which together are JSON."""

    def openai(self) -> dict[str, Any]:
        """Return it as the `delta` of a chunk in OpenAI's stream format."""
        if self.call is None:
            return {"reasoning_content": self.reasoning} if self.reasoning else {"content": self.content}
        function = {"name": self.name, "arguments": self.arguments} if self.id else {"arguments": self.arguments}
        head = {"id": self.id, "type": "function"} if self.id else {}
        return {"tool_calls": [{"index": self.call, **head, "function": function}]}


@dataclass
class Call:
    """One call so far."""

    id: str
    name: str
    arguments: str = ""
    """JSON as the model wrote it; incomplete if the reply was cut off."""


def new_id() -> str:
    """Return a unique name for a call."""
    return f"call_{uuid.uuid4().hex[:24]}"


class ToolCalls:
    """Collects the text and the calls of one reply."""

    def __init__(self, name: Callable[[], str] = new_id) -> None:
        """`name` returns a unique id for each call."""
        self.content, self.calls = "", list[Call]()
        self._name = name
        self._held = ""  # text whose meaning depends on the next piece
        self._block: _Block | None = None
        self._after_call = False  # only whitespace since the last call

    def push(self, text: str) -> list[Delta]:
        """Take the next piece of the reply; return what is certain now."""
        self._held += text
        found: list[Delta] = []
        while self._block_step(found) if self._block else self._text_step(found):
            pass
        return found

    def close(self, *, cut: bool = False) -> list[Delta]:
        """Return what was held back, at the end of the reply; the rest of a block that is not a call is text.

        If the reply was `cut`, such as by its length, an incomplete marker or beginning of a call is dropped.
        """
        found: list[Delta] = []
        if self._block is not None:
            if not self._block.started and not cut:
                self._emit_text(self._block.text + self._held, found)
        elif not (self._after_call and not self._held.strip()):
            half = beginning(self._held, (CALL,)) if cut else 0
            self._emit_text(self._held[:-half].rstrip() if half else self._held, found)
        self._held, self._block = "", None
        return found

    def message(self) -> dict[str, Any]:
        """Return the reply so far as OpenAI's message."""
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.calls
        ]
        if not calls:
            return {"role": "assistant", "content": self.content}
        return {"role": "assistant", "content": self.content or None, "tool_calls": calls}

    def _emit_text(self, text: str, found: list[Delta]) -> None:
        if text:
            self.content += text
            self._after_call = False
            found.append(Delta(text))

    def _text_step(self, found: list[Delta]) -> bool:
        """Emit the text up to a marker, or up to a possible one; return whether a block begins."""
        before, mark, after = self._held.partition(CALL)
        if mark:
            content = before.rstrip()
            self._emit_text(content, found)
            self._held, self._block = after, _Block(before[len(content) :])
            return True
        certain = len(self._held) - beginning(self._held, (CALL,))
        certain = len(self._held[:certain].rstrip())  # whitespace before a marker belongs to it
        self._emit_text(self._held[:certain], found)
        self._held = self._held[certain:]
        return False

    def _block_step(self, found: list[Delta]) -> bool:
        """Continue to read a block; return whether it ended."""
        block = self._block
        assert block is not None
        if not block.done:
            self._held = block.read(self._held)
            self._emit_call(block, found)
        if block.done == "broken":
            self._emit_text(block.text, found)
            self._block = None
            return True
        if not block.done:
            return False
        rest = self._held.lstrip()
        if CALL_END.startswith(rest) and rest != CALL_END:
            return False  # the end marker may still come
        self._held = rest.removeprefix(CALL_END)
        self._block, self._after_call = None, True
        return True

    def _emit_call(self, block: "_Block", found: list[Delta]) -> None:
        """Emit the name as soon as it is complete, then the arguments as they are written."""
        if not block.started and block.name is not None:
            block.started = True
            call = Call(self._name(), block.name)
            self.calls.append(call)
            found.append(Delta(call=len(self.calls) - 1, id=call.id, name=call.name))
        if block.started and (more := block.arguments()):
            self.calls[-1].arguments += more
            found.append(Delta(call=len(self.calls) - 1, arguments=more))


class _Block:
    """The JSON object of one call while it grows."""

    def __init__(self, space: str) -> None:
        """`space` is the whitespace before the marker, which is text only if this is not a call."""
        self._space = space
        self.seen, self.done, self.started = "", "", False
        self.name: str | None = None
        self._depth, self._quoted, self._escaped = 0, False, False
        self._nested = False
        self._from: int | None = None  # start of the arguments in `seen`, and end
        self._to: int | None = None
        self._emitted = 0

    @property
    def text(self) -> str:
        """The text of the block so far."""
        return self._space + CALL + self.seen

    def read(self, text: str) -> str:
        """Read up to the end of the object; return the text after it."""
        start, self.seen = len(self.seen), self.seen + text
        for place in range(start, len(self.seen)):
            letter = self.seen[place]
            self._count(letter)
            if self._depth <= 0 and not letter.isspace():
                self.seen, rest = self.seen[: place + 1], self.seen[place + 1 :]
                self._finish()
                return rest
            if self._depth == 2 and not self._nested:
                self._open(place, letter)
            elif self._from is not None and self._to is None and self._depth == 1:
                self._to = place + 1
        return ""

    def arguments(self) -> str:
        """Return the new arguments since the last time."""
        if self._from is None:
            return ""
        start, end = max(self._from, self._emitted), len(self.seen) if self._to is None else self._to
        self._emitted = max(self._emitted, end)
        return self.seen[start:end]

    def _count(self, letter: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._quoted:
            self._escaped, self._quoted = letter == "\\", letter != '"'
        elif letter == '"':
            self._quoted = True
        elif letter in "{[":
            self._depth += 1
        elif letter in "]}":
            self._depth -= 1

    def _open(self, place: int, letter: str) -> None:
        """Treat the first nested value as the arguments, if only the name precedes it."""
        self._nested = True
        head = _HEAD.fullmatch(self.seen, 0, place)
        if head and letter == "{":
            try:
                self.name, self._from = json.loads(head[1]), place
            except ValueError:
                return

    def _finish(self) -> None:
        """End the object: a call that was already emitted, a call parsed at its end, or not a call."""
        self.done = "complete"
        if self._from is not None:
            return
        try:
            value = json.loads(self.seen)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            self.done = "broken"
            return
        arguments = value.get("arguments") or {}
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        # Arguments elsewhere in the object, or as text: move them to the end, to be emitted from there.
        self.name, self._from = value["name"], len(self.seen)
        self.seen += text
