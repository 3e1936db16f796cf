"""The documents that every model and baseline is evaluated on, and the training text of the baselines.

Takes prepared documents; returns a sample by content hash, the same on every machine and for every stage. "smallworld"
is evaluated separately from "real", which is every other source, because generated text is far easier to predict.
"""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sayso.text.prepared import documents

_KINDS = ("real", "smallworld")
LONGEST_DOCUMENT = 16_384  # characters of a document that are used, so that one book does not decide


@dataclass(frozen=True)
class HeldOutSample:
    """The documents of one kind: their texts, their sources, their sizes in bytes."""

    texts: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """Bytes of each text."""
        return [len(text.encode()) for text in self.texts]

    def digest(self) -> str:
        """A hash of all texts, in order."""
        return hashlib.sha256("\0".join(self.texts).encode()).hexdigest()


def _kind_of(source: str) -> str:
    """The kind, one of `_KINDS`, of a document's source."""
    return "smallworld" if source == "smallworld" else "real"


def held_out(folder: Path, split: str, limit: int) -> dict[str, HeldOutSample]:
    """A sample of about `limit` bytes of each kind in the split; streaming, holds no more than the sample in memory.

    Empty if the split has no text at all.
    """
    chosen: dict[str, list[tuple[int, str, str]]] = {kind: [] for kind in _KINDS}
    held = dict.fromkeys(_KINDS, 0)
    for document in documents(folder, split) if any(folder.glob(f"{split}-*.jsonl")) else ():
        text = document["text"][:LONGEST_DOCUMENT]
        kind = _kind_of(document["source"])
        heapq.heappush(chosen[kind], (-rank(text), text, document["source"]))  # the largest rank is on top
        held[kind] += len(text.encode())
        while held[kind] - (top := len(chosen[kind][0][1].encode())) >= limit:
            heapq.heappop(chosen[kind])
            held[kind] -= top
    kept = {kind: sorted(rows, reverse=True) for kind, rows in chosen.items() if held[kind]}
    return {
        kind: HeldOutSample(tuple(text for _, text, _ in rows), tuple(source for _, _, source in rows))
        for kind, rows in kept.items()
    }


def training_texts(folder: Path, limit: int) -> Iterator[str]:
    """The training documents; if they exceed `limit` bytes, an even sample of about that size, never empty."""
    share = limit / sum(path.stat().st_size for path in folder.glob("train-*.jsonl")) if limit else 1.0
    least, found = "", False
    for document in documents(folder, "train"):
        text = document["text"]
        if share >= 1 or rank(text) < share * 2**64:
            found = True
            yield text
        elif not found and (not least or rank(text) < rank(least)):
            least = text
    if not found:
        yield least


def rank(text: str) -> int:
    """A text's rank, 0 to 2^64, in an order unrelated to its content."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
