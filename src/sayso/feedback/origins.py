"""Which conversations went into gathered data, and which models were trained on it.

`origins.jsonl` beside the data has one line for each time that other data was gathered: the digests of its files, and
the conversations that it came from. A model's lineage has the beginning of the digest of each file that it was made of.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sayso.base.files import read_object
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.weights.lineage import read_lineage
from sayso.weights.models import models

ORIGINS = "origins.jsonl"
_SHOWN = 12  # characters of a digest in a lineage
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of a file without bytes


def origins(folder: Path, files: Mapping[str, str], conversations: Sequence[int]) -> list[dict[str, Any]]:
    """Return the earlier origins of a data set's folder with those of its new files, named with their digests."""
    before = [line for line in _read(folder) if line["files"] != files]
    return [*before, {"files": dict(files), "conversations": sorted({*conversations})}]


def made_with(life: Life, conversations: Sequence[int]) -> tuple[list[str], list[str]]:
    """Return the names of the data sets of a life as they are now, and of its models, made with some conversations.

    A model is also made with what its parent was made with.
    """
    gone, data, tainted = {*conversations}, list[str](), set[str]()
    for path in sorted((life.root / "data").glob(f"[!.]*/{ORIGINS}")):
        lines = [line for line in _read(path.parent) if gone & {*line["conversations"]}]
        tainted |= {digest for line in lines for digest in line["files"].values()} - {_EMPTY}
        now = read_object(path.parent / "manifest.json", "files")["files"]
        if any(line["files"] == now for line in lines):
            data.append(path.parent.name)
    return data, _trained_on(life, tainted)


def _trained_on(life: Life, digests: set[str]) -> list[str]:
    """Return the names of the models that were made from files with some digests, and of those made from them."""
    weights, inputs = dict[str, str](), dict[str, set[str]]()
    for name in models(life):
        lineage = read_lineage(life.model(name))
        weights[name] = str(lineage.get("weights_sha256"))
        made_from = [*lineage.get("data", []), lineage.get("parent") or ""]
        inputs[name] = {item.rpartition(" ")[2] for item in made_from}
    found, known = set[str](), {digest[:_SHOWN] for digest in digests}
    while new := {name for name in inputs if name not in found and inputs[name] & known}:
        found |= new
        known |= {weights[name][:_SHOWN] for name in new}
    return [name for name in inputs if name in found]


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / ORIGINS
    return list(read_jsonl(path)) if path.exists() else []
