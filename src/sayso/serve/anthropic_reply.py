"""A reply in the format of Anthropic's messages: takes pieces, builds content blocks, and returns stream events.

Text becomes a `text` block, reasoning a `thinking` block, each tool call a `tool_use` block; one is closed before the
next begins.
"""

import json
import uuid
from typing import Any

from sayso.reply.calls import Delta
from sayso.reply.parser import ReplyParser
from sayso.serve.choice import Choice, ChoicePiece
from sayso.token.reasoning import Reasoning

_Event = dict[str, Any]


class MessageReply:
    """The growing message of one reply."""

    def __init__(self, model: str, choice: Choice, *, calls: bool, reasoning: Reasoning = "none") -> None:
        """Take the model's name, the choice that is generated, and whether its text may call tools and reason."""
        self.message: dict[str, Any] = {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {},
        }
        self._choice = choice
        name = lambda: f"toolu_{uuid.uuid4().hex[:24]}"  # noqa: E731 - of a call
        self._parser = ReplyParser(calls=calls, reasoning=reasoning, name=name)
        self._arguments = ""
        self._begun = self._open = False

    def push(self, piece: ChoicePiece) -> list[_Event]:
        """Take a piece; return its events, including the first and the last ones of the message."""
        events = [] if self._begun else [self._begin()]
        deltas = self._parser.push(piece.text)
        if piece.finish:
            deltas += self._parser.close(cut=piece.finish != "stop")
        for delta in deltas:
            if delta.reasoning:
                events += self._think(delta.reasoning)
            else:
                events += self._text(delta.content) if delta.call is None else self._call(delta)
        return events + (self._end(piece) if piece.finish else [])

    def _begin(self) -> _Event:
        self._begun = True
        request = self._choice.request
        self.message["usage"] = {
            "input_tokens": len(request.prompt) - request.reused,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": request.reused,
            "output_tokens": 0,
        }
        return {"type": "message_start", "message": {**self.message, "content": [], "usage": {**self.message["usage"]}}}

    def _text(self, text: str) -> list[_Event]:
        content, events = self.message["content"], []
        if not self._open or content[-1]["type"] != "text":
            events = self._close() + self._add({"type": "text", "text": "", "citations": None})
        content[-1]["text"] += text
        return [*events, self._delta({"type": "text_delta", "text": text})]

    def _think(self, text: str) -> list[_Event]:
        content, events = self.message["content"], []
        if not self._open or content[-1]["type"] != "thinking":
            events = self._close() + self._add({"type": "thinking", "thinking": "", "signature": ""})
        content[-1]["thinking"] += text
        return [*events, self._delta({"type": "thinking_delta", "thinking": text})]

    def _call(self, delta: Delta) -> list[_Event]:
        events: list[_Event] = []
        if delta.id:
            block = {"type": "tool_use", "id": delta.id, "name": delta.name, "input": {}}
            events = self._close() + self._add(block)
        if delta.arguments:
            self._arguments += delta.arguments
            events.append(self._delta({"type": "input_json_delta", "partial_json": delta.arguments}))
        return events

    def _add(self, block: dict[str, Any]) -> list[_Event]:
        """Open a block."""
        self.message["content"].append(block)
        self._open, self._arguments = True, ""
        return [{"type": "content_block_start", "index": self._place, "content_block": {**block}}]

    def _close(self) -> list[_Event]:
        """Close the open block, if any; a call's arguments become its input, unless the reply was cut inside them."""
        if not self._open:
            return []
        block = self.message["content"][-1]
        if block["type"] == "tool_use":
            block["input"] = _object(self._arguments)
        self._open = False
        return [{"type": "content_block_stop", "index": self._place}]

    def _end(self, piece: ChoicePiece) -> list[_Event]:
        events = self._close()
        matched = self._choice.text.matched
        called = any(block["type"] == "tool_use" for block in self.message["content"])
        if piece.finish != "stop":
            reason = "max_tokens"
        elif matched:
            reason = "stop_sequence"
        else:
            reason = "tool_use" if called else "end_turn"
        self.message["usage"]["output_tokens"] = piece.tokens
        stop = {"stop_reason": reason, "stop_sequence": matched or None}
        self.message |= stop
        usage = {**self.message["usage"]}
        return [*events, {"type": "message_delta", "delta": stop, "usage": usage}, {"type": "message_stop"}]

    def _delta(self, delta: dict[str, Any]) -> _Event:
        return {"type": "content_block_delta", "index": self._place, "delta": delta}

    @property
    def _place(self) -> int:
        return len(self.message["content"]) - 1


def _object(text: str) -> dict[str, Any]:
    """Return the arguments of a call; empty if they are incomplete."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
