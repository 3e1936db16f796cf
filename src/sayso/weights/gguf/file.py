"""A GGUF file opened: its facts, and its tensors as float32 when they are asked for.

The header is read here, each length checked against the bytes that are left before it is believed; the formats of
quantized blocks are those of the package `gguf` (github.com/ggml-org/ggml, docs/gguf.md).
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sayso.base.errors import UserError, require

MAGIC, VERSIONS = b"GGUF", (2, 3)
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
DIMENSIONS = 4  # at most, in ggml


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies in the file."""

    kind: int
    """Its format, by ggml's number."""
    shape: tuple[int, ...]
    """As torch says it, the fastest dimension last."""
    start: int
    size: int
    """Bytes."""


class GGUF:
    """A file that was found whole. Raises `UserError` for one that is not, or holds what cannot be."""

    def __init__(self, path: Path) -> None:
        gguf = require("gguf", "gguf")
        self.path = path
        try:
            self._data = np.memmap(path, dtype=np.uint8, mode="c")  # private and lazy: a page is read when it is used
        except (OSError, ValueError) as error:
            raise UserError(f"'{path}' cannot be opened as a GGUF file ({error}).") from error
        try:
            header = _Header(self._data)
            self.facts = header.facts
            tensors = header.tensors()
            self.tensors = _placed(tensors, header.data_start(), len(self._data), gguf.GGML_QUANT_SIZES)
        except _Broken as error:
            raise UserError(f"'{path}' is not a whole GGUF file: {error}; fetch or convert it again.") from error

    def fact(self, name: str) -> Any:
        """Return a fact of the header. Raises `UserError` when it is missing."""
        if name not in self.facts:
            raise UserError(f"'{self.path}' does not say '{name}', which a model or its tokenizer needs.")
        return self.facts[name]

    def tensor(self, name: str) -> Tensor:
        """Return a tensor in float32; one that is stored so shares the file's pages."""
        gguf = require("gguf", "gguf")
        stored = self.tensors[name]
        raw = self._data[stored.start : stored.start + stored.size]
        kind = gguf.GGMLQuantizationType(stored.kind)
        if kind == gguf.GGMLQuantizationType.F32:
            return torch.from_numpy(np.asarray(raw).view(np.float32)).view(stored.shape)
        try:
            plain = gguf.quants.dequantize(np.asarray(raw), kind)
        except NotImplementedError as error:
            raise UserError(
                f"'{name}' in '{self.path}' is stored as {kind.name}, which nobody unpacks here."
            ) from error
        return torch.from_numpy(plain.astype(np.float32, copy=False)).view(stored.shape)


class _Broken(Exception):  # noqa: N818 - what is wrong, turned into a sentence above
    pass


class _Header:
    """Reads from the front; every length is believed only when so many bytes are left."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self._place = data, 0
        if self._bytes(4) != MAGIC:
            raise _Broken("it does not begin with 'GGUF'")
        version = self._number("I")
        if version not in VERSIONS:
            raise _Broken(f"its version is one of {', '.join(map(str, VERSIONS))}, got {version}")
        self._tensors, pairs = self._number("Q"), self._number("Q")
        self.facts: dict[str, Any] = {}
        for _ in range(self._count(pairs, 13)):
            name = self._string()
            if name in self.facts:
                raise _Broken(f"'{name}' is said twice")
            self.facts[name] = self._value(self._number("I"))

    def tensors(self) -> dict[str, tuple[int, tuple[int, ...], int]]:
        """Return kind, shape and offset of each tensor."""
        found = {}
        for _ in range(self._count(self._tensors, 24)):
            name, dimensions = self._string(), self._number("I")
            if dimensions > DIMENSIONS:
                raise _Broken(f"'{name}' has {dimensions} dimensions, more than {DIMENSIONS}")
            shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]
            if name in found:
                raise _Broken(f"the tensor '{name}' is there twice")
            found[name] = (self._number("I"), shape, self._number("Q"))
        return found

    def data_start(self) -> int:
        """Return where the tensors begin."""
        alignment = self.facts.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise _Broken(f"its alignment is {alignment!r}, not a power of two")
        return -(-self._place // alignment) * alignment

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self._string()
        if kind in SCALARS:
            return self._number(SCALARS[kind])
        if kind != ARRAY or depth > 1:
            raise _Broken(f"a fact is of the unknown kind {kind}")
        inner, length = self._number("I"), self._number("Q")
        if inner in SCALARS:
            layout = np.dtype(f"<{SCALARS[inner]}" if SCALARS[inner] != "?" else "?")
            return np.frombuffer(self._bytes(self._count(length, layout.itemsize) * layout.itemsize), layout).tolist()
        return [self._value(inner, depth + 1) for _ in range(self._count(length, 8))]

    def _string(self) -> str:
        try:
            return self._bytes(self._count(self._number("Q"), 1)).decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Broken("a text in it is not UTF-8") from error

    def _number(self, layout: str) -> Any:
        return struct.unpack(f"<{layout}", self._bytes(struct.calcsize(f"<{layout}")))[0]

    def _count(self, count: int, size: int) -> int:
        """Return a count of things of at least `size` bytes each, if so many bytes are left."""
        if count * size > len(self._data) - self._place:
            raise _Broken(f"it announces {count:,} entries where {len(self._data) - self._place:,} bytes are left")
        return count

    def _bytes(self, count: int) -> bytes:
        self._count(count, 1)
        self._place += count
        return self._data[self._place - count : self._place].tobytes()


def _placed(
    found: dict[str, tuple[int, tuple[int, ...], int]], start: int, end: int, sizes: dict[Any, tuple[int, int]]
) -> dict[str, Stored]:
    """Return where each tensor lies: whole blocks, inside the file, none over another."""
    placed, taken = {}, []
    for name, (kind, shape, offset) in found.items():
        if kind not in sizes:
            raise _Broken(f"'{name}' is of the unknown format {kind}")
        per_block, bytes_per_block = sizes[kind]
        count = int(np.prod([int(size) for size in shape], dtype=object)) if shape else 1
        if not shape or shape[-1] % per_block or count == 0:
            raise _Broken(f"'{name}' has the shape {shape}, which is not whole blocks of {per_block}")
        size = count // per_block * bytes_per_block
        if start + offset + size > end:
            raise _Broken(f"'{name}' ends behind the file's end")
        placed[name] = Stored(kind, shape, start + offset, size)
        taken.append((start + offset, start + offset + size, name))
    taken.sort()
    for (_, before, one), (after, _, other) in pairwise(taken):
        if after < before:
            raise _Broken(f"'{one}' and '{other}' overlap")
    return placed
