"""A training state as a folder, so that an interrupted run ends with exactly the same weights as an uninterrupted one.

    checkpoints/step-000120/   model.safetensors  optimizer.safetensors  random.safetensors  state.json

Batches are a pure function of the step, so trained weights (frozen ones are the parent's), optimizer state, random
state and a few numbers are the whole state. A folder appears whole or not at all, and only once its bytes are on
disk; the newest are kept. A checkpoint that is incomplete, was changed, or belongs to another model, is reported and
skipped in favor of the one before.
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
Read = tuple[dict[str, Any], Tensors, Tensors, Tensors]  # numbers, weights, optimizer state, random state
TENSORS = ("model", "optimizer", "random")
_PLAIN = {"step": int, "tokens": int, "skipped": int}  # fields of a state that are single numbers


def save_checkpoint(state: State, folder: Path, keep: int = 2) -> Path:
    """Write the state under `folder` and remove all but the newest `keep` checkpoints; return the new one's path."""
    path = folder / f"step-{state.step:06d}"
    with atomic_folder(path) as part:
        save_file(_weights(state), part / "model.safetensors")
        save_file(_optimizer_tensors(state), part / "optimizer.safetensors")
        save_file(random_state(), part / "random.safetensors")
        numbers = {name: getattr(state, name) for name in _PLAIN}
        digests = {name: sha256(part / f"{name}.safetensors") for name in TENSORS}
        write_json(
            part / "state.json",
            numbers | {"lately": asdict(state.lately), "notes": state.notes, "sha256": digests},
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
            read = _read(state, path)
        except UserError as error:
            broken.append((path, error))
            continue
        _fill(state, read)
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
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _read(state: State, path: Path) -> Read:
    """Read a checkpoint; `UserError` if it does not belong to `state`, which is not changed."""
    numbers = read_json(path / "state.json")
    if not isinstance(numbers, dict) or any(type(numbers.get(name)) is not kind for name, kind in _PLAIN.items()):
        raise UserError(f"'{path / 'state.json'}' lacks one of {', '.join(_PLAIN)}.")
    try:
        numbers["lately"] = LossStats(**numbers["lately"])
    except (KeyError, TypeError) as error:
        raise UserError(f"'{path / 'state.json'}' lacks the recent loss statistics.") from error
    if not isinstance(numbers.setdefault("notes", {}), dict):
        raise UserError(f"'{path / 'state.json'}' is damaged: its notes are not an object.")
    weights, moments, chance = (read_tensors(path / f"{name}.safetensors") for name in TENSORS)
    expected = {name: weight.shape for name, weight in state.model.named_parameters() if weight.requires_grad}
    _check(path / "model.safetensors", {name: x.shape for name, x in weights.items()}, expected)
    of_weights = {key: x.shape for key, x in moments.items() if x.ndim}  # AdamW's step count is a scalar
    wanted = {key: expected.get(key.rsplit("/", 1)[0]) for key in of_weights}
    _check(path / "optimizer.safetensors", of_weights, wanted)
    if numbers["lately"].count and not {key.rsplit("/", 1)[0] for key in moments} >= expected.keys():
        raise UserError(f"'{path / 'optimizer.safetensors'}' lacks the state of some weights.")
    if not chance.keys() >= {"python", "numpy", "torch"}:
        raise UserError(f"'{path / 'random.safetensors'}' lacks a random state.")
    digests = numbers.pop("sha256", None)
    for name in TENSORS:
        file = path / f"{name}.safetensors"
        if not isinstance(digests, dict) or sha256(file) != digests.get(name):
            raise UserError(f"'{file}' was changed after it was saved: its SHA-256 is not the one in state.json.")
    return numbers, weights, moments, chance


def _check(path: Path, found: dict[str, torch.Size], expected: Mapping[str, torch.Size | None]) -> None:
    wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if wrong:
        name = wrong[0]
        shapes = [tuple(shapes[name] or ()) if name in shapes else None for shapes in (found, expected)]
        raise UserError(
            f"'{path}' belongs to another model: '{name}' has the shape {shapes[0]} there, {shapes[1]} here."
        )


def _fill(state: State, read: Read) -> None:
    numbers, weights, moments, chance = read
    with torch.no_grad():
        for name, weight in trained_weights(state).items():
            weight.copy_(weights[name])
    _fill_optimizers(state, moments)
    set_random_state(chance)
    for name, value in numbers.items():
        setattr(state, name, value)


def trained_weights(state: State) -> Tensors:
    """Return the weights that a run changes, by name; frozen ones stay the parent's."""
    return {name: weight for name, weight in state.model.named_parameters() if weight.requires_grad}


def _weights(state: State) -> Tensors:
    return {name: weight.detach().cpu().contiguous() for name, weight in trained_weights(state).items()}


def _set_aside(path: Path) -> Path:
    """Rename a checkpoint so that it no longer counts toward those that are kept."""
    aside = path.with_name(f"broken-{path.name}")
    if aside.exists():
        shutil.rmtree(aside)
    return path.rename(aside)


def _optimizer_tensors(state: State) -> Tensors:
    """Every optimizer tensor as "<weight>/<name>"."""
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
