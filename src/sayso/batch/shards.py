"""Documents of ids on disk, in a few large files that are memory-mapped.

A shard is 8 bytes of magic, the header's size (uint32), a JSON header, and the body: each document's length (uint32),
then all ids, little-endian, with two bytes per id if the vocabulary allows. The header records the tokenizer and the
CRC-32 of the body, so that damaged files and those of another tokenizer are detected before training.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sayso.base.errors import UserError
from sayso.base.made import made_folder

MAGIC = b"saysotok"
VERSION = 1
_HEAD = "head_crc32"  # key of the header's checksum
DOCUMENTS_PER_SHARD = 65_536
TOKENS_PER_SHARD = 2**25  # limit for long documents: 64 MiB at two bytes per id
_FIX = "remove its folder and prepare the tokens again"

_Ids = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Header:
    """Header of a shard; `last` marks the last one, so that missing ones are detected."""

    version: int
    shard: int
    last: bool
    dtype: str
    documents: int
    tokens: int
    vocab_size: int
    tokenizer: str
    crc32: int


def write_shards(
    folder: Path,
    documents: Iterable[Sequence[int]],
    vocab_size: int,
    *,
    tokenizer: str,
    documents_per_shard: int = DOCUMENTS_PER_SHARD,
    tokens_per_shard: int = TOKENS_PER_SHARD,
) -> None:
    """Write documents of ids as shards into `folder`, atomically, with one shard in memory at a time.

    `tokenizer` is the fingerprint of the tokenizer that made the ids. Raises `UserError` for no documents, an empty
    document, or an id outside the vocabulary.
    """
    kind = np.dtype("<u2" if vocab_size <= 2**16 else "<u4")
    group: list[_Ids] = []

    def write(number: int, last: bool) -> None:
        tokens = sum(map(len, group))
        header = Header(VERSION, number, last, kind.str, len(group), tokens, vocab_size, tokenizer, 0)
        _write_shard(part, group, header)
        group.clear()

    with made_folder(folder) as part:
        number = tokens = 0
        for index, document in enumerate(documents):
            if group and (len(group) >= documents_per_shard or tokens + len(document) > tokens_per_shard):
                write(number, last=False)
                number, tokens = number + 1, 0
            group.append(_checked(document, index, vocab_size, kind))
            tokens += len(document)
        if not group:
            raise UserError("Token shards need at least one document; got none. Prepare text with: sayso prepare")
        write(number, last=True)


class Shards:
    """All documents in a folder of shards, by index; only used parts are read from disk."""

    def __init__(self, parts: list[_Ids], lengths: npt.NDArray[np.int64], header: Header) -> None:
        self.parts = parts  # ids of each shard
        self.lengths = lengths  # of all documents
        self.tokenizer, self.vocab_size = header.tokenizer, header.vocab_size
        self.starts = np.cumsum(lengths) - lengths  # position of each document in the concatenated shards
        self._parts = np.cumsum([0, *(len(part) for part in parts)])

    @classmethod
    def open(cls, folder: Path, *, tokenizer: str | None = None, verify: bool = True) -> Self:
        """Map a folder of shards into memory.

        With `verify`, each body's checksum is checked, at about 1 GB/s. With `tokenizer`, a fingerprint, shards made by
        another tokenizer are rejected. Raises `UserError` with the name of the file and how to fix it.
        """
        paths = sorted(folder.glob("*.tokens"))
        if not paths:
            raise UserError(f"A folder of token shards must have '*.tokens' files; '{folder}' has none: {_FIX}.")
        read = [_read_shard(path, verify) for path in paths]
        for number, (path, (header, _, _)) in enumerate(zip(paths, read, strict=True)):
            if header.shard != number or header.last != (number == len(paths) - 1):
                raise UserError(f"The shards in '{folder}' are incomplete ('{path.name}' is out of sequence): {_FIX}.")
            if tokenizer is not None and header.tokenizer != tokenizer:
                raise UserError(
                    f"Shards need the tokenizer that made them; '{path}' was made by {header.tokenizer[:12]}, "
                    f"this one is {tokenizer[:12]}: {_FIX}."
                )
        return cls([ids for _, _, ids in read], np.concatenate([lengths for _, lengths, _ in read]), read[0][0])

    @property
    def tokens(self) -> int:
        """Number of tokens in all documents."""
        return int(self.lengths.sum())

    def __len__(self) -> int:
        return len(self.lengths)

    def document(self, index: int) -> _Ids:
        """Return the ids of a document, a read-only view [length]."""
        part = int(np.searchsorted(self._parts, self.starts[index], "right")) - 1
        start = int(self.starts[index] - self._parts[part])
        return self.parts[part][start : start + int(self.lengths[index])]

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the ids at positions in the concatenated shards, of any shape."""
        ids = np.empty(positions.shape, np.int64)
        which = np.searchsorted(self._parts, positions, "right") - 1
        for part in np.unique(which):
            here = which == part
            ids[here] = self.parts[part][positions[here] - self._parts[part]]
        return ids


