"""Process one part of a source: write its surviving documents to a work folder, with data to compare them.

Worker processes run this: reading, cleaning, quality rules, contamination, signatures. Parts are independent, so they
may run in any process and order; a part whose counts are in the folder is not processed again.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sayso.base.files import atomic_file, read_object, write_json
from sayso.base.jsonl import BadRows, Policy, line_of
from sayso.text.clean import clean
from sayso.text.conversations import (
    MIN_TURNS,
    TOO_LONG,
    as_text,
    cleaned,
    decency_rule,
    too_few_turns,
    windows,
    within,
)
from sayso.text.decontaminate import open_sets, overlaps
from sayso.text.dedup import BANDS, PERMUTATIONS, Signatures, band_keys, signature
from sayso.text.document import DOCUMENT_SPLITS, Document, Message, Part
from sayso.text.ngrams import hash64, word_hashes
from sayso.text.quality import broken_rule
from sayso.text.sources import read_part

# A row per surviving document: content hash, split (-1 = by hash), text bytes, bytes of its lines, conversations.
_ROW = np.dtype([("hash", "<u8"), ("split", "i1"), ("size", "<u4"), ("text", "<u4"), ("chat", "<u4"), ("chats", "<u2")])
_CHUNK = 4096  # documents whose band keys are computed at a time
Counts = dict[str, Any]


@dataclass(frozen=True)
class PrepareRules:
    """Rules for every part. 0 = off."""

    quality: bool
    near: bool
    limit: int
    chat_turns: int
    chat_characters: int
    chat_documents: bool
    bad_rows: Policy = "stop"


@dataclass(frozen=True)
class PrepareJob:
    """One part with its number in the order of all parts, and properties of its source."""

    number: int
    source: str
    part: Part
    generated: bool
    people: bool
    take: int | None = None  # number of its documents to keep if a limit was reached; None = all


Ran = Sequence[tuple[PrepareJob, Counts]]
"""The jobs that were processed, in order, with their counts."""


@dataclass(frozen=True)
class Paths:
    """The files of one part in the work folder."""

    text: Path
    chat: Path
    rows: Path
    bands: Path
    signatures: Path
    counts: Path

    @classmethod
    def of(cls, folder: Path, number: int) -> "Paths":
        """Return the paths of part `number`."""
        names = ("text.jsonl", "chat.jsonl", "rows", "bands", "signatures", "json")
        return cls(*(folder / f"{number:06d}.{name}" for name in names))


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A document that passed all rules of its part, as it will be written."""

    row: tuple[int, int, int, int, int, int]
    text: bytes
    chat: bytes
    signature: bytes


@dataclass
class LeftOut:
    """Counts of what was left out of conversations, by rule."""

    whole: Counter[str] = field(default_factory=Counter)
    """Conversations dropped entirely."""
    parts: Counter[str] = field(default_factory=Counter)
    """Exchanges left out of the others."""


def process(job: PrepareJob, rules: PrepareRules, folder: Path) -> Counts:
    """Apply the rules to one part, write its files, and return its counts."""
    paths = Paths.of(folder, job.number)
    if paths.counts.exists():
        counts: Counts = read_object(paths.counts)
        return counts
    dropped: Counter[str] = Counter()
    out = LeftOut()
    digest = hashlib.sha256()
    read, size, kept_count = 0, 0, 0
    bad = BadRows(rules.bad_rows)
    with ExitStack() as stack:
        written = (paths.text, paths.chat, paths.rows, paths.signatures)
        texts, chats, rows, signatures = (_open(stack, path) for path in written)
        for document in read_part(job.part, bad):
            raw = document.text.encode("utf-8", "replace")
            read, size = read + 1, size + len(raw)
            digest.update(raw)
            kept = _generated(job, document) if job.generated else _real(job, rules, folder, document, out)
            if isinstance(kept, str):
                dropped[kept] += 1
                continue
            kept_count += 1
            rows.write(np.array(kept.row, _ROW).tobytes())
            texts.write(kept.text)
            chats.write(kept.chat)
            signatures.write(kept.signature)
            if kept_count == rules.limit:
                break
    if rules.near and not job.generated:
        _write_bands(paths)
    dropped["bad_row"] = bad.count
    counts = {
        "in": read + bad.count,
        "bytes": size,
        "kept": kept_count,
        "sha256": digest.hexdigest(),
        "bad": asdict(bad),
    }
    counts |= {"dropped": dict(sorted((+dropped).items())), "unfit": dict(sorted(out.whole.items()))}
    counts["left_out"] = dict(sorted((+out.parts).items()))
    write_json(paths.counts, counts, sealed=True)
    return counts


