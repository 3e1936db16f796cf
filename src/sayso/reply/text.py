"""The growing text of one reply: takes ids one by one, returns pieces of text that are safe to show.

A piece never contains part of a character, whose bytes may span several tokens, nor any part of a stop text: a
possible beginning of one is held back until the next tokens decide. How the text is split into tokens does not matter.
"""

import codecs
from collections.abc import Mapping, Sequence

from sayso.token.tokenizer import Tokenizer

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
    ) -> None:
        """Take the stop texts, whether to keep one in the text, and control tokens to spell out.

        A character that begins at the end of `prompt` belongs to the reply that completes it.
        """
        self.stopped, self.matched = False, ""
        self.offsets: list[int] = []
        """Of each id, the index of the character in which it begins, counted without regard to stop texts."""
        self._keep_stop, self._stop = keep_stop, stop
        self._characters = Characters(tokenizer, spelled)
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
        text = self._held + text
        if not stops:
            self._held = ""
            return text
        found = [(text.find(stop) + len(stop), text.find(stop), stop) for stop in self._stop if stop in text]
        if found:
            self.stopped, self._held = True, ""
            end, start, self.matched = min(found)  # the one that is complete first
            return text[: end if self._keep_stop else start]
        certain = len(text) - beginning(text, self._stop)
        self._held = text[certain:]
        return text[:certain]

    def close(self) -> str:
        """Return what was held back, at the end of the reply; an incomplete character is dropped."""
        text, self._held = self._held, ""
        return text


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
