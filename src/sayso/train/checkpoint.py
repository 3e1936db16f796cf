"""A training state as a folder, so that an interrupted run ends with exactly the same weights as an uninterrupted one.

    checkpoints/step-000120/   model.safetensors  optimizer.safetensors  random.safetensors  state.json

Batches are a pure function of the step, so trained weights, optimizer state, random state and a few numbers are the
entire state; frozen weights are the parent's. A folder is written atomically and flushed to disk; the newest ones are
kept. A checkpoint that is incomplete, was changed, or belongs to another model is reported and skipped in favor of the
one before.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import atomic_folder, read_json, sha256, write_json
from sayso.base.replace import put_all_back
from sayso.train.loop import State
from sayso.train.loss_stats import LossStats
from sayso.train.rng import random_state, set_random_state
from sayso.weights.tensors import read_tensors

Tensors = dict[str, Tensor]
_Content = tuple[dict[str, Any], Tensors, Tensors, Tensors]  # numbers, weights, optimizer state, random state
_TENSORS = ("model", "optimizer", "random")
_NUMBERS = {"step": int, "tokens": int, "skipped": int}  # fields of a state that are single numbers


def save_checkpoint(state: State, folder: Path, keep: int = 2) -> Path:
    """Write the state under `folder` and remove all but the newest `keep` checkpoints; return the new one's path."""
    path = folder / f"step-{state.step:06d}"
    with atomic_folder(path) as part:
        save_file(copied_weights(state), part / "model.safetensors")
        save_file(_optimizer_tensors(state), part / "optimizer.safetensors")
        save_file(random_state(), part / "random.safetensors")
        numbers = {name: getattr(state, name) for name in _NUMBERS}
        digests = {name: sha256(part / f"{name}.safetensors") for name in _TENSORS}
        write_json(
            part / "state.json",
            numbers | {"lately": asdict(state.loss_stats), "notes": state.notes, "sha256": digests},
            sealed=True,
        )
    for old in checkpoints_in(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def load_checkpoint(state: State, folder: Path, tell: Callable[[str], None] = lambda _: None) -> bool:
    """Load the newest complete checkpoint under `folder` into `state`; return whether there was one.

    Each skipped checkpoint is reported and renamed to `broken-...`. Raises `UserError` if there
    are checkpoints but none is complete. Tensors go to the device of their weight.
    """
    broken: list[tuple[Path, UserError]] = []
    for path in reversed(checkpoints_in(folder)):
        try:
            content = _read(state, path)
        except UserError as error:
            broken.append((path, error))
            continue
        _fill(state, content)
        for bad, why in broken:
            aside = _set_aside(bad)
            tell(f"Skipped the checkpoint {bad.name}, now {aside.name}, and used {path.name}: {why}")
        return True
    if broken:
        raise UserError(
            f"No checkpoint of this run is complete; start from scratch with --restart. The newest: {broken[0][1]}"
        )
    return False


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints under a folder, oldest first."""
    put_all_back(folder)
    found = (path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal())
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the step at which a checkpoint was saved, from its name."""
    return int(checkpoint.name.removeprefix("step-"))


def _read(state: State, path: Path) -> _Content:
    """Read a checkpoint without changing `state`; raise `UserError` if it does not belong to it."""
    numbers = read_json(path / "state.json")
    if not isinstance(numbers, dict) or any(type(numbers.get(name)) is not kind for name, kind in _NUMBERS.items()):
        raise UserError(f"'{path / 'state.json'}' lacks one of {', '.join(_NUMBERS)}.")
    try:
        numbers["loss_stats"] = LossStats(**numbers.pop("lately"))
    except (KeyError, TypeError) as error:
        raise UserError(f"'{path / 'state.json'}' lacks the recent loss statistics.") from error
    if not isinstance(numbers.setdefault("notes", {}), dict):
        raise UserError(f"'{path / 'state.json'}' is damaged: its notes are not an object.")
    weights, moments, random = (read_tensors(path / f"{name}.safetensors") for name in _TENSORS)
    expected = {name: weight.shape for name, weight in trained_weights(state).items()}
    _check(path / "model.safetensors", {name: x.shape for name, x in weights.items()}, expected)
    shapes = {key: x.shape for key, x in moments.items() if x.ndim}  # AdamW's step count is a scalar
    _check(path / "optimizer.safetensors", shapes, {key: expected.get(key.rsplit("/", 1)[0]) for key in shapes})
    if numbers["loss_stats"].count and not {key.rsplit("/", 1)[0] for key in moments} >= expected.keys():
        raise UserError(f"'{path / 'optimizer.safetensors'}' lacks the state of some weights.")
    if not random.keys() >= {"python", "numpy", "torch"}:
        raise UserError(f"'{path / 'random.safetensors'}' lacks a random state.")
    digests = numbers.pop("sha256", None)
    for name in _TENSORS:
        file = path / f"{name}.safetensors"
        if not isinstance(digests, dict) or sha256(file) != digests.get(name):
            raise UserError(f"'{file}' was changed after it was saved: its SHA-256 is not the one in state.json.")
    return numbers, weights, moments, random


def _check(path: Path, found: dict[str, torch.Size], expected: Mapping[str, torch.Size | None]) -> None:
    wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if wrong:
        name = wrong[0]
        shapes = [tuple(shapes[name] or ()) if name in shapes else None for shapes in (found, expected)]
        raise UserError(
            f"'{path}' belongs to another model: '{name}' has the shape {shapes[0]} there, {shapes[1]} here."
        )


def _fill(state: State, content: _Content) -> None:
    numbers, weights, moments, random = content
    with torch.no_grad():
        for name, weight in trained_weights(state).items():
            weight.copy_(weights[name])
    _fill_optimizers(state, moments)
    set_random_state(random)
    for name, value in numbers.items():
        setattr(state, name, value)


def trained_weights(state: State) -> Tensors:
    """Return the weights that a run changes, by name; frozen ones stay the parent's."""
    return {name: weight for name, weight in state.model.named_parameters() if weight.requires_grad}


def copied_weights(state: State) -> Tensors:
    """Return the trained weights in the memory of the CPU, by name, ready to be written."""
    return {name: weight.detach().cpu().contiguous() for name, weight in trained_weights(state).items()}


def _set_aside(path: Path) -> Path:
    """Rename a checkpoint so that it is not counted among those that are kept."""
    aside = path.with_name(f"broken-{path.name}")
    if aside.exists():
        shutil.rmtree(aside)
    return path.rename(aside)


def _optimizer_tensors(state: State) -> Tensors:
    """Return every tensor of the optimizers, by "<weight>/<name>"."""
    names: dict[Tensor, str] = {weight: name for name, weight in state.model.named_parameters()}
    return {
        f"{names[weight]}/{key}": value.detach().cpu().contiguous()
        for optimizer in state.optimizers
        for weight, values in optimizer.state.items()
        for key, value in values.items()
    }


def _fill_optimizers(state: State, moments: Tensors) -> None:
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
