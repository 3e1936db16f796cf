"""Read safetensors files, one or several with an index, as tensors by name. Pickles are never opened.

Tensors are memory-mapped views of their file: pages are read when they are used. All that a file declares is checked
for consistency.
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
        raise UserError(f"There is no weights file '{path}'.") from error
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"'{path}' is not a complete safetensors file ({error}); copy it again or train that stage again."
        ) from error


def weights_file(folder: Path) -> Path:
    """Return the file that holds a model folder's weights, or the index of those that do.

    Raises `UserError` if there is none, if there are only pickles, or if a file in the folder was changed after saving.
    All code that reads or fingerprints a model's weights calls this first.
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
    raise UserError(f"There is no weights file '{folder / SINGLE}'.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read what `weights_file` found: one file, or the files of an index in the same folder.

    Raises `UserError`, naming the file, for an invalid index, a missing file or one in another folder, or a tensor that
    is not where the index says.
    """
    if path.name != INDEX:
        return read_tensors(path)
    places = _places(path)
    shards = {file: read_tensors(path.parent / file) for file in sorted(set(places.values()))}
    for name, file in places.items():
        if name not in shards[file]:
            raise UserError(f"'{path}' lists '{name}' in '{file}', which does not have it; copy the folder again.")
    for file, held in shards.items():
        for name in held:
            if places.get(name) != file:
                raise UserError(f"'{path.parent / file}' has '{name}', which is not in the index; copy it again.")
    return {name: shards[file][name] for name, file in places.items()}


def _places(path: Path) -> dict[str, str]:
    """Return the file of each tensor that an index names."""
    index: Any = read_json(path)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise UserError(f"'{path}' is not an index of weights: it has no table 'weight_map'; copy it again.")
    for file in places.values():
        if not isinstance(file, str) or Path(file).name != file or "\\" in file or not file.endswith(".safetensors"):
            raise UserError(f"An index may only name safetensors files in its own folder; '{path}' names {file!r}.")
    return places