def _checked(document: Sequence[int], index: int, vocab_size: int, kind: np.dtype[np.unsignedinteger]) -> _Ids:
    ids = np.fromiter(document, np.int64, len(document))  # twice as fast as asarray for a list
    if not len(ids):
        raise UserError(f"A document needs at least one token; document {index} is empty. Drop it.")
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise UserError(
            f"Ids must be 0 to {vocab_size - 1}; document {index} has {ids.min()} to {ids.max()}. "
            "Encode it with this vocabulary's tokenizer."
        )
    return ids.astype(kind)


def _write_shard(folder: Path, documents: list[_Ids], header: Header) -> None:
    lengths = np.array([len(document) for document in documents], "<u4").tobytes()
    crc32 = zlib.crc32(lengths)
    for document in documents:
        crc32 = zlib.crc32(document.data, crc32)
    head = asdict(header) | {"crc32": crc32}
    text = json.dumps(head | {_HEAD: _crc_of(head)}).encode()
    text += b" " * (-(len(MAGIC) + 4 + len(text)) % 64)  # the body is aligned for the mapping
    with (folder / f"{header.shard:05d}.tokens").open("wb") as file:
        for bytes_ in (MAGIC, len(text).to_bytes(4, "little"), text, lengths):
            file.write(bytes_)
        for document in documents:  # one by one: joined, they would be in memory twice
            file.write(document.data)


def _crc_of(head: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(head).encode())


def _read_shard(path: Path, verify: bool) -> tuple[Header, npt.NDArray[np.int64], _Ids]:
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + 4)
        size = int.from_bytes(start[len(MAGIC) :], "little")
        text = file.read(size) if start[: len(MAGIC)] == MAGIC and size < 2**16 else b""
    try:
        head = json.loads(text)
        checksum = head.pop(_HEAD, None)  # shards of earlier versions have none
        header = Header(**head)
        kind = np.dtype(header.dtype)
        if header.version != VERSION or checksum not in (None, _crc_of(head)):
            raise ValueError(header.version)
    except (ValueError, TypeError, AttributeError, SyntaxError) as error:  # NumPy parses the name of a type as Python
        raise UserError(f"'{path}' is not a token shard, or its header is damaged: {_FIX}.") from error
    offset = len(start) + size
    expected = offset + 4 * header.documents + kind.itemsize * header.tokens
    if path.stat().st_size != expected:
        raise UserError(
            f"The shard '{path}' has {path.stat().st_size:,} bytes, but its header says {expected:,}: {_FIX}."
        )
    body = np.asarray(np.memmap(path, np.uint8, "r", offset))
    if verify and zlib.crc32(body.data) != header.crc32:
        raise UserError(f"The shard '{path}' is damaged (its checksum does not match): {_FIX}.")
    lengths = body[: 4 * header.documents].view("<u4").astype(np.int64)
    if lengths.sum() != header.tokens:
        raise UserError(f"The shard '{path}' is damaged (its lengths do not add up): {_FIX}.")
    return header, lengths, body[4 * header.documents :].view(kind)
