"""Exactness: splitting a step changes only rounding; interrupting a run changes nothing."""

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sayso.align.pairs.preference import Preference, term_of
from sayso.align.pairs.reference import Frozen
from sayso.batch.batch import Batch
from sayso.batch.pairs import PairBatches
from sayso.batch.ratings import RatingBatches
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint
from sayso.train.loop import Hooks, Interrupted, State, StepRecord, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.rng import random_state, seed_all, set_random_state
from sayso.train.schedule import Schedule
from sayso.train.workers import can_fork

linux = pytest.mark.skipif(not can_fork("cpu"), reason="processes are forked on Linux, without a GPU")
CONFIG = ModelConfig(vocab_size=50, layers=2, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=64, context=16)
ROWS, STEPS = 6, 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, as forked processes do, so that equal sums are computed in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def uneven(step: int) -> Batch:
    """Rows with 16, 3, 0, 16, 7 and 1 trained tokens."""
    ids = torch.randint(50, (ROWS, 17), generator=torch.Generator().manual_seed(step))
    targets = ids[:, 1:].clone()
    for row, count in enumerate((16, 3, 0, 16, 7, 1)):
        targets[row, count:] = -100
    return Batch(ids[:, :-1], targets, torch.zeros(ROWS, 16, dtype=torch.int32))


def loss_of(model: Transformer, part: Batch) -> tuple[Tensor, int, int]:
    """The next-token loss, as a loss function of the loop."""
    return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()


def fresh() -> State:
    """A state before its first step."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    return State(model, make_optimizers(model, Rates()))


class Recorder(torch.optim.Optimizer):
    """An optimizer that records the gradient and does not update weights."""

    def __init__(self, model: Transformer) -> None:
        super().__init__(model.parameters(), {"lr": 1.0, "peak": 1.0})
        self.seen = torch.zeros(0)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Record the gradient of all weights."""
        self.seen = torch.cat([weight.grad.flatten().double() for weight in self.param_groups[0]["params"]])


