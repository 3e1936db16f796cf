"""Losses, optimizers and the loop: equal to references, and unchanged by interruptions."""

import dataclasses
import itertools
import math
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sayso.base.errors import UserError
from sayso.batch.batch import Batch
from sayso.loss import cross_entropy
from sayso.loss.next_token import next_token_loss, token_logprobs
from sayso.loss.term import Term
from sayso.model import ModelConfig, Transformer
from sayso.model.linear import has_onednn
from sayso.train.checkpoint import load_checkpoint, save_checkpoint
from sayso.train.dial import depth_of_budget, rows_of_tokens, shape_of_depth, tokens_of_shape
from sayso.train.loop import Diverged, Hooks, Interrupted, State, StepRecord, train
from sayso.train.measure import matmul_peak, step_flops
from sayso.train.muon import Muon, orthogonalise
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.train.workers import PartialSum, can_fork, worker_pool

linux = pytest.mark.skipif(not can_fork("cpu"), reason="processes are forked on Linux, without a GPU")
CONFIG = ModelConfig(vocab_size=50, layers=2, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=64, context=16)


def batch(step: int, rows: int = 4) -> Batch:
    """A learnable batch that is a pure function of the step: each token is the one before plus a row's stride."""
    generator = torch.Generator().manual_seed(step)
    start, stride = torch.randint(50, (2, rows, 1), generator=generator)
    ids = (start + stride % 3 * torch.arange(17)) % 50
    return Batch(ids[:, :-1], ids[:, 1:].clone(), torch.zeros(rows, 16, dtype=torch.int32))


def loss_of(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
    """The next-token loss, as a loss function of the loop."""
    return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()


def fresh() -> State:
    """A state before its first step."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    return State(model, make_optimizers(model, Rates()))


def weights(state: State) -> list[torch.Tensor]:
    """Copies of all weights."""
    return [weight.detach().clone() for weight in state.model.parameters()]


def test_the_loss_is_the_cross_entropy_of_trained_tokens() -> None:
    """The sum and count agree with torch's cross entropy over the targets that are trained, and only those."""
    model, part = fresh().model, batch(0)
    part.targets[:, ::2] = -100
    total, count = next_token_loss(model, part.ids, part.targets, part.documents)
    expected = F.cross_entropy(model(part.ids).flatten(0, 1), part.targets.flatten(), reduction="sum")
    assert count == 4 * 8
    assert torch.allclose(total, expected)


@pytest.mark.parametrize("chunk", [1, 50 * 7, 2**22])
def test_the_chunked_loss_equals_the_loss_of_all_positions(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and both gradients agree with torch's, whether a chunk is one position, several, or all."""
    monkeypatch.setitem(cross_entropy.CHUNK, "cpu", chunk)
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(rows, 32, generator=generator, requires_grad=True) for rows in (40, 50))
    targets = torch.randint(50, (40,), generator=generator)
    ours = cross_entropy.linear_cross_entropy(hidden, weight, targets)
    theirs = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    assert torch.allclose(ours, theirs, rtol=1e-6)
    found = torch.autograd.grad(3 * ours, (hidden, weight))
    expected = torch.autograd.grad(3 * theirs, (hidden, weight))
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(found, expected, strict=True))
    with torch.no_grad():
        assert torch.allclose(cross_entropy.linear_cross_entropy(hidden, weight, targets), theirs, rtol=1e-6)


class Largest(TorchDispatchMode):
    """Records the largest tensor of all operations, including those inside a function's forward and backward."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.untyped_storage().nbytes() // value.element_size())
        return made


def test_the_logits_of_a_batch_never_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of the loss is as large as the logits, which plain cross entropy computes."""
    monkeypatch.setitem(cross_entropy.CHUNK, "cpu", 2**16)
    config = dataclasses.replace(CONFIG, vocab_size=5_000)
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    ids = torch.randint(5_000, (32, 17), generator=torch.Generator().manual_seed(1))
    logits, weight = 32 * 16 * 5_000, 5_000 * config.width
    with Largest() as ours:
        total, _ = next_token_loss(model, ids[:, :-1], ids[:, 1:], torch.zeros(32, 16, dtype=torch.int32))
        total.backward()
    assert ours.numbers == weight < logits
    with Largest() as plain:
        F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
    assert plain.numbers == logits


