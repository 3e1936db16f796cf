"""Whole words, or whole characters, as tokens: the two classic kinds of tokenizers, behind the same interface.

The vocabulary holds the most frequent pieces of the training text; a word keeps the space before it and its case, so
joining the pieces restores the text exactly. Unknown pieces are encoded as byte tokens, and counted.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.files import write_atomic, write_json
from sayso.token.chat import CHAT_TEMPLATE, config
from sayso.token.tokenizer import BOS, END, SMALLEST_VOCABULARY, SPECIALS, check_size, pieces, to_bytes

_WORD = re.compile(r" ?[^\W\d_]+(?:['’][^\W\d_]+)*| ?\d+| ?(?:[^\w\s]|_)|\s+(?!\S)|\s")
_CUTS: dict[str, Callable[[str], Iterable[str]]] = {"word": _WORD.findall, "character": iter}
MIN_COUNT = 2  # a piece seen once teaches nothing, and without unknown pieces the byte tokens are never trained

FIRST_BYTE = len(SPECIALS)


class WholeTokenizer:
    """Control tokens, then the 256 bytes, then the known pieces; a piece of one ASCII character is its byte."""

    begins = True
    chat_template = CHAT_TEMPLATE

    def __init__(self, kind: str, vocabulary: Sequence[str]) -> None:
        self.kind = kind
        self.vocabulary = tuple(vocabulary)
        self.vocab_size = SMALLEST_VOCABULARY + len(vocabulary)
        self.specials = {name: index for index, name in enumerate(SPECIALS)}
        self.control = {index: name for name, index in self.specials.items()}
        self.stop_ids = frozenset({self.specials[BOS], self.specials[END]})
        self._cut = _CUTS[kind]
        self._known = {chr(byte): FIRST_BYTE + byte for byte in range(128)}
        self._known |= {piece: index for index, piece in enumerate(vocabulary, SMALLEST_VOCABULARY)}
        letters = [bytes([byte]) for byte in range(256)]
        self._bytes = [b""] * len(SPECIALS) + letters + [piece.encode() for piece in vocabulary]

    def encode(self, text: str | bytes) -> list[int]:
        """Return the ids of a text, or of any bytes; never a control token."""
        ids: list[int] = []
        for part in pieces(to_bytes(text) if isinstance(text, str) else text):
            if isinstance(part, bytes):
                ids += _spelled(part)
                continue
            for piece in self._cut(part):
                known = self._known.get(piece)
                if known is None:
                    ids += _spelled(piece.encode())
                else:
                    ids.append(known)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids without control tokens; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the exact bytes of ids; control tokens have none."""
        return b"".join(map(self._bytes.__getitem__, ids))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, in our own format, and `tokenizer_config.json`."""
        content = {"kind": self.kind, "vocabulary": self.vocabulary}
        write_atomic(folder / "tokenizer.json", json.dumps(content, ensure_ascii=False, indent=0) + "\n")
        write_json(folder / "tokenizer_config.json", config(self.kind))

    def unknown(self, text: str) -> tuple[int, int]:
        """Return the number of pieces of a text that are not in the vocabulary, and of all its pieces."""
        cut = list(self._cut(text))
        return sum(piece not in self._known for piece in cut), len(cut)


def train_word(texts: Iterable[str], vocab_size: int) -> WholeTokenizer:
    """Take the most frequent words of a stream of texts."""
    return _train("word", texts, vocab_size)


def train_character(texts: Iterable[str], vocab_size: int) -> WholeTokenizer:
    """Take the most frequent characters of a stream of texts; those of ASCII are already known, as bytes."""
    return _train("character", texts, vocab_size)


def from_json(content: dict[str, object], path: Path) -> WholeTokenizer:
    """Return the tokenizer in a `tokenizer.json` of our own format. Raises `UserError` if it is damaged."""
    kind, vocabulary = content.get("kind"), content.get("vocabulary")
    if not (isinstance(kind, str) and kind in _CUTS and isinstance(vocabulary, list) and _unique_texts(vocabulary)):
        raise UserError(f"'{path}' is damaged: it must have a kind and a list of unique pieces. Train it again.")
    return WholeTokenizer(kind, vocabulary)


def _unique_texts(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values) and len(set(values)) == len(values)


def _train(kind: str, texts: Iterable[str], vocab_size: int) -> WholeTokenizer:
    check_size(vocab_size)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_CUTS[kind](text))
    new = [piece for piece, count in counts.items() if count >= MIN_COUNT and not (len(piece) == 1 and piece.isascii())]
    new.sort(key=lambda piece: (-counts[piece], piece))  # ties by spelling, so that the same text gives the same ids
    return WholeTokenizer(kind, new[: vocab_size - SMALLEST_VOCABULARY])


def _spelled(data: bytes) -> list[int]:
    return [FIRST_BYTE + byte for byte in data]