def gradient_of(made: Batch, loss: Callable, parts: int, processes: int) -> tuple[float, Tensor]:
    """Return loss and gradient of a step on a batch in `parts` parts; the output matrices are not zero."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    for block in model.blocks:
        for weight in (block.attention.out.weight, block.mlp.down.weight, model.unembed.weight):
            torch.nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(1))
    optimizer, losses = Recorder(model), []

    def show(shown: StepRecord) -> None:
        losses.append(shown.loss)

    state = State(model, [optimizer])
    train(state, lambda _: made.split(parts), loss, Schedule(1), Hooks(show=show), clip=0.0, processes=processes)
    return losses[0], optimizer.seen


def pairs() -> Batch:
    """Six pairs of unequal lengths."""
    ids = torch.randint(50, (6, 15), generator=torch.Generator().manual_seed(3)).tolist()
    made = [(row[:3], row[3 : 5 + n], row[4 : 12 - n]) for n, row in enumerate(ids)]
    return PairBatches(made, 6, 16, seed=0).batch(0)


def ratings() -> Batch:
    """Five ratings of unequal lengths."""
    ids = torch.randint(50, (5, 15), generator=torch.Generator().manual_seed(3)).tolist()
    made = [(row[:3], row[3 : 6 + n], n % 2 == 0) for n, row in enumerate(ids)]
    return RatingBatches(made, 5, 16, seed=0).batch(0)


def preference_loss(preference: Preference) -> Callable:
    """A preference loss, with a reference of other weights."""
    return term_of(preference, Frozen(Transformer(CONFIG).initialize(torch.Generator().manual_seed(7))))


DPO, KTO = Preference("dpo", 0.1, nll=1.0), Preference("kto", 0.5, nll=0.5, good_weight=1.5)


@pytest.mark.parametrize(
    ("made", "loss"),
    [(uneven(0), loss_of), (pairs(), preference_loss(DPO)), (ratings(), preference_loss(KTO))],
    ids=["tokens", "pairs", "ratings"],
)
@pytest.mark.parametrize(
    ("parts", "processes"), [(2, 1), (4, 1), (6, 1), pytest.param(2, 2, marks=linux), pytest.param(6, 3, marks=linux)]
)
def test_parts_and_processes_do_not_change_loss_and_gradient(made, loss, parts: int, processes: int) -> None:
    """They agree to 1e-6 for parts of unequal counts, one of them zero, and any number of processes."""
    expected, gradient = gradient_of(made, loss, 1, 1)
    found, summed = gradient_of(made, loss, parts, processes)
    assert found == pytest.approx(expected, rel=1e-6)
    assert float((summed - gradient).norm() / gradient.norm()) < 1e-6


def trained(folder: Path, processes: int = 1, *, die_at: int = 0) -> None:
    """Train to the end, from a checkpoint if there is one, saving after each step.

    With `die_at`, the process is killed when a file or folder is opened, created, renamed or removed for the n-th time.
    """
    torch.set_num_threads(1)
    left = die_at

    def hook(event: str, _: object) -> None:
        nonlocal left
        if left and event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    seed_all(5)
    state = fresh()
    load_checkpoint(state, folder)
    if die_at:
        sys.addaudithook(hook)
    train(
        state,
        lambda step: uneven(step).split(3),
        drawing,
        Schedule(STEPS),
        Hooks(save=lambda state: save_checkpoint(state, folder) and None, save_seconds=0.0),
        processes=processes,
    )


def drawing(model: Transformer, part: Batch) -> tuple[Tensor, int, int]:
    """A loss with dropout, and in the parent process with random numbers of Python and NumPy too."""
    total, count, tokens = loss_of(model, part)
    if multiprocessing.parent_process() is None or not multiprocessing.current_process().daemon:
        total = total * (1 + 0.1 * random.gauss(0, 1) + 0.1 * np.random.standard_normal())
    return total * torch.nn.functional.dropout(torch.ones(50)).mean(), count, tokens


def in_a_fork(*given: object, **named: object) -> int | None:
    """Run `trained` in another process; return its exit code, negative for a signal."""
    process = multiprocessing.get_context("fork").Process(target=trained, args=given, kwargs=named)
    process.start()
    process.join()
    return process.exitcode


def tensors(folder: Path) -> list[bytes]:
    """The bytes of all tensors of the newest checkpoint."""
    newest = checkpoints_in(folder)[-1]
    assert newest.name == f"step-{STEPS:06d}"
    return [(newest / f"{name}.safetensors").read_bytes() for name in ("model", "optimizer", "random")]


@linux
def test_a_run_killed_at_any_moment_of_a_save_ends_the_same(tmp_path: Path) -> None:
    """After SIGKILL at any file operation of any save, the resumed run ends with the same bytes and no other files.

    The loss is random, so the state of Python's, NumPy's and torch's generators has to be restored too.
    """
    assert in_a_fork(tmp_path / "straight") == 0
    expected, killed = tensors(tmp_path / "straight"), 0
    for moment in range(1, 1000, 4):
        folder = tmp_path / f"killed-{moment}"
        if in_a_fork(folder, die_at=moment) == 0:
            break
        killed += 1
        assert in_a_fork(folder) == 0
        assert tensors(folder) == expected, moment
        assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    assert killed > 10


@linux
def test_a_resumed_run_of_several_processes_is_bitwise_the_same(tmp_path: Path) -> None:
    """The random numbers of each process follow from the checkpoint too."""
    assert in_a_fork(tmp_path / "straight", 2) == 0
    assert in_a_fork(tmp_path / "killed", 2, die_at=70) == -signal.SIGKILL
    assert len(checkpoints_in(tmp_path / "killed")) > 0
    assert in_a_fork(tmp_path / "killed", 2) == 0
    assert tensors(tmp_path / "killed") == tensors(tmp_path / "straight")


@linux
def test_a_run_can_be_resumed_with_another_number_of_processes(tmp_path: Path) -> None:
    """Started with one process and resumed with three: the same losses as with one, up to rounding."""

    def run(steps: list[tuple[int, int]]) -> tuple[list[float], Tensor]:
        losses: list[float] = []
        folder = tmp_path / str(len(steps))
        for until, processes in steps:
            state = fresh()
            load_checkpoint(state, folder)

            def show(shown: StepRecord, last: int = until) -> None:
                losses.append(shown.loss)
                if shown.step == last:
                    signal.raise_signal(signal.SIGTERM)

            try:
                train(
                    state,
                    lambda step: uneven(step).split(3),
                    loss_of,
                    Schedule(9),
                    Hooks(show=show, save=lambda state: save_checkpoint(state, folder) and None),
                    processes=processes,
                )
            except Interrupted:
                continue
        return losses, torch.cat([weight.detach().flatten() for weight in state.model.parameters()])

    expected, weights = run([(99, 1)])
    losses, resumed = run([(4, 1), (7, 3), (99, 2)])
    assert losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(resumed, weights, rtol=1e-3, atol=1e-4)


def test_every_random_generator_is_restored(tmp_path: Path) -> None:
    """A checkpoint's random state yields the same numbers again, including the cached half of a pair of normals."""

    def draws() -> list[float]:
        ours = [random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.standard_normal())]
        return [*ours, float(torch.rand(())), float(torch.randn(()))]

    seed_all(3)
    random.gauss(0, 1), np.random.standard_normal()  # each caches the other half of its pair
    save_checkpoint(fresh(), tmp_path)
    saved = random_state()
    expected = draws()
    seed_all(4)
    assert draws() != expected
    assert load_checkpoint(fresh(), tmp_path)
    assert draws() == expected
    set_random_state(saved)
    assert draws() == expected
    assert saved.keys() >= {"python", "numpy", "torch"}


def test_optimizer_state_is_loaded_to_the_device_of_its_weight(tmp_path: Path) -> None:
    """A run can be resumed on another device; here, one without memory."""
    state = fresh()
    train(state, lambda step: [uneven(step)], loss_of, Schedule(2))
    save_checkpoint(state, tmp_path)
    model = Transformer(CONFIG).to("meta")
    there = State(model, make_optimizers(model, Rates()))
    assert load_checkpoint(there, tmp_path)
    moments = [x for optimizer in there.optimizers for of in optimizer.state.values() for x in of.values()]
    assert len(moments) == sum(len(of) for optimizer in state.optimizers for of in optimizer.state.values())
    assert {x.device.type for x in moments} == {"meta"}
