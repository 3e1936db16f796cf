"""The interface of all tokenizers: text or bytes to ids and back, without loss.

Ids 0 to 4 are the control tokens of a document and a conversation. They are never the result of encoding: what the
user types is text, even if it reads "<|end|>". Bytes that are not UTF-8 become byte tokens, so nothing is lost.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from sayso.base.errors import UserError

BOS, SYSTEM, USER, ASSISTANT, END = SPECIALS = ("<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
SMALLEST_VOCABULARY = len(SPECIALS) + 256  # the control tokens, and every byte, so that anything can be spelled

_ESCAPED = re.compile("([\udc80-\udcff]+)")


class Tokenizer(Protocol):
    """Five methods that turn text into ids and back, and six facts about the vocabulary."""

    @property
    def kind(self) -> str:
        """The way of cutting: "bpe", "word" or "character"."""

    @property
    def vocab_size(self) -> int:
        """How many ids there are; ids run from 0 to this, exclusive."""

    @property
    def specials(self) -> dict[str, int]:
        """The id of each control token in `SPECIALS`."""

    @property
    def control(self) -> dict[int, str]:
        """How each id that has no text is spelled."""

    @property
    def chat_template(self) -> str | None:
        """The chat template, as Jinja; None for a third-party tokenizer without one."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end a reply."""

    def encode(self, text: str | bytes) -> list[int]:
        """Return the ids of a text, or of any bytes; never a control token."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, the same as `encode` of each."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids without control tokens; bytes that are not UTF-8 become U+FFFD."""

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the exact bytes of ids; control tokens give none."""

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` into a folder, which is made if it is missing."""


def pieces(data: bytes) -> Iterator[str | bytes]:
    """Cut bytes into the stretches that are UTF-8 (as str) and the others (as bytes), in order."""
    for number, part in enumerate(_ESCAPED.split(data.decode("utf-8", "surrogateescape"))):
        if part:
            yield part.encode("utf-8", "surrogateescape") if number % 2 else part


def is_text(text: str) -> bool:
    """Whether a string is text that UTF-8 can hold: one with half of a surrogate pair is not."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def to_bytes(text: str) -> bytes:
    """Return a text's UTF-8 bytes; half of a surrogate pair, which UTF-8 forbids, becomes three bytes."""
    return text.encode("utf-8", "surrogatepass")


def check_size(vocab_size: int) -> None:
    """Raise `UserError` for a vocabulary that cannot hold the control tokens and the bytes."""
    if vocab_size < SMALLEST_VOCABULARY:
        raise UserError(
            f"A vocabulary needs {len(SPECIALS)} control tokens and 256 bytes, at least {SMALLEST_VOCABULARY}; got "
            f"{vocab_size}. Choose {SMALLEST_VOCABULARY} or more."
        )


def byte_spelling() -> dict[str, int]:
    """Return GPT-2's spelling of bytes: printable Latin-1 as itself, the other 68 from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
