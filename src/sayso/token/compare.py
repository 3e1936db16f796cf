"""Compare the three kinds of tokenizers on held-out text.

Takes training and held-out texts, or tokenizers; returns one row of numbers for each, and how it encodes a word with
two letters swapped: byte pairs break into smaller pieces, a word becomes unknown, characters hardly change.
"""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.table import Table

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows
from sayso.text.prepared import limited
from sayso.text.rows import report_ignored, report_rows
from sayso.text.sources import file_source, read_part
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import TOKENIZER_KINDS, train
from sayso.token.whole import WholeTokenizer

LONG_WORD = re.compile(r"(?<![^\W\d_])[a-z]{7,}(?![^\W\d_])")
PIECE = 2_000  # characters: text files are split into documents of this size, so that part of a file can be held out
HELD_OUT_EVERY = 10  # every tenth document of a given text is held out
RUNS = 3  # the fastest counts; other work slows the others


@dataclass(frozen=True)
class ComparedTokenizer:
    """Figures of one tokenizer on held-out text."""

    name: str
    vocab_size: int
    bytes_per_token: float
    tokens_per_word: float  # words are separated by white space
    unknown_rate: float  # share of pieces (words, characters) outside the vocabulary, encoded as bytes
    encode_mb_s: float  # UTF-8 megabytes per second, all texts in one call
    word: str
    word_pieces: tuple[str, ...]
    misspelt: str
    misspelt_pieces: tuple[str, ...]

    def summary(self) -> dict[str, float]:
        """Return the rounded figures that a trained tokenizer is stored with."""
        digits = {"bytes_per_token": 4, "tokens_per_word": 4, "encode_mb_s": 2}
        return {name: round(getattr(self, name), places) for name, places in digits.items()}


def compare_tokenizers(
    train_texts: Sequence[str], test_texts: Sequence[str], vocab_size: int
) -> list[ComparedTokenizer]:
    """Train one tokenizer of each kind and measure all on the held-out texts."""
    word = frequent_word(test_texts)
    return [measure_tokenizer(kind, train(kind, train_texts, vocab_size), test_texts, word) for kind in TOKENIZER_KINDS]


def measure_tokenizer(name: str, tokenizer: Tokenizer, texts: Sequence[str], word: str) -> ComparedTokenizer:
    """Return the figures of one tokenizer. Raises `UserError` if the texts have no words."""
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


def comparison_tables(rows: list[ComparedTokenizer]) -> Group:
    """Return the rows as two tables: metrics, and the tokens of a sample word, with "·" for a space."""
    numbers = Table("tokenizer", title="On held-out text", title_justify="left")
    for name in ("vocabulary", "bytes per token", "tokens per word", "unknown", "encode MB/s"):
        numbers.add_column(name, justify="right")
    words = Table(
        "tokenizer", rows[0].word, rows[0].misspelt, title="A word, and the same word misspelled", title_justify="left"
    )
    for row in rows:
        numbers.add_row(
            row.name,
            f"{row.vocab_size:,}",
            f"{row.bytes_per_token:.2f}",
            f"{row.tokens_per_word:.2f}",
            f"{row.unknown_rate:.2%}",
            f"{row.encode_mb_s:.1f}",
        )
        words.add_row(
            row.name, *("|".join(pieces).replace(" ", "·") for pieces in (row.word_pieces, row.misspelt_pieces))
        )
    return Group(numbers, words)


def texts_of_files(names: Sequence[str], megabytes: float, bad: BadRows) -> tuple[list[str], list[str]]:
    """Return the documents of text files and folders, without duplicates, as training and held-out texts.

    Raises `UserError` for a missing file, and for text too short to divide.
    """
    for name in names:
        if not Path(name).exists():
            raise UserError(f"Text to compare on must be a file or a folder; '{name}' does not exist.")
    sources = [file_source(name, PIECE) for name in names]
    report_ignored(sources)
    read_texts = (doc.text for source in sources for part in source.parts for doc in read_part(part, bad))
    texts = list(dict.fromkeys(limited(read_texts, megabytes)))
    report_rows(bad)
    return divided(texts, names[0])


def divided(texts: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Return training texts, and every tenth text for the comparison. Raises `UserError` for fewer than two."""
    if len(texts) < 2:
        raise UserError(
            f"Tokenizers are compared on held-out text, but '{name}' is too short to split. Provide more text."
        )
    return [text for number, text in enumerate(texts) if number % HELD_OUT_EVERY], list(texts[::HELD_OUT_EVERY])


def frequent_word(texts: Sequence[str]) -> str:
    """Return the most common word of seven or more lower-case letters; ties go to the alphabetically first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(LONG_WORD.findall(text))
    return min(counts, key=lambda word: (-counts[word], word), default="definitely")


def misspell(word: str) -> str:
    """Return the word with two adjacent, different letters near its middle swapped."""
    middle = len(word) // 2
    for at in sorted(range(1, len(word) - 1), key=lambda at: abs(at - middle)):
        if word[at] != word[at + 1]:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word


def _pieces(tokenizer: Tokenizer, word: str) -> tuple[str, ...]:
    """Return the tokens of a word as in running text, after a space."""
    return tuple(tokenizer.decode([token]) for token in tokenizer.encode(f" {word}"))


def _unknown_rate(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Return the share of unknown pieces; byte pairs have none, since every byte is a token of the vocabulary."""
    if not isinstance(tokenizer, WholeTokenizer):
        return 0.0
    counts = [tokenizer.unknown(text) for text in texts]
    return sum(unknown for unknown, _ in counts) / max(1, sum(pieces for _, pieces in counts))
