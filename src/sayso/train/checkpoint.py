"""A training state as a folder, so that an interrupted run ends with the very same weights as one that was not.

    checkpoints/step-000120/   model.safetensors  optimizer.safetensors  state.json

Batches are a pure function of the step, so the weights that are trained (frozen ones are the parent's), optimizer
state and the step are all there is. A folder appears
whole or not at all; the newest are kept, and one that does not open is passed over in favour of the one before.
"""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import atomic_folder, read_json, write_json
from sayso.train.loop import State
from sayso.weights.folder import read_tensors

PLAIN = ("step", "tokens", "skipped", "average")  # of a state, what is not a tensor


def save_checkpoint(state: State, folder: Path, keep: int = 2) -> Path:
    """Write the state under `folder` and remove all but the newest `keep`; return the checkpoint's path."""
    path = folder / f"step-{state.step:06d}"
    with atomic_folder(path) as part:
        weights = {name: weight.detach().cpu().contiguous() for name, weight in _trained(state).items()}
        save_file(weights, part / "model.safetensors")
        save_file(_optimizer_tensors(state), part / "optimizer.safetensors")
        write_json(part / "state.json", {name: getattr(state, name) for name in PLAIN})
    for old in _checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def load_checkpoint(state: State, folder: Path) -> bool:
    """Fill `state` from the newest checkpoint under `folder` that opens; return whether there was one.

    Raises `UserError` when there are checkpoints but none opens.
    """
    problem: UserError | None = None
    for path in reversed(_checkpoints(folder)):
        try:
            saved = read_json(path / "state.json")
            weights = read_tensors(path / "model.safetensors")
            moments = read_tensors(path / "optimizer.safetensors")
        except UserError as error:
            problem = error
            continue
        with torch.no_grad():
            for name, weight in _trained(state).items():
                weight.copy_(weights[name])
        _fill_optimizers(state, moments)
        for name in PLAIN:
            setattr(state, name, saved[name])
        return True
    if problem:
        raise problem
    return False


def _trained(state: State) -> dict[str, Tensor]:
    return {name: weight for name, weight in state.model.named_parameters() if weight.requires_grad}


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _optimizer_tensors(state: State) -> dict[str, Tensor]:
    """Every optimizer tensor as "<weight>/<name>"."""
    names: dict[Tensor, str] = {weight: name for name, weight in state.model.named_parameters()}
    return {
        f"{names[weight]}/{key}": value.detach().cpu().contiguous()
        for optimizer in state.optimizers
        for weight, values in optimizer.state.items()
        for key, value in values.items()
    }


def _fill_optimizers(state: State, moments: dict[str, Tensor]) -> None:
    names: dict[Tensor, str] = {weight: name for name, weight in state.model.named_parameters()}
    by_weight: dict[str, dict[str, Tensor]] = {}
    for key, value in moments.items():
        name, entry = key.rsplit("/", 1)
        by_weight.setdefault(name, {})[entry] = value
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                values = by_weight.get(names[weight], {})
                optimizer.state[weight] = {key: value.to(weight.device) for key, value in values.items()}