def test_the_loss_computes_no_gradient_of_a_frozen_head() -> None:
    """Only the required gradients are computed, and they agree with torch's."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(50, (40,), generator=generator)
    for required in ((True, False), (False, True)):
        hidden, weight = (
            torch.randn(rows, 32, generator=generator).requires_grad_(learn)
            for rows, learn in zip((40, 50), required, strict=True)
        )
        total = cross_entropy.linear_cross_entropy(hidden, weight, targets)
        saved = total.grad_fn.saved_tensors
        assert [tensor is not None for tensor in saved] == list(required)
        expected = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
        learned = hidden if required[0] else weight
        (found,), (reference,) = torch.autograd.grad(total, learned), torch.autograd.grad(expected, learned)
        torch.testing.assert_close(found, reference, atol=1e-4, rtol=1e-4)


def test_token_logprobs_are_the_log_softmax_of_the_targets() -> None:
    """Log-probabilities are those of log_softmax, and zero at positions without a target."""
    model, part = fresh().model, batch(1)
    part.targets[0] = -100
    expected = model(part.ids).log_softmax(-1).gather(2, part.targets.clamp(0)[..., None])[..., 0]
    expected[0] = 0
    assert torch.allclose(token_logprobs(model, part.ids, part.targets, part.documents), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(32, 32), (24, 96), (96, 24)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    """The iteration keeps the singular vectors and brings every singular value into 0.8 to 1.2, for any shape."""
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    y = orthogonalise(x)
    values = torch.linalg.svdvals(y)
    assert values.min() > 0.8
    assert values.max() < 1.2
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    assert F.cosine_similarity((u @ v).flatten(1), y.flatten(1)).min() > 0.97


def test_muon_agrees_with_torch_on_the_direction() -> None:
    """One step moves as torch's own Muon does (which iterates with other coefficients, in bfloat16)."""
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.zeros(16, 16)) for _ in range(2))
    ours.grad = torch.randn(16, 16)
    theirs.grad = ours.grad.clone()
    Muon([ours], lr=0.1).step()
    torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0).step()
    assert F.cosine_similarity(ours.flatten(), theirs.flatten(), 0) > 0.97


def test_every_weight_has_one_optimizer() -> None:
    """Each weight of the model is in exactly one parameter group."""
    state = fresh()
    owned = [weight for o in state.optimizers for group in o.param_groups for weight in group["params"]]
    assert len(owned) == len({id(weight) for weight in owned}) == len(list(state.model.parameters()))


def test_the_schedule_rises_holds_and_falls_to_zero() -> None:
    """Linear warmup, plateau, and linear decay that would reach zero at the step after the last."""
    schedule = Schedule(100, warmup=10, decay=0.5)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9:51] == [1.0] * 42
    assert factors[75] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.02)
    assert schedule.factor(100) == 0


def test_training_learns() -> None:
    """On a learnable pattern the loss falls far below ln V."""
    shown: list[StepRecord] = []
    train(fresh(), lambda step: [batch(step)], loss_of, Schedule(60), Hooks(show=shown.append))
    assert shown[0].loss == pytest.approx(math.log(50), abs=0.1)
    assert shown[-1].loss < 2.5
    assert [line.step for line in shown] == list(range(1, 61))


