"""Prompts as an echo returns them: takes ids, and the text that they were made from; returns text and offsets."""

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.reply.text import Characters
from sayso.token.tokenizer import Tokenizer, is_text


@dataclass(frozen=True)
class EchoedPrompt:
    """A prompt that is part of the response."""

    ids: Sequence[int]
    text: str
    """Without an incomplete character at the end, which the reply completes."""
    offsets: Sequence[int]
    """Index of the character in which each id begins; at most the length of the text."""


def echoed_prompt(tokenizer: Tokenizer, ids: Sequence[int], text: str | None = None) -> EchoedPrompt:
    """Return a prompt as sent: `text` if given, or that of the ids, without a blank that the tokenizer prepends."""
    characters = Characters(tokenizer)
    found = [characters.push(token) for token in ids]
    decoded = "".join(part for _, part in found)
    if text is None or not is_text(text):
        text = decoded[1:] if decoded.startswith(" ") and _prepends_blank(tokenizer) else decoded
    removed = len(decoded) - len(text) if decoded.endswith(text) else 0
    return EchoedPrompt(ids, text, [min(max(offset - removed, 0), len(text)) for offset, _ in found])


def _prepends_blank(tokenizer: Tokenizer) -> bool:
    """Return whether every text begins with a blank, as with SentencePiece."""
    return tokenizer.decode(tokenizer.encode("a")) == " a"
