"""The reasoning at the beginning of a reply: takes its text piece by piece, returns reasoning and the rest.

A possible beginning of a marker is held back. White space around the markers belongs to them.
"""

from sayso.reply.text import beginning
from sayso.token.reasoning import Reasoning
from sayso.token.template import THINK, THINK_END


def with_marker(text: str, reasoning: Reasoning) -> str:
    """Return a reply with the marker that its prompt ended with, so that it can be read by itself."""
    return f"{THINK}\n{text}" if text and reasoning == "open" else text


def split_reasoning(text: str) -> tuple[str, str]:
    """Return the reasoning of a whole reply, none if it does not begin with `<think>`, and the rest."""
    parser = ReasoningParser("possible")
    parts = parser.push(text), parser.close()
    return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]


class ReasoningParser:
    """Splits one reply. Without `<think>` at its beginning, or in the prompt, it has no reasoning."""

    def __init__(self, reasoning: Reasoning) -> None:
        self.text = ""
        """The reasoning so far."""
        self._part = {"none": "rest", "possible": "start", "open": "reasoning"}[reasoning]
        self._held = ""

    def push(self, text: str) -> tuple[str, str]:
        """Take the next piece; return what is certain now of the reasoning and of the rest."""
        self._held += text
        found = ""
        if self._part == "start":
            self._begin()
        if self._part == "reasoning":
            found = self._read()
        if self._part == "after" and (rest := self._held.lstrip()):
            self._part, self._held = "rest", rest
        if self._part != "rest":
            return found, ""
        rest, self._held = self._held, ""
        return found, rest

    def close(self, *, cut: bool = False) -> tuple[str, str]:
        """Return what was held back, at the end of the reply; of a reply that was cut, no part of a marker."""
        held, self._held = self._held, ""
        if self._part == "start":
            return "", held[: len(held) - beginning(held, (THINK,))] if cut else held
        if self._part != "reasoning":
            return "", ""
        held = held[: len(held) - beginning(held, (THINK_END,))] if cut else held
        return self._more(held.rstrip()), ""

    def _begin(self) -> None:
        """Decide whether the reply begins with a marker, as soon as that is certain."""
        text = self._held.lstrip()
        if text.startswith(THINK):
            self._part, self._held = "reasoning", text.removeprefix(THINK)
        elif not THINK.startswith(text):
            self._part = "rest"

    def _read(self) -> str:
        """Return more reasoning, up to a marker or to the possible beginning of one."""
        text = self._held if self.text else self._held.lstrip()
        before, mark, after = text.partition(THINK_END)
        if mark:
            self._part, self._held = "after", after
            return self._more(before.rstrip())
        certain = len(text[: len(text) - beginning(text, (THINK_END,))].rstrip())
        self._held = text[certain:]
        return self._more(text[:certain])

    def _more(self, text: str) -> str:
        self.text += text
        return text