def test_every_tenth_step_has_the_norm_of_its_update() -> None:
    """The norms are those of the weights after the update, and of their difference to the weights before it."""
    states: list[torch.Tensor] = []
    shown: list[StepRecord] = []
    state = fresh()

    def show(line: StepRecord) -> None:
        states.append(torch.cat([weight.flatten() for weight in weights(state)]))
        shown.append(line)

    train(state, lambda step: [batch(step)], loss_of, Schedule(20), Hooks(show=show))
    assert [line.step for line in shown if line.norms] == [10, 20]
    norms, before, after = shown[9].norms, states[8], states[9]
    assert norms
    assert norms.parameter_norm == pytest.approx(after.norm().item(), rel=1e-5)
    assert norms.update_ratio == pytest.approx(((after - before).norm() / after.norm()).item(), rel=1e-4)
    assert {(line.seen, line.count, line.trained) for line in shown} == {(4 * 16, 4 * 16, 4 * 16)}


def test_a_step_has_six_operations_per_weight_and_token() -> None:
    """The head is only applied to trained tokens, the blocks to all."""
    head = CONFIG.vocab_size * CONFIG.width
    assert step_flops(CONFIG, 10, 4) == 6 * (10 * (CONFIG.matmul_parameters - head) + 4 * head)


def test_the_peak_is_the_best_of_all_ways_to_compute_a_product() -> None:
    """Several shapes, with torch's own product and with that of layers; the number of threads is restored."""
    threads = torch.get_num_threads()
    with torch.profiler.profile(record_shapes=True) as seen:
        assert matmul_peak("cpu", processes=2) > 1e9
    assert torch.get_num_threads() == threads
    shapes: dict[str, set[str]] = {}
    for event in seen.key_averages(group_by_input_shape=True):
        shapes.setdefault(event.key, set()).add(str(event.input_shapes))
    ways = ["aten::mm", "mkldnn::_linear_pointwise"] if has_onednn() else ["aten::mm", "aten::linear"]
    assert [len(shapes[way]) for way in ways] == [3, 3]


def test_recomputing_changes_no_gradient() -> None:
    """Recomputing a block's activations in the backward pass leaves all gradients bitwise the same."""
    gradients = []
    for recompute in (False, True):
        model, part = fresh().model, batch(0)
        torch.nn.init.normal_(model.blocks[0].mlp.down.weight, std=0.1, generator=torch.Generator().manual_seed(1))
        model.recompute, calls = recompute, []
        model.blocks[0].register_forward_pre_hook(lambda *_, to=calls: to.append(1))
        next_token_loss(model, part.ids, part.targets, part.documents)[0].backward()
        gradients.append([weight.grad for weight in model.parameters()])
        assert len(calls) == 1 + recompute
    assert all(torch.equal(kept, again) for kept, again in zip(*gradients, strict=True))


@linux
def test_several_processes_change_only_rounding() -> None:
    """Three processes with unequal work agree with one to 1e-6, and with three processes bitwise."""

    def cut(step: int) -> list[Batch]:
        made = batch(step, rows=5)
        made.targets[0, 3:] = -100
        return made.split(4)

    ends = []
    for processes in (1, 3, 3):
        state = fresh()
        losses: list[float] = []
        schedule = Schedule(3)
        train(state, cut, loss_of, schedule, Hooks(show=lambda s, to=losses: to.append(s.loss)), processes=processes)
        ends.append((torch.tensor(losses, dtype=torch.float64), weights(state)))
    (alone, ours), (shared, theirs), (again, same) = ends
    torch.testing.assert_close(alone, shared, rtol=1e-6, atol=1e-6)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(ours, theirs, strict=True))
    assert torch.equal(shared, again)
    assert all(torch.equal(one, other) for one, other in zip(theirs, same, strict=True))


@linux
def test_an_error_in_a_worker_is_raised_in_its_parent() -> None:
    """No process is left behind."""

    def fail(model: Transformer, part: tuple[int, Batch]) -> tuple[torch.Tensor, int, int]:
        if part[0] == 1:
            raise ValueError("the second part is bad")
        return loss_of(model, part[1])

    with pytest.raises(ValueError, match="second part"):
        train(fresh(), lambda step: list(enumerate(batch(step).split(2))), fail, Schedule(3), processes=2)
    assert not multiprocessing.active_children()


