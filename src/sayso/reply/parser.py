"""The parts of a reply: takes its text piece by piece, returns reasoning, text and tool calls piece by piece."""

from collections.abc import Callable
from typing import Any

from sayso.reply.calls import Call, Delta, ToolCalls, new_id
from sayso.reply.reasoning import ReasoningParser
from sayso.token.reasoning import Reasoning


class ReplyParser:
    """Collects the parts of one reply."""

    def __init__(self, *, calls: bool = False, reasoning: Reasoning = "none", name: Callable[[], str] = new_id) -> None:
        """Take whether the reply may contain tool calls and reasoning; `name` returns a unique id for each call."""
        self._reasons = reasoning != "none"
        self._reasoning = ReasoningParser(reasoning)
        self._calls = ToolCalls(name) if calls else None
        self._content = ""

    @property
    def content(self) -> str:
        """The text so far, without reasoning and calls."""
        return self._calls.content if self._calls else self._content

    @property
    def calls(self) -> list[Call]:
        """The calls so far."""
        return self._calls.calls if self._calls else []

    def push(self, text: str) -> list[Delta]:
        """Take the next piece of the reply; return what is certain now."""
        return self._deltas(*self._reasoning.push(text))

    def close(self, *, cut: bool = False) -> list[Delta]:
        """Return what was held back, at the end of the reply.

        If the reply was `cut`, such as by its length, an incomplete marker or beginning of a call is dropped.
        """
        found = self._deltas(*self._reasoning.close(cut=cut))
        return found + (self._calls.close(cut=cut) if self._calls else [])

    def message(self) -> dict[str, Any]:
        """Return the reply so far as OpenAI's message, with DeepSeek's `reasoning_content` if it may reason."""
        message = self._calls.message() if self._calls else {"role": "assistant", "content": self._content}
        return message | ({"reasoning_content": self._reasoning.text or None} if self._reasons else {})

    def _deltas(self, reasoning: str, text: str) -> list[Delta]:
        found = [Delta(reasoning=reasoning)] if reasoning else []
        if self._calls:
            return found + self._calls.push(text)
        self._content += text
        return found + ([Delta(text)] if text else [])
