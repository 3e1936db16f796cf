"""The file format: a header that says which model is needed, blocks with checksums, and an end.

    magic | length, JSON, CRC-32 | block ... | end

A block is its method, the sizes before and after, its tokens and streams, a digest of its original bytes, its payload,
and a CRC-32 of all that. The end is a block without payload, whose digest is that of the whole file. Integers are
little-endian. A file is treated as hostile: every length is checked before memory is allocated.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from sayso.base.errors import UserError

MAGIC = b"\x89sayso\r\n"
VERSION = 2  # in version 1, the mixture forgot everything at the start of each block
BLOCK = 1 << 20
"""Most bytes of a block before compression."""
DIGEST = 16
SHORTEST_WINDOW = 2
MOST_STREAMS = 256
_HEADER = 1 << 16
_WORD = 4  # bytes that the range coder writes at once
_LENGTH, _FIELDS = struct.Struct("<I"), struct.Struct(f"<BIIHI{DIGEST}s")


class Method(IntEnum):
    """How a block is stored."""

    STORED = 0
    XZ = 1
    MODEL = 2
    END = 255


@dataclass(frozen=True)
class Header:
    """What decompression needs to know first."""

    size: int
    """Bytes of the original."""
    model: str
    """Name of the model, for messages."""
    weights: str
    tokenizer: str
    """SHA-256 of both files."""
    engine: Mapping[str, str]
    """Versions of everything that the bits of a probability depend on."""
    window: int
    mix: bool


@dataclass(frozen=True)
class Block:
    """A part of the original."""

    method: Method
    size: int
    """Bytes of the original."""
    tokens: int
    streams: int
    digest: bytes
    """BLAKE2b of the original bytes."""
    payload: bytes


def write_header(file: BinaryIO, header: Header) -> None:
    """Write the beginning of a file."""
    content = json.dumps({"version": VERSION, **asdict(header)}, sort_keys=True, separators=(",", ":")).encode()
    file.write(MAGIC + _LENGTH.pack(len(content)) + content + _LENGTH.pack(crc32(content)))


def write_block(file: BinaryIO, block: Block) -> None:
    """Write a block."""
    fields = _FIELDS.pack(block.method, block.size, block.tokens, block.streams, len(block.payload), block.digest)
    file.write(fields + block.payload + _LENGTH.pack(crc32(block.payload, crc32(fields))))


def read_header(file: BinaryIO, path: Path) -> Header:
    """Read the beginning of a file. Raises `UserError` for another kind of file, a damaged one, or another version."""
    if file.read(len(MAGIC)) != MAGIC:
        raise UserError(f"'{path}' was not written by sayso compress, or its first bytes are damaged.")
    (length,) = _LENGTH.unpack(_exactly(file, path, _LENGTH.size))
    if length > _HEADER:
        raise _damaged(path, "its header has an impossible length")
    content = _exactly(file, path, length)
    if _LENGTH.unpack(_exactly(file, path, _LENGTH.size))[0] != crc32(content):
        raise _damaged(path, "its header does not match its checksum")
    try:
        found = json.loads(content)
        if found.pop("version") != VERSION:
            raise UserError(f"'{path}' has another version of the format; use the version of Sayso that wrote it.")
        header = Header(**found)
        engine = header.engine.items()
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise _damaged(path, "its header is not one of this format") from error
    texts = (header.model, header.weights, header.tokenizer, *(text for pair in engine for text in pair))
    typed = {str: texts, int: (header.size, header.window), bool: (header.mix,)}
    right = all(type(value) is kind for kind, values in typed.items() for value in values)
    if not right or header.size < 0 or header.window < SHORTEST_WINDOW:
        raise _damaged(path, "its header has impossible values")
    return header


def read_blocks(file: BinaryIO, path: Path) -> Iterator[Block]:
    """Yield the blocks, the end included. Raises `UserError` for a damaged or truncated file, or one with more."""
    while True:
        fields = _exactly(file, path, _FIELDS.size)
        method, size, tokens, streams, length, digest = _FIELDS.unpack(fields)
        if method not in set(Method) or not (size <= BLOCK and max(tokens, length) <= size and streams <= tokens):
            raise _damaged(path, "a block has impossible sizes")
        if method == Method.MODEL and not (1 <= streams <= MOST_STREAMS and length % _WORD == 0):
            raise _damaged(path, "a block has impossible sizes")
        payload = _exactly(file, path, length)
        if _LENGTH.unpack(_exactly(file, path, _LENGTH.size))[0] != crc32(payload, crc32(fields)):
            raise _damaged(path, "a block does not match its checksum")
        block = Block(Method(method), size, tokens, streams, digest, payload)
        if block.method is Method.END and file.read(1):
            raise _damaged(path, "more bytes follow its end")
        yield block
        if block.method is Method.END:
            return


def _exactly(file: BinaryIO, path: Path, count: int) -> bytes:
    if len(data := file.read(count)) < count:
        raise _damaged(path, "it ends too early")
    return data


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"'{path}' is damaged: {reason}. Copy it again, or compress the original again.")
