"""Losses, optimizers and the loop, against references and the law that an interruption changes nothing."""

import dataclasses
import itertools
import math
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

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
from sayso.train.workers import can_fork

linux = pytest.mark.skipif(not can_fork("cpu"), reason="processes are forked on Linux, without a GPU")
CONFIG = ModelConfig(vocab_size=50, layers=2, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=64, context=16)


def batch(step: int, rows: int = 4) -> Batch:
    """A learnable batch that is a pure function of the step: each token is the one before plus a row's stride."""
    generator = torch.Generator().manual_seed(step)
    start, stride = torch.randint(50, (2, rows, 1), generator=generator)
    ids = (start + stride % 3 * torch.arange(17)) % 50
    return Batch(ids[:, :-1], ids[:, 1:].clone(), torch.zeros(rows, 16, dtype=torch.int32))


def loss_of(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
    """The next-token loss as the loop wants it."""
    return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()


def fresh() -> State:
    """A state before its first step."""
    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
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
def test_the_chunked_loss_is_the_whole_one(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and both gradients agree with torch's, whether a chunk is one position, some, or all."""
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
    """Remembers the most numbers that any operation made at once, also inside of forward and backward of a function."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.untyped_storage().nbytes() // value.element_size())
        return made


def test_logits_of_a_whole_batch_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a step of the loss is as large as the logits, where plain cross entropy makes them."""
    monkeypatch.setitem(cross_entropy.CHUNK, "cpu", 2**16)
    config = dataclasses.replace(CONFIG, vocab_size=5_000)
    model = Transformer(config).initialise(torch.Generator().manual_seed(0))
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
    """Only the gradients that are wanted are made; those that are agree with torch's."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(50, (40,), generator=generator)
    for wanted in ((True, False), (False, True)):
        hidden, weight = (
            torch.randn(rows, 32, generator=generator).requires_grad_(learn)
            for rows, learn in zip((40, 50), wanted, strict=True)
        )
        total = cross_entropy.linear_cross_entropy(hidden, weight, targets)
        saved = total.grad_fn.saved_tensors
        assert [tensor is not None for tensor in saved] == list(wanted)
        expected = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
        learned = hidden if wanted[0] else weight
        (found,), (reference,) = torch.autograd.grad(total, learned), torch.autograd.grad(expected, learned)
        torch.testing.assert_close(found, reference, atol=1e-4, rtol=1e-4)


def test_token_logprobs_are_the_log_softmax_of_the_targets() -> None:
    """Log-probabilities are those of log_softmax, and zero where nothing is trained."""
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
    """The optimizers share out all weights of the model, each once, tied or not."""
    state = fresh()
    owned = [weight for o in state.optimizers for group in o.param_groups for weight in group["params"]]
    assert len(owned) == len({id(weight) for weight in owned}) == len(list(state.model.parameters()))


def test_the_schedule_rises_holds_and_falls_to_zero() -> None:
    """Linear warm-up, plateau, linear decay that would reach zero at the step after the last."""
    schedule = Schedule(100, warmup=10, decay=0.5)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9:51] == [1.0] * 42
    assert factors[75] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.02)
    assert schedule.factor(100) == 0


def test_training_learns() -> None:
    """On a pattern that can be learned the loss falls far below ln V."""
    shown: list[StepRecord] = []
    train(fresh(), lambda step: [batch(step)], loss_of, Schedule(60), Hooks(show=shown.append))
    assert shown[0].loss == pytest.approx(math.log(50), abs=0.1)
    assert shown[-1].loss < 2.5
    assert [line.step for line in shown] == list(range(1, 61))


def test_every_tenth_step_tells_how_far_it_moved() -> None:
    """The norm of all weights and the update's share of it are those of the weights before and after."""
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


def test_a_steps_operations_are_six_a_weight_and_token() -> None:
    """The head counts for trained tokens alone, the blocks for all."""
    head = CONFIG.vocab_size * CONFIG.width
    assert step_flops(CONFIG, 10, 4) == 6 * (10 * (CONFIG.matmul_parameters - head) + 4 * head)


def test_the_peak_is_the_best_of_all_ways_to_compute_a_product() -> None:
    """Several shapes, by torch's own product and by the one that layers take; threads are as before."""
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
    """With a block's activations computed again in the backward pass, all gradients are the same to the bit."""
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
def test_processes_share_a_step_and_change_nothing_but_rounding() -> None:
    """Three processes with unequal work end where one does, to 1e-6; twice the same three, to the bit."""

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
def test_a_helper_that_fails_tells_its_parent() -> None:
    """What goes wrong in another process is raised in this one, and none is left behind."""

    def fail(model: Transformer, part: tuple[int, Batch]) -> tuple[torch.Tensor, int, int]:
        if part[0] == 1:
            raise ValueError("the second part is bad")
        return loss_of(model, part[1])

    with pytest.raises(ValueError, match="second part"):
        train(fresh(), lambda step: list(enumerate(batch(step).split(2))), fail, Schedule(3), processes=2)
    assert not multiprocessing.active_children()


@linux
def test_a_helper_that_is_gone_is_told_in_a_sentence() -> None:
    """Where the system ends a process that shares the step, the run does not hang, and says what is likely wrong."""

    def show(shown: StepRecord) -> None:
        (helper,) = multiprocessing.active_children()
        helper.kill()
        helper.join()

    with pytest.raises(UserError, match=r"shared the training step was terminated by signal 9 \(SIGKILL\), perhaps"):
        train(fresh(), lambda step: batch(step).split(2), loss_of, Schedule(3), Hooks(show=show), processes=2)


class Local(Exception):  # noqa: N818 - what a library might raise
    """An error that cannot be made again from what it prints."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@linux
def test_an_error_that_cannot_be_sent_is_told_by_its_text() -> None:
    """The parent raises the helper's traceback where the error itself does not survive the way."""

    def fail(model: Transformer, part: tuple[int, Batch]) -> tuple[torch.Tensor, int, int]:
        if part[0] == 1:
            raise Local(1, 2)
        return loss_of(model, part[1])

    with pytest.raises(RuntimeError, match="1 and 2"):
        train(fresh(), lambda step: list(enumerate(batch(step).split(2))), fail, Schedule(3), processes=2)


@linux
def test_helpers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """After SIGKILL of a run, its other processes are gone too."""
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
        (helper,) = map(int, run.stdout.readline().split())
        run.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{helper}/cmdline").exists() and Path(f"/proc/{helper}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the helper outlived its parent"
        time.sleep(0.05)


@pytest.mark.parametrize("spoiled", [math.nan, math.inf, 100.0], ids=["nan", "inf", "jump"])
def test_a_step_that_diverges_updates_nothing(spoiled: float) -> None:
    """It stops training with the weights before it, or is left out where the caller says so."""

    def spoil(model: Transformer, part: tuple[int, Batch]) -> tuple[torch.Tensor, int, int]:
        total, count, tokens = loss_of(model, part[1])
        return total * spoiled if part[0] == 2 else total, count, tokens

    good, state, told = fresh(), fresh(), []
    train(good, lambda step: [batch(step)], loss_of, Schedule(2, warmup=1, decay=0))
    with pytest.raises(Diverged, match="step 3"):
        train(state, lambda step: [(step, batch(step))], spoil, Schedule(5, warmup=1, decay=0))
    assert state.step == 2
    assert all(torch.equal(a, b) for a, b in zip(weights(state), weights(good), strict=True))

    def leave_out(problem: Diverged) -> bool:
        told.append(problem.step)
        return True

    train(state, lambda step: [(step, batch(step))], spoil, Schedule(3, warmup=1, decay=0), Hooks(diverged=leave_out))
    assert (told, state.step) == ([3], 3)
    assert all(torch.equal(a, b) for a, b in zip(weights(state), weights(good), strict=True))


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Stopped after step 4, saved, loaded into a fresh state and gone on with: bitwise the weights of one run."""
    straight = fresh()
    train(straight, lambda step: [batch(step)], loss_of, Schedule(9))

    def stop(shown: StepRecord) -> None:
        if shown.step == 4:
            import signal

            signal.raise_signal(signal.SIGINT)

    def save(state: State) -> None:
        save_checkpoint(state, tmp_path)

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
    """More depth is more weights, more compute a deeper model, and 124M-scale runs get the published batch size."""
    shapes = [shape_of_depth(depth, 4096, 512) for depth in range(1, 13)]
    assert all(a.matmul_parameters < b.matmul_parameters for a, b in itertools.pairwise(shapes))
    for depth in (2, 5, 9):
        shape = shape_of_depth(depth, 4096, 512)
        assert depth_of_budget(1.01 * tokens_of_shape(shape) * shape.flops_per_token(512), 4096, 512) == depth
    assert rows_of_tokens(1_300_000_000, 2048) * 2048 == 2**19
    with pytest.raises(UserError, match="--depth"):
        shape_of_depth(0, 4096, 512)


def test_flops_of_a_token_are_six_a_weight_and_attention() -> None:
    """The count agrees with weights counted on the real model."""
    model = Transformer(CONFIG)
    matrices = sum(w.numel() for name, w in model.named_parameters() if w.ndim == 2 and name != "embed.weight")
    assert CONFIG.matmul_parameters == matrices
    assert CONFIG.flops_per_token(16) == 6 * matrices + 12 * 2 * 32 * 16


@linux
@pytest.mark.parametrize("processes", [1, 2])
def test_figures_are_means_over_the_items_of_the_whole_step(processes: int) -> None:
    """Parts with one item and with three weigh as many, in one process or shared out, and gradients stay out of it."""

    def loss(model: Transformer, part: Batch) -> Term:
        values = part.ids[:, 0].float()
        return Term(*loss_of(model, part), {"first": values, "rare": values[values > 40]})

    def parts(step: int) -> list[Batch]:
        whole = batch(step)
        return [
            Batch(*(getattr(whole, name)[rows] for name in ("ids", "targets", "documents")))
            for rows in (slice(0, 1), slice(1, 4))
        ]

    told: list[StepRecord] = []
    train(fresh(), parts, loss, Schedule(3), Hooks(show=told.append), processes=processes)
    for step, shown in enumerate(told):
        values = batch(step).ids[:, 0].float()
        rare = values[values > 40]
        expected = {"first": values.mean().item()} | ({"rare": rare.mean().item()} if len(rare) else {})
        assert shown.figures == pytest.approx(expected)


def test_training_in_segments_is_training_at_once() -> None:
    """A run whose batches are gathered every few steps, on one schedule, ends with the same weights."""
    at_once, by_parts = fresh(), fresh()
    train(at_once, lambda step: [batch(step)], loss_of, Schedule(6))
    gathered = {0: 2, 2: 5, 5: 9}
    train(by_parts, lambda step: [batch(step)], loss_of, Schedule(6), Hooks(gather=lambda s: gathered.pop(s.step)))
    assert (by_parts.step, gathered) == (6, {})
    assert all(torch.equal(a, b) for a, b in zip(weights(at_once), weights(by_parts), strict=True))
