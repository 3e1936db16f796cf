"""Learn a tokenizer of a given kind from texts."""

from collections.abc import Callable, Iterable

from sayso.base.errors import UserError, nearest
from sayso.token.bpe import train_bpe
from sayso.token.tokenizer import Tokenizer

_TRAINERS: dict[str, Callable[[Iterable[str], int], Tokenizer]] = {"bpe": train_bpe}
KINDS = tuple(_TRAINERS)


def train(kind: str, texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return a tokenizer of one of `KINDS` with at most `vocab_size` ids; the texts are read once, as a stream.

    Raises `UserError` for an unknown kind, no text at all, or a vocabulary too small for its fixed tokens.
    """
    if kind not in _TRAINERS:
        raise UserError(f"A tokenizer is one of {', '.join(KINDS)}; got '{kind}'.{nearest(kind, KINDS)}")
    seen = [False]
    tokenizer = _TRAINERS[kind](_watched(texts, seen), vocab_size)
    if not seen[0]:
        raise UserError("A tokenizer is learned from text; the texts given are empty.")
    return tokenizer


def _watched(texts: Iterable[str], seen: list[bool]) -> Iterable[str]:
    for text in texts:
        seen[0] = seen[0] or bool(text)
        yield text
