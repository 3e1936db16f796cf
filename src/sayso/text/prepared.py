"""The prepared text of a life: takes `data/text` and `data/chat`, yields what `sayso prepare` wrote there."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.base.intact import check_listed
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life


def documents(folder: Path, split: str) -> Iterator[dict[str, str]]:
    """Yield the documents of one split of a prepared data set; raises `UserError` if there are none."""
    paths = sorted(folder.glob(f"{split}-*.jsonl"))
    if not paths:
        raise UserError(f"There is no {split} text in '{folder}'; create it with: sayso prepare")
    check_listed(folder, f"{split}-")
    for path in paths:
        yield from read_jsonl(path)


def document_texts(folder: Path, split: str) -> Iterator[str]:
    """Yield the texts of `documents`."""
    return (document["text"] for document in documents(folder, split))


def training_chats(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the training conversations of a folder, none if it has no `train.jsonl`."""
    if (folder / "train.jsonl").exists():
        check_listed(folder, "train.jsonl")
        yield from read_jsonl(folder / "train.jsonl")


def limited(texts: Iterable[str], megabytes: float) -> Iterator[str]:
    """Yield texts until they reach this total size in MB of UTF-8; 0 = all."""
    left = megabytes * 1e6 or float("inf")
    for text in texts:
        yield text
        left -= len(text.encode("utf-8", "replace"))
        if left <= 0:
            return


def training_fingerprint(life: Life) -> str:
    """Return a hash of the life's training text and conversations. Raises `UserError` if there is no text."""
    next(documents(life.data("text"), "train"), None)
    paths = sorted((*life.data("text").glob("train-*.jsonl"), *life.data("chat").glob("train.jsonl")))
    manifests = [life.data(name) / "manifest.json" for name in ("text", "chat")]
    facts = [[path.name, path.stat().st_size] for path in paths]
    facts += [[str(read_json(path))] for path in manifests if path.exists()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
