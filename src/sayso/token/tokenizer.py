"""The interface of all tokenizers: text or bytes to ids and back, without loss.

Ids 0 to 4 are the control tokens of a document and a conversation. Encoding never returns them: a
typed text stays text, even if it reads "<|end|>". Bytes that are not UTF-8 become byte tokens, so nothing is lost.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from sayso.base.errors import UserError

BOS, SYSTEM, USER, ASSISTANT, END = SPECIALS = ("<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
SMALLEST_VOCABULARY = len(SPECIALS) + 256  # the control tokens, and every byte, so that any text can be encoded

_ESCAPED = re.compile("([\udc80-\udcff]+)")


class Tokenizer(Protocol):
    """Convert text to ids and back."""

    @property
    def kind(self) -> str:
        """The kind of tokenizer: "bpe", "word" or "character" for ours."""

    @property
    def vocab_size(self) -> int:
        """The number of ids, which run from 0 to this, exclusive."""

    @property
    def specials(self) -> dict[str, int]:
        """The id of each control token in `SPECIALS`."""

    @property
    def control(self) -> dict[int, str]:
        """The name of each id that has no text."""

    @property
    def chat_template(self) -> str | None:
        """The chat template, as Jinja; None for a third-party tokenizer without one."""

    @property
    def begins(self) -> bool:
        """Whether the token that begins a document precedes each text, as third-party tokenizers may or may not do."""

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
        """Return the exact bytes of ids; control tokens have none."""

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` into a folder, which is created if necessary."""


def pieces(data: bytes) -> Iterator[str | bytes]:
    """Split bytes into the runs that are UTF-8 (as str) and the others (as bytes), in order."""
    for number, part in enumerate(_ESCAPED.split(data.decode("utf-8", "surrogateescape"))):
        if part:
            yield part.encode("utf-8", "surrogateescape") if number % 2 else part


def is_text(text: str) -> bool:
    """Whether UTF-8 can encode a string: not if it has a lone surrogate."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def to_bytes(text: str) -> bytes:
    """Return a text's UTF-8 bytes; a lone surrogate, which UTF-8 forbids, becomes three bytes."""
    return text.encode("utf-8", "surrogatepass")


def check_size(vocab_size: int) -> None:
    """Raise `UserError` for a vocabulary too small for the control tokens and the bytes."""
    if vocab_size < SMALLEST_VOCABULARY:
        raise UserError(
            f"A vocabulary must have {len(SPECIALS)} control tokens and 256 bytes; got {vocab_size} ids. Choose "
            f"{SMALLEST_VOCABULARY} or more."
        )


def byte_spelling() -> dict[str, int]:
    """Return the byte of each character that GPT-2 uses for bytes: printable Latin-1, then 68 from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
