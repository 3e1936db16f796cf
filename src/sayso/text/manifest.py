"""Contents of `manifest.json`: sources, rules and results; and a fingerprint that identifies the same request.

The manifest contains no times, and no local paths except those of the user: the same input gives the same bytes.
"""

import hashlib
import json
import platform
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import sayso
from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256
from sayso.base.intact import digest_of
from sayso.text import conversations, decontaminate, dedup, quality
from sayso.text.decontaminate import SHORTEST
from sayso.text.document import DOCUMENT_SPLITS, File, Source
from sayso.text.merge import Out
from sayso.text.work import Counts, Ran

ManifestFacts = dict[str, Any]
BY_RULE = ("dropped", "no_conversation", "left_out_of_conversations")
"""Counts of a source by rule: dropped documents, documents without a usable conversation, omitted exchanges."""


def prepare_fingerprint(options: ManifestFacts, sources: Iterable[Source], evaluation: Iterable[File]) -> str:
    """Return a hash of all that determines the result: options, sources with their files' marks, and the code.

    The small world's code counts only if it generates a source.
    """
    sources, package = list(sources), Path(__file__).parent.parent
    stages = ["text", "world"] if any(source.generated for source in sources) else ["text"]
    code = [sha256(file) for stage in stages for file in sorted((package / stage).rglob("*.py"))]
    read = [asdict(replace(source, ignored=())) for source in sources]  # a life in a corpus may grow
    wanted = [options, read, [asdict(file) for file in evaluation], code]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


def stated_rules() -> ManifestFacts:
    """Return every rule with its thresholds, as the code has them."""
    near = {
        "shingle_words": dedup.SHINGLE,
        "permutations": dedup.PERMUTATIONS,
        "bands": dedup.BANDS,
        "rows": dedup.ROWS,
    }
    return {
        "quality": {"order": list(quality.RULES)} | _constants(quality),
        "near_duplicate": near,
        "contaminated": {"shortest_words": decontaminate.SHORTEST},
        "conversations": {"min_turns_each": conversations.MIN_TURNS},
        "generated": "Generated sources are checked only for exact duplicates, not near-duplicates (their templates "
        "repeat by design) or evaluation texts; they assign their own splits.",
    }


def _constants(module: Any) -> ManifestFacts:
    return {name.lower(): value for name, value in vars(module).items() if name.startswith(("MIN_", "MAX_"))}


def merged_facts(sources: Sequence[Source], ran: Ran, outs: Mapping[str, Out]) -> ManifestFacts:
    """Return versions, rules, each source's entry, and totals. Raises `UserError` for a source without text."""
    entries = [
        _source_facts(one, [counts for job, counts in ran if job.source == one.name], outs.get(one.name, Out()))
        for one in sources
    ]
    _check(entries)
    return {"versions": versions(), "rules": stated_rules(), "sources": entries, "totals": totals(entries)}


def _source_facts(source: Source, counts: Sequence[Counts], out: Out) -> ManifestFacts:
    """Return one source's entry: provenance, input, documents dropped by each rule, output."""
    dropped: Counter[str] = Counter()
    unfit: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    digest = hashlib.sha256()
    for part in counts:
        dropped.update(part["dropped"])
        unfit.update(part["unfit"])
        left_out.update(part["left_out"])
        digest.update(bytes.fromhex(part["sha256"]))
    dropped.update(out.dropped)
    package = {"package_sha256": source.sha256} if source.sha256 else {}
    return {
        "name": source.name,
        "licence": source.license_name,
        "origin": source.origin,
        **package,
        "sha256": digest.hexdigest(),
        "generated": source.generated,
        "ignored": list(source.ignored),
        "in": {"documents": sum(part["in"] for part in counts), "bytes": sum(part["bytes"] for part in counts)},
        "dropped": dict(sorted(dropped.items())),
        "out": {name: {"documents": out.documents[name], "bytes": out.bytes[name]} for name in DOCUMENT_SPLITS},
        "conversations": {name: out.conversations[name] for name in DOCUMENT_SPLITS},
        "no_conversation": dict(sorted(unfit.items())),
        "left_out_of_conversations": dict(sorted(left_out.items())),
    }


def totals(sources: Sequence[ManifestFacts]) -> ManifestFacts:
    """Return the sums over the sources' entries."""
    splits = DOCUMENT_SPLITS
    return {
        "in": {unit: sum(source["in"][unit] for source in sources) for unit in ("documents", "bytes")},
        **{rules: _sums(source[rules] for source in sources) for rules in BY_RULE},
        "out": {
            split: {unit: sum(source["out"][split][unit] for source in sources) for unit in ("documents", "bytes")}
            for split in splits
        },
        "conversations": {split: sum(source["conversations"][split] for source in sources) for split in splits},
    }


def _sums(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))


def versions() -> dict[str, str]:
    """Return the versions that can change the result."""
    return {
        "sayso": sayso.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "unicode": unicodedata.unidata_version,
    }


def current_manifest(text: Path, chat: Path, fingerprint: str) -> ManifestFacts | None:
    """Return the manifest of `text` if both folders have this fingerprint and all their files, unchanged, else None."""
    found = []
    for folder in (text, chat):
        stored = read_object(path) if (path := folder / "manifest.json").exists() else {}
        files = {folder / name: facts for name, facts in stored.get("files", {}).items()}
        if stored.get("fingerprint") != fingerprint:
            return None
        if not all(path.is_file() and digest_of(path) == facts["sha256"] for path, facts in files.items()):
            return None
        found.append(stored)
    return found[0]


def _check(entries: Sequence[ManifestFacts]) -> None:
    """Raise `UserError` for a source that yields nothing."""
    for entry in entries:
        if not entry["in"]["documents"]:
            raise UserError(f"A source must contain text; '{entry['name']}' has no documents.")
        if not any(out["documents"] for out in entry["out"].values()) and not any(entry["conversations"].values()):
            dropped = ", ".join(f"{count} {rule}" for rule, count in entry["dropped"].items())
            raise UserError(
                f"No documents of '{entry['name']}' passed the rules ({dropped}); see docs/prepare.md or use "
                "--no-quality."
            )


def prepared_summary(manifest: ManifestFacts) -> str:
    """Return one line that says what was prepared, dropped and left out."""
    total = manifest["totals"]
    out, chats = total["out"], total["conversations"]
    size = sum(split["bytes"] for split in out.values()) / 2**20
    dropped, none, parts = (_by_rule(total[rules]) for rules in BY_RULE)
    counts = " + ".join(f"{out[split]['documents']:,}" for split in out)
    documents = f"{counts} documents ({size:,.1f} MB; train + val + test)"
    return (
        f"{documents} and {sum(chats.values()):,} conversations; dropped: {dropped or 'none'}"
        + (f"; conversations left out: {none}" if none else "")
        + (f"; parts of conversations left out: {parts}" if parts else "")
        + ("; raise --chat-characters to keep longer ones" if "long" in none + parts else "")
        + _checked(manifest["evaluation_texts"], manifest["options"]["ngram"])
    )


def _checked(texts: dict[str, int], ngram: int) -> str:
    """Describe how many evaluation texts documents were checked against; empty if there were none."""
    usable, short = texts["usable"], texts["too_short"]
    if not usable + short:
        return ""
    checked = f"; checked against {usable:,} of {usable + short:,} evaluation texts"
    return checked + (f" ({short:,} are shorter than {min(ngram, SHORTEST)} words)" if short else "")


def _by_rule(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {rule}" for rule, count in counts.items())
