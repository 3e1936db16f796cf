"""Learn a tokenizer of a given kind from texts."""

from collections.abc import Callable, Iterable, Iterator

from sayso.base.errors import UserError, nearest
from sayso.token.bpe import train_bpe
from sayso.token.tokenizer import Tokenizer, to_bytes
from sayso.token.whole import train_character, train_word

TRAINERS: dict[str, Callable[[Iterable[str], int], Tokenizer]] = {
    "bpe": train_bpe,
    "word": train_word,
    "character": train_character,
}
TOKENIZER_KINDS = tuple(TRAINERS)


def train(kind: str, texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return a tokenizer of one of `TOKENIZER_KINDS` with at most `vocab_size` ids.

    The texts are read once, as a stream. A small text may yield fewer ids than requested.
    Raises `UserError` for an unknown kind, empty texts, or a vocabulary too small for its fixed tokens.
    """
    if kind not in TRAINERS:
        known = ", ".join(TOKENIZER_KINDS)
        raise UserError(f"The tokenizer kind must be one of {known}; got '{kind}'.{nearest(kind, TOKENIZER_KINDS)}")
    stream = _Stream(texts)
    tokenizer = TRAINERS[kind](stream, vocab_size)
    if not stream.found:
        raise UserError("Training a tokenizer needs text, but all texts are empty; add text.")
    return tokenizer


class _Stream:
    """A stream of texts with lone surrogates replaced; `found` is whether any text was not empty."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts, self.found = texts, False

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            self.found = self.found or bool(text)
            yield text if text.isascii() else to_bytes(text).decode("utf-8", "replace")
