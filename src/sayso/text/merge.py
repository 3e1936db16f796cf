"""Merge the work folders' parts into shards by split: drop duplicates, assign splits, copy lines in order.

Only this step compares the documents of all parts. It needs 8 bytes of memory per document, 24 more while hashes are
sorted, plus the near-duplicate candidates; the lines are streamed from file to file.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sayso.text.dedup import BANDS, NearDuplicates, SignatureLookup, first_of_each
from sayso.text.document import DOCUMENT_SPLITS
from sayso.text.ngrams import Hashes
from sayso.text.split import TRAIN, keep_training, split_by_hash
from sayso.text.work import Paths, PrepareJob, load_bands, load_rows, load_signatures

SHARD_BYTES = 64 << 20
KEPT, EXACT, NEAR = 0, 1, 2
Fates = NDArray[np.int8]


@dataclass
class Out:
    """Output of one source by split: documents, text bytes, conversations; and the documents dropped here."""

    documents: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    conversations: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def fates(jobs: Sequence[PrepareJob], folder: Path, threshold: float) -> Fates:
    """Return for each document, in order, `KEPT`, `EXACT` or `NEAR`; `threshold` 0 = exact duplicates only."""
    hashes = np.concatenate([load_rows(folder, job)["hash"] for job in jobs] or [np.empty(0, np.uint64)])
    fate = np.where(first_of_each(hashes), KEPT, EXACT).astype(np.int8)
    if not threshold:
        return fate
    real = [job for job in jobs if not job.generated]
    sizes = [len(load_rows(folder, job)) for job in jobs]
    is_real = np.repeat([not job.generated for job in jobs], sizes)
    places = np.flatnonzero(is_real & (fate == KEPT))
    among_real = np.flatnonzero(fate[is_real] == KEPT)  # the same documents, counted over real parts only
    finder = NearDuplicates(threshold)
    for band in range(BANDS):
        finder.add_band(band, _band(real, folder, band)[among_real])
    signatures = SignatureLookup([load_signatures(folder, job) for job in real], among_real)
    fate[places[finder.dropped(signatures)]] = NEAR
    return fate


def merge_shards(
    jobs: Sequence[PrepareJob],
    fate: Fates,
    folder: Path,
    text: Path,
    chat: Path,
    shares: tuple[float, float],
    done: Callable[[int], None],
) -> tuple[dict[str, Out], dict[str, Any], dict[str, Any]]:
    """Copy kept documents into `text`/SPLIT-NNNNN.jsonl and `chat`/SPLIT.jsonl.

    `shares` are those of val and test; `done` is called with the number of documents processed. Returns the counts by
    source, and for each folder its files with lines, bytes and SHA-256.
    """
    split = _splits(jobs, fate, folder, shares)
    outs: dict[str, Out] = defaultdict(Out)
    texts = {name: ShardWriter(text, name, SHARD_BYTES) for name in DOCUMENT_SPLITS}
    chats = {name: ShardWriter(chat, name, 0) for name in DOCUMENT_SPLITS}
    place = 0
    for job in jobs:
        rows = load_rows(folder, job)
        own = slice(place, place + len(rows))
        paths = Paths.of(folder, job.number)
        with paths.text.open("rb") as text_lines, paths.chat.open("rb") as chat_lines:
            for row, outcome, target in zip(rows.tolist(), fate[own].tolist(), split[own].tolist(), strict=True):
                _copy(
                    row,
                    outcome,
                    DOCUMENT_SPLITS[target],
                    text_lines.read(row[3]),
                    chat_lines.read(row[4]),
                    outs[job.source],
                    texts,
                    chats,
                )
        place += len(rows)
        done(place)
    return outs, _closed(texts), _closed(chats)


def _copy(
    row: tuple[int, ...],
    fate: int,
    split: str,
    line: bytes,
    conversations: bytes,
    out: Out,
    texts: dict[str, "ShardWriter"],
    chats: dict[str, "ShardWriter"],
) -> None:
    if fate != KEPT:
        out.dropped["exact_duplicate" if fate == EXACT else "near_duplicate"] += 1
        return
    if line:
        texts[split].write(line, 1)
        out.documents[split] += 1
        out.bytes[split] += row[2]
    if conversations:
        chats[split].write(conversations, row[5])
        out.conversations[split] += row[5]


def _splits(jobs: Sequence[PrepareJob], fate: Fates, folder: Path, shares: tuple[float, float]) -> NDArray[np.int8]:
    """Return the split of every document: the one its source assigns, else by content hash.

    At least one text and one conversation are in the training split, however few there are.
    """
    rows = [load_rows(folder, job) for job in jobs]
    hashes: Hashes = np.concatenate([part["hash"] for part in rows])
    split: NDArray[np.int8] = np.concatenate([part["split"] for part in rows])
    by_hash = np.flatnonzero((split < 0) & (fate == KEPT))
    split[by_hash] = split_by_hash(hashes[by_hash], *shares)
    for kind in ("text", "chat"):
        sizes = np.concatenate([part[kind] for part in rows])
        if not np.any((split == TRAIN) & (fate == KEPT) & (sizes > 0)):
            keep_training(split, hashes, by_hash[sizes[by_hash] > 0])
    return split


def _band(jobs: Sequence[PrepareJob], folder: Path, band: int) -> Hashes:
    keys = [load_bands(folder, job)[band] for job in jobs]
    return np.concatenate(keys) if keys else np.empty(0, np.uint64)


def _closed(shards: dict[str, "ShardWriter"]) -> dict[str, Any]:
    return {name: facts for shard in shards.values() for name, facts in shard.close().items()}


class ShardWriter:
    """Writes lines to NAME-00000.jsonl, NAME-00001.jsonl, ... of at most `limit` bytes; `limit` 0 = one NAME.jsonl."""

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self.folder, self.name, self.limit = folder, name, limit
        self.files: dict[str, dict[str, Any]] = {}
        self._open()

    def write(self, lines: bytes, count: int) -> None:
        """Append `count` complete lines."""
        if self.limit and self.size and self.size + len(lines) > self.limit:
            self._end()
            self._open()
        self.file.write(lines)
        self.digest.update(lines)
        self.size += len(lines)
        self.count += count

    def close(self) -> dict[str, dict[str, Any]]:
        """Close the last file; return every file's lines, bytes and SHA-256."""
        self._end()
        return self.files

    def _open(self) -> None:
        number = f"-{len(self.files):05d}" if self.limit else ""
        self.path = self.folder / f"{self.name}{number}.jsonl"
        self.file: IO[bytes] = self.path.open("wb")
        self.digest = hashlib.sha256()
        self.size = self.count = 0

    def _end(self) -> None:
        self.file.close()
        self.files[self.path.name] = {"lines": self.count, "bytes": self.size, "sha256": self.digest.hexdigest()}
