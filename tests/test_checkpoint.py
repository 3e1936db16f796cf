"""Checkpoints: the newest complete one is loaded, broken ones are skipped, and a full disk loses none."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sayso.base.errors import UserError
from sayso.base.files import disk_full, read_json
from sayso.model import ModelConfig, Transformer
from sayso.train.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint
from sayso.train.loop import State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

CONFIG = ModelConfig(vocab_size=50, layers=1, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=64, context=16)


def fresh() -> State:
    """A state before its first step."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    return State(model, make_optimizers(model, Rates()))


def step_to(state: State, step: int) -> None:
    """Train a state on one batch until a step."""
    ids = torch.arange(8).repeat(2, 1)

    def loss(model: Transformer, ids: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        logits = model(ids[:, :-1]).flatten(0, 1)
        total = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="sum")
        return total, len(logits), ids.numel()

    train(state, lambda _: [ids], loss, Schedule(step))


def saved(folder: Path, *steps: int, keep: int = 2) -> State:
    """Save a state at these steps; return it at the last."""
    state = fresh()
    for step in steps:
        step_to(state, step)
        save_checkpoint(state, folder, keep)
    return state


def rewrite(path: Path, change: Callable[[dict], object]) -> None:
    """Change the tensors of a file, or the values of a JSON file."""
    if path.suffix == ".json":
        values = read_json(path)
        change(values)
        path.write_text(json.dumps(values))
        return
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def flip(path: Path) -> None:
    """Change one bit of the last tensor in a file, but no name or shape."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


BREAKS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "truncated weights": ("model", lambda path: path.write_bytes(path.read_bytes()[:-9])),
    "a bit of the weights": ("model", flip),
    "a bit of the optimizer": ("optimizer", flip),
    "a bit of the random state": ("random", flip),
    "empty optimizer": ("optimizer", lambda path: path.write_bytes(b"")),
    "missing weights": ("model", Path.unlink),
    "missing random state": ("random", Path.unlink),
    "missing numbers": ("state", Path.unlink),
    "truncated numbers": ("state", lambda path: path.write_text(path.read_text()[:20])),
    "numbers that are a list": ("state", lambda path: path.write_text("[]")),
    "no step": ("state", lambda path: rewrite(path, lambda values: values.pop("step"))),
    "no loss statistics": ("state", lambda path: rewrite(path, lambda values: values.pop("lately"))),
    "a weight missing": ("model", lambda path: rewrite(path, lambda x: x.pop("norm.weight"))),
    "an extra weight": ("model", lambda path: rewrite(path, lambda x: x.update(other=torch.ones(2)))),
    "another shape": ("model", lambda path: rewrite(path, lambda x: x.update({"norm.weight": torch.ones(9)}))),
    "no state of a weight": (
        "optimizer",
        lambda path: rewrite(path, lambda x: [x.pop(key) for key in list(x) if key.startswith("norm.weight")]),
    ),
    "optimizer of another shape": (
        "optimizer",
        lambda path: rewrite(path, lambda x: x.update({"norm.weight/exp_avg": torch.zeros(3)})),
    ),
    "a random generator missing": ("random", lambda path: rewrite(path, lambda x: x.pop("numpy"))),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_newest_checkpoint_is_reported_and_skipped(name: str, tmp_path: Path) -> None:
    """The one before is loaded and the broken one renamed; if all are broken, that is an error with the file's name."""
    saved(tmp_path, 2, 3)
    stem, spoil = BREAKS[name]
    suffix = "json" if stem == "state" else "safetensors"
    spoil(tmp_path / "step-000003" / f"{stem}.{suffix}")
    state, messages = fresh(), []
    assert load_checkpoint(state, tmp_path, messages.append)
    assert state.step == 2
    (message,) = messages
    assert "step-000003" in message
    assert f"{stem}.{suffix}" in message
    assert "\n" not in message
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-000002"]

    shutil.rmtree(tmp_path / "broken-step-000003")
    spoil(tmp_path / "step-000002" / f"{stem}.{suffix}")
    untouched = fresh()
    with pytest.raises(UserError, match=f"{stem}.{suffix}"):
        load_checkpoint(untouched, tmp_path)
    before = zip(untouched.model.parameters(), fresh().model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in before)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-000002"], "the error is the same the next time"


def test_a_broken_checkpoint_does_not_count_among_those_kept(tmp_path: Path) -> None:
    """A broken checkpoint of a later step does not replace complete ones that are saved after it."""
    saved(tmp_path, 2, 9)
    (tmp_path / "step-000009" / "state.json").unlink()
    state = fresh()
    assert load_checkpoint(state, tmp_path)
    step_to(state, 3)
    save_checkpoint(state, tmp_path, keep=1)
    again = fresh()
    assert load_checkpoint(again, tmp_path)
    assert again.step == 3


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_the_requested_number_of_checkpoints_is_kept(keep: int, tmp_path: Path) -> None:
    """Those of the latest steps, even if the step of one has more digits."""
    state = saved(tmp_path, 1, 2, 3, keep=keep)
    for step in (999_999, 1_000_000):
        state.step = step
        save_checkpoint(state, tmp_path, keep)
    steps = [int(path.name.removeprefix("step-")) for path in checkpoints_in(tmp_path)]
    assert steps == [1, 2, 3, 999_999, 1_000_000][-keep:]
    assert load_checkpoint(state, tmp_path)
    assert state.step == 1_000_000


def test_a_partial_checkpoint_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    """It does not fill up the disk."""
    (tmp_path / ".step-000001.sayso-new-abc").mkdir()
    (tmp_path / ".step-000001.sayso-new-abc" / "model.safetensors").write_bytes(b"half")
    saved(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


@pytest.mark.parametrize("file", ["model", "optimizer"])
@pytest.mark.parametrize("share", [0.001, 0.99])
def test_a_full_disk_leaves_the_last_complete_checkpoint(
    file: str, share: float, tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """A save that does not fit raises the error of a full disk, and leaves no partial checkpoint."""
    state = saved(tmp_path, 2, 3)
    step_to(state, 4)
    size = int(share * (tmp_path / "step-000003" / f"{file}.safetensors").stat().st_size)
    with small_disk(size), pytest.raises(Exception, match=r".") as failed:
        save_checkpoint(state, tmp_path)
    assert disk_full(failed.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002", "step-000003"]
    again = fresh()
    assert load_checkpoint(again, tmp_path)
    assert again.step == 3
