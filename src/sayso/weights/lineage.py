"""`sayso.json`, the lineage of a model folder, and the check that its files are unchanged since they were saved.

A folder without that file, made by another program or changed on purpose, is accepted as is.
"""

from pathlib import Path
from typing import Any

from sayso.base.files import read_object, sha256
from sayso.base.intact import check_digest

LINEAGE, SINGLE, TOKENIZER = "sayso.json", "model.safetensors", "tokenizer.json"
_FIX = (
    "copy it again, or make the model again (--restart); if you changed it on purpose, remove 'sayso.json' from its "
    "folder"
)


def read_lineage(folder: Path) -> dict[str, Any]:
    """Return the content of a model folder's sayso.json, {} without one. Raises `UserError` for a damaged one."""
    path = folder / LINEAGE
    return read_object(path, "weights_sha256", "tokenizer") if path.exists() else {}


def digests_in(folder: Path) -> dict[str, Any]:
    """Return the digests of a folder's files that sayso.json records."""
    others = sorted(path.name for path in folder.iterdir() if path.name not in (SINGLE, TOKENIZER))
    return {
        "weights_sha256": sha256(folder / SINGLE),
        "tokenizer": sha256(folder / TOKENIZER),
        "files": {name: sha256(folder / name) for name in others},
    }


def check_saved(folder: Path) -> None:
    """Raise `UserError` if a file of a model folder is missing or changed since it was saved."""
    lineage = read_lineage(folder)
    for name, digest in lineage.get("files", {}).items():
        check_digest(folder / name, digest, _FIX)
    if lineage and (folder / SINGLE).exists():  # other programs may have split the weights into several files
        check_digest(folder / SINGLE, lineage["weights_sha256"], _FIX)