def load_rows(folder: Path, job: PrepareJob) -> NDArray[np.void]:
    """Return the rows [D] of a finished part."""
    return np.fromfile(Paths.of(folder, job.number).rows, _ROW, count=-1 if job.take is None else job.take)


def load_signatures(folder: Path, job: PrepareJob) -> Signatures:
    """Return the signatures [D, K] of a finished part, memory-mapped."""
    path = Paths.of(folder, job.number).signatures
    flat = np.memmap(path, np.uint32, "r") if path.stat().st_size else np.empty(0, np.uint32)
    return flat.reshape(-1, PERMUTATIONS)[: job.take]


def load_bands(folder: Path, job: PrepareJob) -> NDArray[np.uint64]:
    """Return the band keys [BANDS, D] of a finished part, memory-mapped."""
    path = Paths.of(folder, job.number).bands
    flat = np.memmap(path, np.uint64, "r") if path.stat().st_size else np.empty(0, np.uint64)
    return flat.reshape(BANDS, -1)[:, : job.take]


def _real(job: PrepareJob, rules: PrepareRules, folder: Path, document: Document, out: LeftOut) -> KeptDocument | str:
    """Return a document in the form in which it is kept, or the name of the rule that drops it."""
    document = _cleaned(document)
    if not document.text:
        return "empty"
    if job.people and (broken := decency_rule(document.messages)):
        return broken
    words = word_hashes(document.text)
    if rules.quality and (broken := broken_rule(document.text, words, conversation=bool(document.messages))):
        return broken
    if overlaps(words, open_sets(folder)):
        return "contaminated"
    chats = _conversations(job, document, rules, out)
    as_document = rules.chat_documents or not document.messages
    return _kept(job, document, as_document, chats, signature(words).tobytes() if rules.near else b"")


def _generated(job: PrepareJob, document: Document) -> KeptDocument:
    """Return a generated document unchanged: its generator ensures its quality and assigns its split."""
    chats = [list(document.messages)] if document.messages else []
    return _kept(job, document, not document.messages, chats, b"")


def _cleaned(document: Document) -> Document:
    if not document.messages:
        return replace(document, text=clean(document.text))
    messages = cleaned(document.messages)
    return replace(document, text=as_text(messages), messages=messages)


def _conversations(job: PrepareJob, document: Document, rules: PrepareRules, out: LeftOut) -> list[list[Message]]:
    """Return the conversations of a document, and count what is left out by rule."""
    if not document.messages:
        return []
    least = MIN_TURNS if job.people else 1
    if too_few_turns(document.messages, least):
        out.whole["too_few_turns"] += 1
        return []
    left_out: Counter[str] = Counter()
    found = windows(document.messages, within(rules.chat_turns, rules.chat_characters), least, left_out)
    if found:
        out.parts.update(left_out)
    else:
        out.whole["too_long" if left_out[TOO_LONG] else "too_few_turns"] += 1
    return found


def _kept(
    job: PrepareJob, document: Document, as_document: bool, chats: list[list[Message]], signature: bytes
) -> KeptDocument:
    size = len(document.text.encode())
    title = {"title": document.title} if document.title else {}
    text = line_of({"text": document.text, "source": job.source, **title}) if as_document else b""
    tools = {"tools": document.tools} if document.tools else {}
    chat = b"".join(line_of({"messages": messages, **tools, "source": job.source}) for messages in chats)
    split = DOCUMENT_SPLITS.index(document.split) if document.split else -1
    row = (hash64(document.text), split, size, len(text), len(chat), len(chats))
    return KeptDocument(row, text, chat, signature)


def _open(stack: ExitStack, path: Path) -> IO[bytes]:
    return stack.enter_context(stack.enter_context(atomic_file(path)).open("wb"))


def _write_bands(paths: Paths) -> None:
    """Write the band keys of a part band by band, so that the keys of one band are contiguous."""
    count = paths.signatures.stat().st_size // (4 * PERMUTATIONS)
    with atomic_file(paths.bands) as part:
        if not count:
            return
        bands = np.memmap(part, np.uint64, "w+", shape=(BANDS, count))
        signatures = np.memmap(paths.signatures, np.uint32, "r", shape=(count, PERMUTATIONS))
        for start in range(0, count, _CHUNK):
            bands[:, start : start + _CHUNK] = band_keys(signatures[start : start + _CHUNK])
        bands.flush()
