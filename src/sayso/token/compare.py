"""Compare the three kinds of tokenizers on text that none of them was trained on.

Takes training and held-out texts, or tokenizers; returns one row of numbers each, and how each encodes a word with two
letters swapped: byte pairs break into smaller pieces, a word becomes unknown, characters hardly change.
"""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sayso.base.errors import UserError
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import TOKENIZER_KINDS, train
from sayso.token.whole import WholeTokenizer

LONG_WORD = re.compile(r"(?<![^\W\d_])[a-z]{7,}(?![^\W\d_])")
RUNS = 3  # the fastest counts: a slower one was disturbed


@dataclass(frozen=True)
class ComparedTokenizer:
    """One tokenizer on held-out text."""

    name: str
    vocab_size: int
    bytes_per_token: float
    tokens_per_word: float  # words are separated by white space
    unknown_rate: float  # share of pieces (words, characters) that are not in the vocabulary and had to be spelled
    encode_mb_s: float  # UTF-8 megabytes a second, all texts in one call
    word: str
    word_pieces: tuple[str, ...]
    misspelt: str
    misspelt_pieces: tuple[str, ...]


def compare_tokenizers(
    train_texts: Sequence[str], test_texts: Sequence[str], vocab_size: int
) -> list[ComparedTokenizer]:
    """Train one tokenizer of each kind and measure all on the held-out texts."""
    word = frequent_word(test_texts)
    return [measure_tokenizer(kind, train(kind, train_texts, vocab_size), test_texts, word) for kind in TOKENIZER_KINDS]


def measure_tokenizer(name: str, tokenizer: Tokenizer, texts: Sequence[str], word: str) -> ComparedTokenizer:
    """Return the numbers of one tokenizer; no text at all is a `UserError`."""
    words, size = sum(len(text.split()) for text in texts), sum(len(text.encode()) for text in texts)
    if not words:
        raise UserError("Comparing tokenizers needs held-out text with words in it; got none. Add more text.")
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        encoded = tokenizer.encode_batch(texts)
        seconds.append(time.perf_counter() - start)
    tokens = sum(map(len, encoded))
    wrong = misspell(word)
    return ComparedTokenizer(
        name=name,
        vocab_size=tokenizer.vocab_size,
        bytes_per_token=size / tokens,
        tokens_per_word=tokens / words,
        unknown_rate=_unknown_rate(tokenizer, texts),
        encode_mb_s=size / 1e6 / min(seconds),
        word=word,
        word_pieces=_pieces(tokenizer, word),
        misspelt=wrong,
        misspelt_pieces=_pieces(tokenizer, wrong),
    )


def frequent_word(texts: Sequence[str]) -> str:
    """Return the commonest word of seven or more small letters, the first in the alphabet of equals."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(LONG_WORD.findall(text))
    return min(counts, key=lambda word: (-counts[word], word), default="definitely")


def misspell(word: str) -> str:
    """Return the word with two neighbouring letters near its middle swapped, ones that differ."""
    middle = len(word) // 2
    for at in sorted(range(1, len(word) - 1), key=lambda at: abs(at - middle)):
        if word[at] != word[at + 1]:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word


def _pieces(tokenizer: Tokenizer, word: str) -> tuple[str, ...]:
    """Return the tokens of a word as in running text, after a space."""
    return tuple(tokenizer.decode([token]) for token in tokenizer.encode(f" {word}"))


def _unknown_rate(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Return the share of unknown pieces; byte pairs have none, for each byte is a token of the vocabulary."""
    if not isinstance(tokenizer, WholeTokenizer):
        return 0.0
    counts = [tokenizer.unknown(text) for text in texts]
    return sum(unknown for unknown, _ in counts) / max(1, sum(pieces for _, pieces in counts))
