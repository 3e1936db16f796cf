"""Read a GGUF file: its metadata, and its tensors as float32 on demand.

The header is parsed here; every length is checked against the remaining bytes before it is used. Quantized blocks are
decoded by the package `gguf` (github.com/ggml-org/ggml, docs/gguf.md).
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
DIMENSIONS = 4  # the maximum in ggml


@dataclass(frozen=True)
class Stored:
    """Location of a tensor in the file."""

    kind: int
    """Format, by ggml's number."""
    shape: tuple[int, ...]
    """Shape in PyTorch's order, with the contiguous dimension last."""
    start: int
    """Offset in bytes."""
    size: int
    """Size in bytes."""


class GGUF:
    """A complete, valid GGUF file. Raises `UserError` if it is truncated or inconsistent."""

    def __init__(self, path: Path) -> None:
        gguf = require("gguf", "gguf")
        self.path = path
        try:
            self._data = np.memmap(path, dtype=np.uint8, mode="c")  # private and lazy: pages are read on first use
        except (OSError, ValueError) as error:
            raise UserError(f"'{path}' cannot be opened as a GGUF file ({error}).") from error
        try:
            header = _Header(self._data)
            self.facts = header.facts
            tensors = header.tensors()
            self.tensors = _offsetd(tensors, header.data_start(), len(self._data), gguf.GGML_QUANT_SIZES)
        except _Broken as error:
            raise UserError(f"'{path}' is not a complete GGUF file: {error}; download or convert it again.") from error

    def fact(self, name: str) -> Any:
        """Return a metadata value of the header. Raises `UserError` if it is missing."""
        if name not in self.facts:
            raise UserError(f"'{self.path}' has no '{name}', which a model or its tokenizer needs.")
        return self.facts[name]

    def tensor(self, name: str) -> Tensor:
        """Return a tensor in float32; if it is stored as float32, it shares the file's pages."""
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
                f"'{name}' in '{self.path}' is stored as {kind.name}, which Sayso cannot dequantize."
            ) from error
        return torch.from_numpy(plain.astype(np.float32, copy=False)).view(stored.shape)


class _Broken(Exception):  # noqa: N818 - `GGUF` turns it into a UserError
    pass


class _Header:
    """Parses the header from the start; no length may exceed the remaining bytes."""

    def __init__(self, data: np.ndarray) -> None:
        self._data, self._offset = data, 0
        if self._bytes(4) != MAGIC:
            raise _Broken("it does not start with 'GGUF'")
        version = self._number("I")
        if version not in VERSIONS:
            raise _Broken(f"its version must be one of {', '.join(map(str, VERSIONS))}, got {version}")
        self._tensors, pairs = self._number("Q"), self._number("Q")
        self.facts: dict[str, Any] = {}
        for _ in range(self._count(pairs, 13)):
            name = self._string()
            if name in self.facts:
                raise _Broken(f"'{name}' appears twice")
            self.facts[name] = self._value(self._number("I"))

    def tensors(self) -> dict[str, tuple[int, tuple[int, ...], int]]:
        """Return format, shape and offset of each tensor."""
        found = {}
        for _ in range(self._count(self._tensors, 24)):
            name, dimensions = self._string(), self._number("I")
            if dimensions > DIMENSIONS:
                raise _Broken(f"'{name}' has {dimensions} dimensions, more than {DIMENSIONS}")
            shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]
            if name in found:
                raise _Broken(f"the tensor '{name}' appears twice")
            found[name] = (self._number("I"), shape, self._number("Q"))
        return found

    def data_start(self) -> int:
        """Return the offset of the tensor data."""
        alignment = self.facts.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise _Broken(f"its alignment is {alignment!r}, not a power of two")
        return -(-self._offset // alignment) * alignment

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self._string()
        if kind in SCALARS:
            return self._number(SCALARS[kind])
        if kind != ARRAY or depth > 1:
            raise _Broken(f"a metadata value has the unknown type {kind}")
        inner, length = self._number("I"), self._number("Q")
        if inner in SCALARS:
            layout = np.dtype(f"<{SCALARS[inner]}" if SCALARS[inner] != "?" else "?")
            return np.frombuffer(self._bytes(self._count(length, layout.itemsize) * layout.itemsize), layout).tolist()
        return [self._value(inner, depth + 1) for _ in range(self._count(length, 8))]

    def _string(self) -> str:
        try:
            return self._bytes(self._count(self._number("Q"), 1)).decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Broken("a string in it is not UTF-8") from error

    def _number(self, layout: str) -> Any:
        return struct.unpack(f"<{layout}", self._bytes(struct.calcsize(f"<{layout}")))[0]

    def _count(self, count: int, size: int) -> int:
        """Return `count` after checking that the file has that many items of at least `size` bytes left."""
        if count * size > len(self._data) - self._offset:
            raise _Broken(f"it declares {count:,} entries, but only {len(self._data) - self._offset:,} bytes are left")
        return count

    def _bytes(self, count: int) -> bytes:
        self._count(count, 1)
        self._offset += count
        return self._data[self._offset - count : self._offset].tobytes()


def _offsetd(
    found: dict[str, tuple[int, tuple[int, ...], int]], start: int, end: int, sizes: dict[Any, tuple[int, int]]
) -> dict[str, Stored]:
    """Return the location of each tensor; they must have complete blocks, be inside the file and not overlap."""
    placed, taken = {}, []
    for name, (kind, shape, offset) in found.items():
        if kind not in sizes:
            raise _Broken(f"'{name}' has the unknown format {kind}")
        per_block, bytes_per_block = sizes[kind]
        count = int(np.prod([int(size) for size in shape], dtype=object)) if shape else 1
        if not shape or shape[-1] % per_block or count == 0:
            raise _Broken(f"'{name}' has shape {shape}, which cannot be split into blocks of {per_block}")
        size = count // per_block * bytes_per_block
        if start + offset + size > end:
            raise _Broken(f"'{name}' extends past the end of the file")
        placed[name] = Stored(kind, shape, start + offset, size)
        taken.append((start + offset, start + offset + size, name))
    taken.sort()
    for (_, before, one), (after, _, other) in pairwise(taken):
        if after < before:
            raise _Broken(f"'{one}' and '{other}' overlap")
    return placed
