"""Read safetensors files, one or several with an index, as tensors by name. Pickles are never opened.

Tensors are memory-mapped views of their file. The index and the files are checked for consistency.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.weights.lineage import SINGLE, check_saved

INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raises `UserError` if it is missing, truncated or in another format."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"The weights file '{path}' does not exist.") from error
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"'{path}' is not a complete safetensors file ({error}); copy it again or train that stage again."
        ) from error


def weights_file(folder: Path) -> Path:
    """Return the path of a model folder's weights: one file, or the index of several.

    Raises `UserError` if the folder has no weights or only pickles, or if a file was changed after saving. All code
    that reads or fingerprints weights calls this first.
    """
    check_saved(folder)
    for name in (SINGLE, INDEX):
        if (folder / name).exists():
            return folder / name
    for name in PICKLED:
        if (folder / name).exists():
            raise UserError(
                f"'{folder / name}' is a pickle, which can run code when opened; if you trust it, convert it: "
                "transformers' AutoModelForCausalLM.from_pretrained(...).save_pretrained(...) writes safetensors."
            )
    raise UserError(f"The weights file '{folder / SINGLE}' does not exist.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a path from `weights_file`: of one file, or of the files of an index.

    Raises `UserError` that names the file for an invalid index, a missing file or one in another folder, and a tensor
    that is not in the file given by the index.
    """
    if path.name != INDEX:
        return read_tensors(path)
    files = _files(path)
    shards = {file: read_tensors(path.parent / file) for file in sorted(set(files.values()))}
    for name, file in files.items():
        if name not in shards[file]:
            raise UserError(f"'{path}' lists '{name}' in '{file}', which does not have it; copy the folder again.")
    for file, tensors in shards.items():
        for name in tensors:
            if files.get(name) != file:
                raise UserError(f"'{path.parent / file}' has '{name}', which is not in the index; copy it again.")
    return {name: shards[file][name] for name, file in files.items()}


def _files(path: Path) -> dict[str, str]:
    """Return the file of each tensor in an index."""
    index: Any = read_json(path)
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not files:
        raise UserError(f"'{path}' is not an index of weights: it has no 'weight_map'; copy it again.")
    for file in files.values():
        if not isinstance(file, str) or Path(file).name != file or "\\" in file or not file.endswith(".safetensors"):
            raise UserError(f"An index may only name safetensors files in its own folder; '{path}' names {file!r}.")
    return files
