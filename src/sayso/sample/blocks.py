"""Ownership of cache blocks, and the lookup of shared prefixes.

A block holds the keys and values of `BLOCK` positions. What it holds is a function of all tokens up to its end, so a
full block is named by a chained hash of them: digest = H(previous digest, its ids) (vLLM's automatic prefix caching;
Kwon et al. 2023). A request whose prompt begins with named blocks reuses them instead of computing them. A block
without a holder keeps its name until its memory is needed, least recently used first.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

BLOCK = 16  # positions


def names_after(name: bytes, ids: Sequence[int]) -> list[bytes]:
    """Return the names of the full blocks of `ids` after the block `name`; a row's first follows its salt's name."""
    names = []
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        block = np.asarray(ids[start : start + BLOCK], dtype="<i8")
        name = blake2b(name + block.tobytes(), digest_size=16).digest()
        names.append(name)
    return names


def salt_name(salt: str) -> bytes:
    """Return the name before the first block of a row: rows with different salts never share a block."""
    return blake2b(salt.encode(), digest_size=16).digest()


def blocks_for(tokens: int) -> int:
    """Return the number of blocks for this many tokens."""
    return -(-tokens // BLOCK)


class Blocks:
    """The blocks by number, 0 .. count - 1: free ones, held ones, and named ones without a holder."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.holders = [0] * count
        self._empty = list(range(count - 1, -1, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()  # named, without a holder, least recently used first
        self._named: dict[bytes, int] = {}
        self._names: dict[int, bytes] = {}

    @property
    def free(self) -> int:
        """Number of available blocks."""
        return len(self._empty) + len(self._idle)

    def take(self) -> int:
        """Return a block without a holder, which loses its name; there must be one."""
        if self._empty:
            block = self._empty.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            del self._named[self._names.pop(block)]
        self.holders[block] = 1
        return block

    def hold(self, blocks: Iterable[int]) -> None:
        """Add a holder to each block."""
        for block in blocks:
            self.holders[block] += 1
            self._idle.pop(block, None)

    def release(self, blocks: Iterable[int]) -> None:
        """Remove a holder from each block; a row's last blocks are reused before its first."""
        for block in reversed(list(blocks)):
            self.holders[block] -= 1
            if self.holders[block] == 0:
                if block in self._names:
                    self._idle[block] = None
                else:
                    self._empty.append(block)

    def name(self, block: int, name: bytes) -> None:
        """Name a full block; if another block already has that name, it keeps it."""
        if name not in self._named and block not in self._names:
            self._named[name] = block
            self._names[block] = name

    def find(self, names: Sequence[bytes]) -> list[int]:
        """Return the blocks of the longest known prefix of names."""
        found = []
        for name in names:
            if name not in self._named:
                break
            found.append(self._named[name])
        return found
