"""`sayso.json`, the origin of a model folder, and the check that its files are still those that were saved with it.

A folder without that file, made by other programs or changed on purpose, is accepted as is.
"""

from pathlib import Path
from typing import Any

from sayso.base.files import read_object, sha256
from sayso.base.intact import check_digest

LINEAGE, SINGLE, TOKENIZER = "sayso.json", "model.safetensors", "tokenizer.json"
_MEND = (
    "copy it again, or make the model again (--restart); if you changed it on purpose, remove 'sayso.json' from its "
    "folder"
)


def read_lineage(folder: Path) -> dict[str, Any]:
    """Return what a model folder's sayso.json says, {} where there is none; a damaged one is a `UserError`."""
    path = folder / LINEAGE
    return read_object(path, "weights_sha256", "tokenizer") if path.exists() else {}


def digests_in(folder: Path) -> dict[str, Any]:
    """Return the digests that sayso.json records of the files in a folder that is about to be saved."""
    others = sorted(path.name for path in folder.iterdir() if path.name not in (SINGLE, TOKENIZER))
    return {
        "weights_sha256": sha256(folder / SINGLE),
        "tokenizer": sha256(folder / TOKENIZER),
        "files": {name: sha256(folder / name) for name in others},
    }


def check_saved(folder: Path) -> None:
    """Raise `UserError` for a file of a model folder that is not as it was saved, or is missing."""
    lineage = read_lineage(folder)
    for name, digest in lineage.get("files", {}).items():
        check_digest(folder / name, digest, _MEND)
    if lineage and (folder / SINGLE).exists():  # others may have cut the weights into several files
        check_digest(folder / SINGLE, lineage["weights_sha256"], _MEND)