@linux
def test_a_killed_worker_is_an_error() -> None:
    """If the system kills a worker, the run does not hang, and the error says how the worker ended."""

    def show(shown: StepRecord) -> None:
        (worker,) = multiprocessing.active_children()
        worker.kill()
        worker.join()

    with pytest.raises(UserError, match=r"shared the training step was terminated by signal 9 \(SIGKILL\), perhaps"):
        train(fresh(), lambda step: batch(step).split(2), loss_of, Schedule(3), Hooks(show=show), processes=2)


class Local(Exception):  # noqa: N818 - as a library might raise
    """An error that cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@linux
def test_an_error_that_cannot_be_pickled_is_raised_with_its_text() -> None:
    """The parent raises a RuntimeError with the worker's traceback."""

    def fail(model: Transformer, part: tuple[int, Batch]) -> tuple[torch.Tensor, int, int]:
        if part[0] == 1:
            raise Local(1, 2)
        return loss_of(model, part[1])

    with pytest.raises(RuntimeError, match="1 and 2"):
        train(fresh(), lambda step: list(enumerate(batch(step).split(2))), fail, Schedule(3), processes=2)


@linux
def test_workers_exit_when_their_parent_is_killed(tmp_path: Path) -> None:
    """After SIGKILL of a run, its workers exit too."""
    script = tmp_path / "run.py"
    script.write_text(
        "import multiprocessing, sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_train import Hooks, Schedule, batch, fresh, loss_of, train\n"
        "def show(shown):\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(60)\n"
        "train(fresh(), lambda step: batch(step).split(2), loss_of, Schedule(3), Hooks(show=show), processes=2)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        (worker,) = map(int, run.stdout.readline().split())
        run.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


@pytest.mark.parametrize("spoiled", [math.nan, math.inf, 100.0], ids=["nan", "inf", "jump"])
def test_a_step_that_diverges_updates_nothing(spoiled: float) -> None:
    """It stops training with the weights before it, or is skipped if the caller says so."""

    def spoil(model: Transformer, part: tuple[int, Batch]) -> tuple[torch.Tensor, int, int]:
        total, count, tokens = loss_of(model, part[1])
        return total * spoiled if part[0] == 2 else total, count, tokens

    good, state, diverged = fresh(), fresh(), []
    train(good, lambda step: [batch(step)], loss_of, Schedule(2, warmup=1, decay=0))
    with pytest.raises(Diverged, match="step 3"):
        train(state, lambda step: [(step, batch(step))], spoil, Schedule(5, warmup=1, decay=0))
    assert state.step == 2
    assert all(torch.equal(a, b) for a, b in zip(weights(state), weights(good), strict=True))

    def skip(problem: Diverged) -> bool:
        diverged.append(problem.step)
        return True

    train(state, lambda step: [(step, batch(step))], spoil, Schedule(3, warmup=1, decay=0), Hooks(diverged=skip))
    assert (diverged, state.step) == ([3], 3)
    assert all(torch.equal(a, b) for a, b in zip(weights(state), weights(good), strict=True))


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Stopped and saved after step 4, then loaded and resumed: bitwise the weights of an uninterrupted run."""
    straight = fresh()
    train(straight, lambda step: [batch(step)], loss_of, Schedule(9))

    def stop(shown: StepRecord) -> None:
        if shown.step == 4:
            signal.raise_signal(signal.SIGINT)

    cut = fresh()
    with pytest.raises(Interrupted):
        train(
            cut,
            lambda step: [batch(step)],
            loss_of,
            Schedule(9),
            Hooks(save=lambda s: save_checkpoint(s, tmp_path) and None, show=stop),
        )
    resumed = fresh()
    assert load_checkpoint(resumed, tmp_path)
    assert resumed.step == 4
    train(resumed, lambda step: [batch(step)], loss_of, Schedule(9))
    assert all(torch.equal(one, other) for one, other in zip(weights(straight), weights(resumed), strict=True))
    assert resumed.tokens == straight.tokens


def test_the_dial_gives_shapes_and_budgets() -> None:
    """Weights increase with depth and depth with compute; 124M-scale runs get the published batch size."""
    shapes = [shape_of_depth(depth, 4096, 512) for depth in range(1, 13)]
    assert all(a.matmul_parameters < b.matmul_parameters for a, b in itertools.pairwise(shapes))
    for depth in (2, 5, 9):
        shape = shape_of_depth(depth, 4096, 512)
        assert depth_of_budget(1.01 * tokens_of_shape(shape) * shape.flops_per_token(512), 4096, 512) == depth
    assert rows_of_tokens(1_300_000_000, 2048) * 2048 == 2**19
    with pytest.raises(UserError, match="--depth"):
        shape_of_depth(0, 4096, 512)


def test_a_width_replaces_the_one_of_the_depth() -> None:
    """There is a head per 32; from nine heads on, two share keys and values."""
    narrow, wide = (shape_of_depth(2, 4096, 512, width=width) for width in (160, 320))
    assert (narrow.layers, narrow.width, narrow.heads, narrow.kv_heads) == (2, 160, 5, 5)
    assert (wide.width, wide.heads, wide.kv_heads) == (320, 10, 5)
    assert shape_of_depth(2, 4096, 512, width=256).kv_heads == 8
    for width in (16, 100, 288):  # too small, no multiple of 32, nine heads
        with pytest.raises(UserError, match=f"--width must be a multiple of 32.*got {width}"):
            shape_of_depth(2, 4096, 512, width=width)


def test_flops_per_token_are_six_per_weight_and_those_of_attention() -> None:
    """The count of weights agrees with the model."""
    model = Transformer(CONFIG)
    matrices = sum(w.numel() for name, w in model.named_parameters() if w.ndim == 2 and name != "embed.weight")
    assert CONFIG.matmul_parameters == matrices
    assert CONFIG.flops_per_token(16) == 6 * matrices + 12 * 2 * 32 * 16


@linux
@pytest.mark.parametrize("processes", [1, 2])
def test_figures_are_means_over_all_items_of_a_step(processes: int) -> None:
    """A part with three items weighs three times as much as one with one item, in any number of processes."""

    def loss(model: Transformer, part: Batch) -> Term:
        values = part.ids[:, 0].float()
        return Term(*loss_of(model, part), {"first": values, "rare": values[values > 40]})

    def parts(step: int) -> list[Batch]:
        return [batch(step).take(rows) for rows in torch.arange(4).split((1, 3))]

    steps: list[StepRecord] = []
    train(fresh(), parts, loss, Schedule(3), Hooks(show=steps.append), processes=processes)
    for step, shown in enumerate(steps):
        values = batch(step).ids[:, 0].float()
        rare = values[values > 40]
        expected = {"first": values.mean().item()} | ({"rare": rare.mean().item()} if len(rare) else {})
        assert shown.figures == pytest.approx(expected)


def test_gathering_does_not_change_the_steps() -> None:
    """A run whose batches are gathered every few steps ends with the same weights; the last batches may last longer."""
    at_once, by_parts = fresh(), fresh()
    train(at_once, lambda step: [batch(step)], loss_of, Schedule(6))
    gathered = {0: 2, 2: 5, 5: 9}
    train(by_parts, lambda step: [batch(step)], loss_of, Schedule(6), Hooks(gather=lambda s: gathered.pop(s.step)))
    assert (by_parts.step, gathered) == (6, {})
    assert all(torch.equal(a, b) for a, b in zip(weights(at_once), weights(by_parts), strict=True))


def test_gathered_batches_must_last() -> None:
    """Otherwise the loop would never end."""
    with pytest.raises(AssertionError, match="at least one step"):
        train(fresh(), lambda step: [batch(step)], loss_of, Schedule(6), Hooks(gather=lambda state: state.step))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stop_at", [0, 2])
def test_a_signal_while_gathering_interrupts_it_and_saves(number: signal.Signals, stop_at: int) -> None:
    """Sampling may take minutes, so it is not completed; the handlers of the caller are restored."""
    saved, completed = [], []

    def gather(state: State) -> int:
        if state.step == stop_at:
            signal.raise_signal(number)
        completed.append(state.step)
        return state.step + 2

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    hooks = Hooks(gather=gather, save=lambda state: saved.append(state.step))
    with pytest.raises(Interrupted):
        train(fresh(), lambda step: [batch(step)], loss_of, Schedule(6), hooks)
    assert (saved, completed) == ([stop_at], [0] * (stop_at > 0))
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_during_the_last_step_before_gathering_stops_before_it() -> None:
    """Nothing is gathered for a run that is to stop, also if the signal comes while the step is evaluated."""
    gathered, saved = [], []

    def gather(state: State) -> int:
        gathered.append(state.step)
        return state.step + 2

    def judge(state: State) -> None:
        signal.raise_signal(signal.SIGTERM)

    hooks = Hooks(gather=gather, judge=judge, judge_every=4, save=lambda state: saved.append(state.step))
    with pytest.raises(Interrupted):
        train(fresh(), lambda step: [batch(step)], loss_of, Schedule(6), hooks)
    assert (gathered, saved) == ([0, 2], [4])


def test_a_signal_while_workers_stop_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two iterations there is no moment at which Ctrl-C is ignored."""
    from sayso.train import loop

    @contextmanager
    def pool(*arguments: Any) -> Iterator[Callable[[int], PartialSum]]:
        with worker_pool(*arguments) as summed:
            yield summed
        signal.raise_signal(signal.SIGINT)

    def gather(state: State) -> int:
        gathered.append(state.step)
        return state.step + 1

    monkeypatch.setattr(loop, "worker_pool", pool)
    gathered, saved = [], []
    hooks = Hooks(gather=gather, save=lambda state: saved.append(state.step))
    with pytest.raises(Interrupted):
        train(fresh(), lambda step: [batch(step)], loss_of, Schedule(6), hooks)
    assert (gathered, saved) == ([0], [1])


def test_an_interrupt_inside_gathering_saves_once() -> None:
    """A reward that raises KeyboardInterrupt itself, as Ctrl-C does, stops the run in the same way."""
    saved: list[int] = []

    def gather(state: State) -> int:
        raise KeyboardInterrupt

    hooks = Hooks(gather=gather, save=lambda state: saved.append(state.step))
    with pytest.raises(Interrupted):
        train(fresh(), lambda step: [batch(step)], loss_of, Schedule(6), hooks)
    assert saved == [0]


def test_an_error_while_gathering_is_raised_and_saves_nothing() -> None:
    """A failure is not an interrupt: the newest checkpoint stays the newest."""
    saved: list[int] = []

    def gather(state: State) -> int:
        raise ValueError("a reward failed")

    hooks = Hooks(gather=gather, save=lambda state: saved.append(state.step))
    with pytest.raises(ValueError, match="a reward failed"):
        train(fresh(), lambda step: [batch(step)], loss_of, Schedule(6), hooks)
    assert saved == []


def test_time_spent_on_gathering_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """`seconds` is the time of all steps so far: here, a step takes 1 second and gathering takes 100."""
    clock = [0.0]

    def gather(state: State) -> int:
        clock[0] += 100
        return state.step + 2

    def loss(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
        clock[0] += 1
        return loss_of(model, part)

    seconds: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: clock[0])
        hooks = Hooks(gather=gather, show=lambda step: seconds.append(step.seconds))
        train(fresh(), lambda step: [batch(step)], loss, Schedule(5), hooks)
    assert seconds == [1, 2, 3, 4, 5]
