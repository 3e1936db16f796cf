"""Activations of many rows, on disk: takes rows of ids, writes a safetensors file for each batch, and reads them back.

Files are written atomically under a manifest of what they hold, so the same call resumes after a kill.
N rows, B rows of a batch, T time.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.base.files import atomic_file, read_object, write_json
from sayso.lens.names import Names, Opened, activation_names, network_of, select
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer

MANIFEST = "manifest.json"


def trace_corpus(model: Transformer | Opened, ids: Ids, names: Names, folder: str | Path, *, batch: int = 16) -> Path:
    """Write the activations of rows of ids [N, T] to a folder, B rows a file, and return the folder.

    Batches that are already there are not computed again. Raises `UserError` as `trace` does, and if the folder holds
    activations of other names, ids or weights.
    """
    network, folder = network_of(model), Path(folder)
    rows, wanted = rows_of(network, ids), select(names, activation_names(network))
    if batch < 1:
        raise UserError(f"A batch must have at least 1 row; got {batch}.")
    if not wanted:
        raise UserError("Name at least one activation to write; got none.")
    facts = {
        "names": list(wanted), "rows": len(rows), "time": rows.shape[1], "batch": batch,
        "ids": _digest({"ids": rows}), "weights": _digest(network.state_dict()),
    }  # fmt: skip
    if not (folder / MANIFEST).exists():
        write_json(folder / MANIFEST, facts, sealed=True)
    there = read_object(folder / MANIFEST, *facts)
    if other := [key for key in facts if there[key] != facts[key]]:
        raise UserError(f"'{folder}' holds activations of other {' and '.join(other)}; choose another folder.")
    for number, part in enumerate(rows.split(batch)):
        path = _shard(folder, number)
        if not path.exists():
            found = trace(network, part, wanted)
            with atomic_file(path) as temporary:
                save_file({name: x.cpu().contiguous().clone() for name, x in found.activations.items()}, temporary)
    return folder


def read_corpus(folder: str | Path, name: str) -> Iterator[Tensor]:
    """Yield one activation of each batch, [B, T, ...] or [B, H, T, T], in the order of the rows.

    Raises `UserError` for a name that was not written, and for a folder that is not complete.
    """
    folder = Path(folder)
    facts = read_object(folder / MANIFEST, "names", "rows", "batch")
    if name not in facts["names"]:
        raise UserError(f"'{folder}' has no activation '{name}'.{nearest(name, facts['names'])}")
    for number in range(-(-facts["rows"] // facts["batch"])):
        path = _shard(folder, number)
        if not path.exists():
            raise UserError(f"'{folder}' is not complete: '{path.name}' is missing; repeat trace_corpus to resume.")
        yield load_file(path)[name]


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.safetensors"


def _digest(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for name, x in tensors.items():
        digest.update(f"{name} {tuple(x.shape)} {x.dtype}".encode())
        digest.update(x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
