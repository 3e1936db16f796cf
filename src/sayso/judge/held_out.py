"""The documents that every model and baseline is evaluated on, and the training text of the baselines.

Takes prepared documents; returns a sample by content hash, the same on every machine and for every stage. The source
"smallworld" is evaluated separately from "real", all other sources, because generated text is far easier to predict.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sayso.judge.bits import document_bits
from sayso.model import Transformer
from sayso.text.prepared import documents
from sayso.token.tokenizer import BOS, Tokenizer

_KINDS = ("real", "smallworld")
LONGEST_DOCUMENT = 16_384  # maximum characters of a document, so that no single book dominates


@dataclass(frozen=True)
class HeldOutSample:
    """The documents of one kind."""

    texts: tuple[str, ...]
    sources: tuple[str, ...]
    """Name of each text's source."""

    @property
    def sizes(self) -> list[int]:
        """Size of each text in bytes."""
        return [len(text.encode()) for text in self.texts]

    def digest(self) -> str:
        """Return a hash of all texts, in order."""
        return hashlib.sha256("\0".join(self.texts).encode()).hexdigest()


def _kind_of(source: str) -> str:
    """Return the kind of a source, one of `_KINDS`."""
    return "smallworld" if source == "smallworld" else "real"


def held_out(folder: Path, split: str, limit: int) -> dict[str, HeldOutSample]:
    """Return a sample of about `limit` bytes of each kind in a split; {} if the split has no text.

    Documents are streamed; only the sample is held in memory.
    """
    chosen: dict[str, list[tuple[int, str, str]]] = {kind: [] for kind in _KINDS}
    sizes = dict.fromkeys(_KINDS, 0)
    for document in documents(folder, split) if any(folder.glob(f"{split}-*.jsonl")) else ():
        text = document["text"][:LONGEST_DOCUMENT]
        kind = _kind_of(document["source"])
        heapq.heappush(chosen[kind], (-rank(text), text, document["source"]))  # the largest rank is on top
        sizes[kind] += len(text.encode())
        while sizes[kind] - (top := len(chosen[kind][0][1].encode())) >= limit:
            heapq.heappop(chosen[kind])
            sizes[kind] -= top
    kept = {kind: sorted(rows, reverse=True) for kind, rows in chosen.items() if sizes[kind]}
    return {
        kind: HeldOutSample(tuple(t for _, t, _ in rows), tuple(s for _, _, s in rows)) for kind, rows in kept.items()
    }


def held_out_bits(folder: Path, tokenizer: Tokenizer, limit: int) -> Callable[[Transformer], dict[str, float]] | None:
    """Return a function from a model to its bits per byte on about `limit` bytes of each kind of validation text.

    The figures are `val_bpb`, of all kinds, and one such as `val_bpb_real` for each. None without validation text.
    """
    held = held_out(folder, "val", limit)
    ids = {kind: tokenizer.encode_batch(sample.texts) for kind, sample in held.items()}
    sizes = {kind: sum(sample.sizes) for kind, sample in held.items()}

    def measure(model: Transformer) -> dict[str, float]:
        bits = {kind: float(document_bits(model, ids[kind], tokenizer.specials[BOS]).sum()) for kind in held}
        of_kinds = {f"val_bpb_{kind}": bits[kind] / sizes[kind] for kind in held}
        figures = {"val_bpb": sum(bits.values()) / sum(sizes.values()), **of_kinds}
        return {name: round(value, 4) for name, value in figures.items()}

    return measure if held else None


def training_texts(folder: Path, limit: int) -> Iterator[str]:
    """Yield the training documents; if they exceed `limit` bytes (0 = unlimited), a uniform sample of about that size.

    The sample is never empty.
    """
    share = limit / sum(path.stat().st_size for path in folder.glob("train-*.jsonl")) if limit else 1.0
    lowest, found = "", False
    for document in documents(folder, "train"):
        text = document["text"]
        if share >= 1 or rank(text) < share * 2**64:
            found = True
            yield text
        elif not found and (not lowest or rank(text) < rank(lowest)):
            lowest = text
    if not found:
        yield lowest


def rank(text: str) -> int:
    """Return a text's rank in a pseudorandom order, from 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
