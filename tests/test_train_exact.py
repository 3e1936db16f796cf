"""Training is exact: what cuts a step into parts, or a run into pieces, changes nothing but rounding, or nothing."""

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
    """One thread, as forked processes have it, so that equal sums are added up in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def uneven(step: int) -> Batch:
    """Rows that train 16, 3, 0, 16, 7 and 1 tokens."""
    ids = torch.randint(50, (ROWS, 17), generator=torch.Generator().manual_seed(step))
    targets = ids[:, 1:].clone()
    for row, count in enumerate((16, 3, 0, 16, 7, 1)):
        targets[row, count:] = -100
    return Batch(ids[:, :-1], targets, torch.zeros(ROWS, 16, dtype=torch.int32))


def loss_of(model: Transformer, part: Batch) -> tuple[Tensor, int, int]:
    """The next-token loss as the loop wants it."""
    return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()


def fresh() -> State:
    """A state before its first step."""
    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
    return State(model, make_optimizers(model, Rates()))


class Recorder(torch.optim.Optimizer):
    """An optimizer that keeps the gradient that it is given, and moves nothing."""

    def __init__(self, model: Transformer) -> None:
        super().__init__(model.parameters(), {"lr": 1.0, "peak": 1.0})
        self.seen = torch.zeros(0)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Keep the gradient of all weights."""
        self.seen = torch.cat([weight.grad.flatten().double() for weight in self.param_groups[0]["params"]])


def gradient_of(made: Batch, loss: Callable, parts: int, processes: int) -> tuple[float, Tensor]:
    """The loss and gradient of one step on a batch in so many parts; the writing matrices do not start at zero."""
    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
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
    """A loss of alignment, against a reference of other weights."""
    return term_of(preference, Frozen(Transformer(CONFIG).initialise(torch.Generator().manual_seed(7))))


DPO, KTO = Preference("dpo", 0.1, nll=1.0), Preference("kto", 0.5, nll=0.5, good_weight=1.5)


@pytest.mark.parametrize(
    ("made", "loss"),
    [(uneven(0), loss_of), (pairs(), preference_loss(DPO)), (ratings(), preference_loss(KTO))],
    ids=["tokens", "pairs", "ratings"],
)
@pytest.mark.parametrize(
    ("parts", "processes"), [(2, 1), (4, 1), (6, 1), pytest.param(2, 2, marks=linux), pytest.param(6, 3, marks=linux)]
)
def test_parts_and_processes_change_neither_loss_nor_gradient(made, loss, parts: int, processes: int) -> None:
    """Whole, in parts of unequal counts (one without any), or shared out: equal to 1e-6 of the loss and gradient."""
    expected, whole = gradient_of(made, loss, 1, 1)
    found, cut = gradient_of(made, loss, parts, processes)
    assert found == pytest.approx(expected, rel=1e-6)
    assert float((cut - whole).norm() / whole.norm()) < 1e-6


def trained(folder: Path, processes: int = 1, *, die_at: int = 0) -> None:
    """Train to the end, from a checkpoint if there is one, saving after each step; with `die_at`, be killed sooner.

    The kill comes at the so-many-th time that a file or folder is opened, made, renamed or removed.
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
    """A loss with dropout, and, in a run's first process, with draws of Python and NumPy as well."""
    total, count, tokens = loss_of(model, part)
    if multiprocessing.parent_process() is None or not multiprocessing.current_process().daemon:
        total = total * (1 + 0.1 * random.gauss(0, 1) + 0.1 * np.random.standard_normal())
    return total * torch.nn.functional.dropout(torch.ones(50)).mean(), count, tokens


def in_a_fork(*given: object, **named: object) -> int | None:
    """Run `trained` in a process of its own; return its exit code, negative for a signal."""
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
    """SIGKILL at any file operation of any save; the same run again ends with the same bytes, with nothing left over.

    The loss draws at random, so the state of Python's, NumPy's and torch's randomness has to go on as well.
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
def test_a_run_of_several_processes_resumes_to_the_bit(tmp_path: Path) -> None:
    """What each process draws follows from the checkpoint as well."""
    assert in_a_fork(tmp_path / "straight", 2) == 0
    assert in_a_fork(tmp_path / "killed", 2, die_at=70) == -signal.SIGKILL
    assert len(checkpoints_in(tmp_path / "killed")) > 0
    assert in_a_fork(tmp_path / "killed", 2) == 0
    assert tensors(tmp_path / "killed") == tensors(tmp_path / "straight")


@linux
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    """Begun by one process and gone on with by three: the same losses as by one alone, but for rounding."""

    def lived(steps: list[tuple[int, int]]) -> tuple[list[float], Tensor]:
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

    straight, there = lived([(99, 1)])
    cut, here = lived([(4, 1), (7, 3), (99, 2)])
    assert cut == pytest.approx(straight, rel=1e-5)
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)


def test_every_kind_of_randomness_goes_on(tmp_path: Path) -> None:
    """A checkpoint's random state gives the same draws again, also the other half of a pair of normals."""

    def draws() -> list[float]:
        ours = [random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.standard_normal())]
        return [*ours, float(torch.rand(())), float(torch.randn(()))]

    seed_all(3)
    random.gauss(0, 1), np.random.standard_normal()  # each keeps the other half of its pair
    save_checkpoint(fresh(), tmp_path)
    told = random_state()
    expected = draws()
    seed_all(4)
    assert draws() != expected
    assert load_checkpoint(fresh(), tmp_path)
    assert draws() == expected
    set_random_state(told)
    assert draws() == expected
    assert told.keys() >= {"python", "numpy", "torch"}


def test_optimizer_state_goes_to_the_device_of_its_weight(tmp_path: Path) -> None:
    """A run saved on one device goes on on another: here one that has shapes and no memory."""
    state = fresh()
    train(state, lambda step: [uneven(step)], loss_of, Schedule(2))
    save_checkpoint(state, tmp_path)
    model = Transformer(CONFIG).to("meta")
    there = State(model, make_optimizers(model, Rates()))
    assert load_checkpoint(there, tmp_path)
    moments = [x for optimizer in there.optimizers for of in optimizer.state.values() for x in of.values()]
    assert len(moments) == sum(len(of) for optimizer in state.optimizers for of in optimizer.state.values())
    assert {x.device.type for x in moments} == {"meta"}
