"""What was prepared, from what, by which rules: `manifest.json`, and the fingerprint that knows the same wish again.

The manifest holds no times and no paths of this machine but those the user named: the same input gives the same bytes.
"""

import hashlib
import json
import platform
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import sayso
from sayso.base.files import sha256
from sayso.base.intact import digest_of
from sayso.text import conversations, decontaminate, dedup, quality
from sayso.text.document import File, Source
from sayso.text.merge import Out
from sayso.text.work import Counts

Facts = dict[str, Any]
BY_RULE = ("dropped", "no_conversation", "left_out_of_conversations")
"""Of each source: documents, conversations that gave none, and parts of the others, by the rule that they broke."""


def fingerprint(options: Facts, sources: Iterable[Source], evaluation: Iterable[File]) -> str:
    """Return a hash of all that decides the result: options, sources with their files' marks, and this code."""
    code = [sha256(file) for file in sorted(Path(__file__).parent.rglob("*.py"))]
    read = [asdict(replace(source, ignored=())) for source in sources]  # a life in a corpus may grow
    wanted = [options, read, [asdict(file) for file in evaluation], code]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


def stated_rules() -> Facts:
    """Return every rule with its thresholds, as they stand in the code that ran."""
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
        "generated": "Sources made by program lose exact duplicates only: their templates repeat by design, and their "
        "own law says their splits; they are not checked against evaluation texts.",
    }


def _constants(module: Any) -> Facts:
    return {name.lower(): value for name, value in vars(module).items() if name.startswith(("MIN_", "MAX_"))}


def source_facts(source: Source, counts: Sequence[Counts], out: Out) -> Facts:
    """Return one source's entry: papers, what came in, what was dropped by which rule, what went out."""
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
        "licence": source.licence,
        "origin": source.origin,
        **package,
        "sha256": digest.hexdigest(),
        "generated": source.generated,
        "ignored": list(source.ignored),
        "in": {"documents": sum(part["in"] for part in counts), "bytes": sum(part["bytes"] for part in counts)},
        "dropped": dict(sorted(dropped.items())),
        "out": {
            name: {"documents": out.documents[name], "bytes": out.bytes[name]} for name in ("train", "val", "test")
        },
        "conversations": {name: out.conversations[name] for name in ("train", "val", "test")},
        "no_conversation": dict(sorted(unfit.items())),
        "left_out_of_conversations": dict(sorted(left_out.items())),
    }


def totals(sources: Sequence[Facts]) -> Facts:
    """Return the sums over the sources' entries."""
    splits = ("train", "val", "test")
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


def is_current(folder: Path, stored: Facts) -> bool:
    """Whether every file of a manifest lies in its folder as it was written."""
    files = {folder / name: facts for name, facts in stored.get("files", {}).items()}
    return all(path.is_file() and digest_of(path) == facts["sha256"] for path, facts in files.items())
