"""The growing text of one reply: takes ids one by one, returns pieces of text that are safe to show.

A piece never contains part of a character, whose bytes may span several tokens, nor any part of a stop text: a
possible beginning of one is held back until the next tokens decide. How the text is split into tokens does not matter.

Stop texts do not apply to reasoning and tool calls, as with OpenAI: they would leave a reply without its answer, and a
call with broken arguments.
"""

import codecs
from collections.abc import Mapping, Sequence

from sayso.token.reasoning import Reasoning, marker_names
from sayso.token.template import THINK, THINK_END
from sayso.token.tokenizer import Tokenizer
from sayso.token.tools import CALL

_LONGEST = 3  # bytes of an incomplete character


class Text:
    """Collects the text of one reply; `stopped` becomes true at a stop text, which is then `matched`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str] = (),
        *,
        keep_stop: bool = False,
        spelled: Mapping[int, str] | None = None,
        prompt: Sequence[int] = (),
        calls: bool = False,
        reasoning: Reasoning = "none",
    ) -> None:
        """Take the stop texts, whether to keep one in the text, and control tokens to spell out.

        A character that begins at the end of `prompt` belongs to the reply that completes it. `calls`: from the first
        marker of a call on, no stop text applies. `reasoning`: whether the text may begin with reasoning, where none
        applies either.
        """
        self.stopped, self.matched = False, ""
        self.offsets: list[int] = []
        """Of each id, the index of the character in which it begins, counted without regard to stop texts."""
        self.reasoning_tokens = 0
        """Number of ids of the reasoning so far, markers included."""
        self._calls, self._reasons = calls, False
        self._part = {"none": "content", "possible": "start", "open": "reasoning"}[reasoning]
        self._keep_stop, self._stop, self._active = keep_stop, stop, stop
        markers = marker_names(tokenizer) if reasoning != "none" else {}
        self._characters = Characters(tokenizer, {**(spelled or {}), **markers})
        self._characters.begin(prompt)
        self._held = ""

    def push(self, token: int, *, stops: bool = True) -> str:
        """Take the next id; return the text that is certain now, which may be empty.

        Without `stops` no stop text ends the reply, because it is below its minimum length.
        """
        if self.stopped:
            return ""
        offset, text = self._characters.push(token)
        self.offsets.append(offset)
        self._active, before = self._stop if stops else (), self._part
        found, self._held = self._split(self._held + text)
        if before == "reasoning":
            self.reasoning_tokens += 1
        elif before == "start" and self._reasons:
            self.reasoning_tokens = len(self.offsets)
        return found

    def close(self) -> str:
        """Return what was held back, at the end of the reply; an incomplete character is dropped."""
        text, self._held = self._held, ""
        return text if self._part != "content" else self._until_stop(text, len(text))

    def _split(self, text: str) -> tuple[str, str]:
        """Return the part of the text that is certain now, and the rest, which is held back."""
        done = ""
        if self._part == "start":
            begun = text.lstrip()
            if begun != THINK and THINK.startswith(begun):
                return "", text
            self._reasons = begun.startswith(THINK)
            self._part = "reasoning" if self._reasons else "content"
        if self._part == "reasoning":
            before, mark, after = text.partition(THINK_END)
            if not mark:
                certain = len(text) - beginning(text, (THINK_END,))
                return text[:certain], text[certain:]
            self._part, done, text = "after", before + mark, after
        if self._part == "after":  # white space after the marker belongs to it
            rest = text.lstrip()
            done, text = done + text[: len(text) - len(rest)], rest
            self._part = "content" if rest else "after"
        if self._part == "calls":
            return text, ""
        marks = (CALL,) if self._calls else ()
        call = text.find(CALL) if self._calls else -1
        limit = len(text) - beginning(text, marks) if call < 0 else call
        kept = self._until_stop(text, limit)
        if self.stopped:
            return done + kept, ""
        if call >= 0:
            self._part = "calls"
            return done + text, ""
        certain = min(limit, len(text) - beginning(text, self._active))
        return done + text[:certain], text[certain:]

    def _until_stop(self, text: str, limit: int) -> str:
        """Return the text up to the stop text that is complete first, of those that end within `limit` characters."""
        places = [(text.find(stop, 0, limit), stop) for stop in self._active]
        found = [(start + len(stop), start, stop) for start, stop in places if start >= 0]
        if not found:
            return text
        self.stopped = True
        end, start, self.matched = min(found)
        return text[: end if self._keep_stop else start]


class Characters:
    """Decodes ids one by one. Bytes that are not UTF-8 become U+FFFD; an incomplete character waits for more bytes."""

    def __init__(self, tokenizer: Tokenizer, spelled: Mapping[int, str] | None = None) -> None:
        """Take the tokenizer, and control tokens to spell out."""
        self._tokenizer, self._spelled = tokenizer, spelled or {}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._count = 0  # complete characters

    def begin(self, before: Sequence[int]) -> None:
        """Start with the incomplete character at the end of some ids, if any."""
        data = b""
        for token in reversed(before):
            data = token_bytes(self._tokenizer, token) + data
            if len(data) >= _LONGEST:
                break
        self._decoder.decode(data[-_LONGEST:])

    def push(self, token: int) -> tuple[int, str]:
        """Return the index of the character that contains the id's first byte, and the text completed by the id."""
        data = self._spelled[token].encode() if token in self._spelled else token_bytes(self._tokenizer, token)
        waiting, offset = self._decoder.getstate()[0], self._count
        if waiting and data:  # bytes that wait and are not continued become one or more U+FFFD before this id
            offset += len((waiting + data[:1]).decode("utf-8", "replace")) - 1
        text = self._decoder.decode(data)
        self._count += len(text)
        return offset, text


def token_bytes(tokenizer: Tokenizer, token: int) -> bytes:
    """Return the bytes of an id; none for control tokens, nor for ids of a head that is wider than the vocabulary."""
    return tokenizer.decode_bytes([token]) if token < tokenizer.vocab_size else b""


def beginning(text: str, stop: Sequence[str]) -> int:
    """Return the number of characters at the end of `text` that may begin one of the stop texts."""
    longest = max(map(len, stop), default=1) - 1
    for count in range(min(longest, len(text)), 0, -1):
        if any(text.endswith(mark[:count]) for mark in stop if count < len(mark)):
            return count
    return 0
