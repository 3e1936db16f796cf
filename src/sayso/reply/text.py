"""The growing text of one reply: takes ids one by one, returns pieces of text that are safe to show.

A piece never contains part of a character, whose bytes may span several tokens, nor any part of a stop text: a
possible beginning of one is held back until the next tokens decide. How the text is split into tokens does not matter.
"""

import codecs
from collections.abc import Mapping, Sequence

from sayso.token.tokenizer import Tokenizer


class Text:
    """Collects the text of one reply; `stopped` becomes true at a stop text, which is then `matched`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str] = (),
        *,
        keep_stop: bool = False,
        spelled: Mapping[int, str] | None = None,
    ) -> None:
        """Take the stop texts, whether to keep one in the text, and control tokens to spell out."""
        self.stopped, self.matched = False, ""
        self._keep_stop, self._spelled = keep_stop, spelled or {}
        self._tokenizer, self._stop = tokenizer, stop
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def push(self, token: int, *, stops: bool = True) -> str:
        """Take the next id; return the text that is certain now, which may be empty.

        Without `stops` no stop text ends the reply, because it is below its minimum length.
        """
        if self.stopped:
            return ""
        text = self._held + self._text_of(token)
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

    def _text_of(self, token: int) -> str:
        if token in self._spelled:
            return self._spelled[token]
        if token >= self._tokenizer.vocab_size:  # a head may be wider than the vocabulary: such ids have no text
            return ""
        return self._decoder.decode(self._tokenizer.decode_bytes([token]))

    def close(self) -> str:
        """Return what was held back, at the end of the reply; an incomplete character is dropped."""
        text, self._held = self._held, ""
        return text


def beginning(text: str, stop: Sequence[str]) -> int:
    """Return the number of characters at the end of `text` that may begin one of the stop texts."""
    longest = max(map(len, stop), default=1) - 1
    for count in range(min(longest, len(text)), 0, -1):
        if any(text.endswith(mark[:count]) for mark in stop if count < len(mark)):
            return count
    return 0
