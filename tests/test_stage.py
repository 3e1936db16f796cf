"""The run that the training acts share: its log, divergence, resuming, layout, and evaluation."""

import math
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import torch

from sayso.base.device import Device
from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.base.log import RunLog, read_log
from sayso.batch.batch import Batch
from sayso.loss.next_token import batch_loss, next_token_loss
from sayso.loss.term import Term
from sayso.model import ModelConfig, Transformer
from sayso.train import divergence, measure
from sayso.train.divergence import REWINDS
from sayso.train.layout import Layout, layout_for, layout_of_plan
from sayso.train.loop import Hooks, Interrupted, State, train
from sayso.train.measure import steps_in_minutes
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.options import Training
from sayso.train.recipe import Recipe
from sayso.train.schedule import Schedule
from sayso.train.session import Session, open_session
from sayso.train.step_log import Evaluation
from sayso.train.watch import Watch
from sayso.train.workers import can_fork

CONFIG = ModelConfig(vocab_size=50, layers=1, width=32, heads=2, kv_heads=2, head_size=16, mlp_width=64, context=16)
STEPS, BAD = 9, 5


def make(number: int) -> Batch:
    """Two rows that count up from a number."""
    ids = (number + torch.arange(17)).repeat(2, 1) % 50
    documents = torch.tensor([[number], [-1]], dtype=torch.int32).expand(2, 16).contiguous()  # -1 is padding
    return Batch(ids[:, :-1], ids[:, 1:].clone(), documents)


class Batches:
    """Batches whose rows start with their number."""

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        return make(step)


def loss_of(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
    """The next-token loss, and NaN on the bad batch."""
    total, count = next_token_loss(model, part.ids, part.targets, part.documents)
    return total * (math.nan if int(part.ids[0, 0]) == BAD else 1.0), count, part.ids.numel()


def trained(life: Life, **options: object) -> tuple[State, list[dict]]:
    """Train from scratch with these options; return the final state and the log."""
    run = Session(life, "pretrain", "base", {}, {})
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    state = State(model, make_optimizers(model, Rates()))
    path = run.folder / "run.jsonl"
    chosen = Training(save_seconds=0.0, **options)  # type: ignore[arg-type]
    run.train(state, Recipe(Batches(), loss_of, Schedule(STEPS)), Layout(1, 1), chosen, RunLog(path))
    return state, read_log(path)


def test_a_run_that_diverges_stops_and_can_be_resumed_without_the_batch(tmp_path: Path) -> None:
    """The error says what to add; the state before the step is saved, and the same run continues after it."""
    life = Life(tmp_path)
    with pytest.raises(UserError, match="--on-divergence skip"):
        trained(life)
    event = read_log(tmp_path / "runs" / "pretrain-base" / "run.jsonl")[-1]
    assert (event["event"], event["step"], event["batch"], event["documents"]) == ("diverged", BAD + 1, BAD, [BAD])
    assert (event["loss"], event["gradient_norm"], event["then"]) == ("nan", "nan", "stop")
    state, log = trained(life, on_divergence="skip")
    assert state.step == STEPS
    assert [line["step"] for line in log if line["event"] == "resume"] == [BAD]


def test_a_run_rewinds_to_a_checkpoint_and_skips_the_bad_batch(tmp_path: Path) -> None:
    """It makes all its steps and ends with the weights of a run without the bad batch."""
    state, log = trained(Life(tmp_path / "rewound"), on_divergence="rewind")
    assert (state.step, state.skipped) == (STEPS, 1)
    assert [line["skipped"] for line in log if line["event"] == "rewind"] == [1]
    steps = [line for line in log if line["event"] == "step"]
    assert all(math.isfinite(line["loss"]) and line["tokens_per_second"] > 0 for line in steps)
    assert [line["seconds"] for line in steps] == sorted(line["seconds"] for line in steps)

    straight = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    expected = State(straight, make_optimizers(straight, Rates()))

    class Without(Batches):
        def batch(self, step: int) -> Batch:
            return super().batch(step + (step >= BAD))

    run, log_of = Session(Life(tmp_path / "straight"), "pretrain", "base", {}, {}), RunLog(tmp_path / "run.jsonl")
    run.train(expected, Recipe(Without(), loss_of, Schedule(STEPS)), Layout(1, 1), Training(), log_of)
    pairs = zip(state.model.parameters(), expected.model.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_an_interrupted_run_rewinds_as_often_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of rewinds is in the checkpoint, so that the same bad batch stops it."""
    monkeypatch.setattr(divergence, "REWINDS", 2)
    bad, ends = (2, 5, 9), []

    def batch(step: int, broken: int) -> Batch:
        if step == broken:
            raise RuntimeError("interrupted")
        return make(BAD if step in bad else 20 + step)

    for broken in (99, 8):
        life = Life(tmp_path / str(broken))
        monkeypatch.setattr(Batches, "batch", lambda _, step, broken=broken: batch(step, broken))
        if broken == 8:
            with pytest.raises(RuntimeError, match="interrupted"):
                trained(life, on_divergence="rewind")
            monkeypatch.setattr(Batches, "batch", lambda _, step: batch(step, 99))
        with pytest.raises(UserError, match="--on-divergence skip") as error:
            trained(life, on_divergence="rewind")
        rewinds = [line for line in read_log(life.run("pretrain-base") / "run.jsonl") if line["event"] == "rewind"]
        ends.append((str(error.value), [(line["step"], line["skipped"]) for line in rewinds]))
    assert ends[0] == ends[1]
    assert len(ends[0][1]) == 2


def test_an_interrupted_run_has_the_same_warnings(tmp_path: Path) -> None:
    """Resumed in the middle of a failure, it warns once, at the same step as without the interruption."""
    warnings = []
    for stop in (99, 5, 7):
        life = Life(tmp_path / str(stop))
        if stop < STEPS:
            with pytest.raises(RuntimeError, match="interrupted"):
                watched(life, stop)
        watched(life, 99)
        log = read_log(life.run("reinforce-better") / "run.jsonl")
        warnings.append([(line["step"], line["problem"]) for line in log if line["event"] == "warning"])
    assert warnings[0] == warnings[1] == warnings[2]
    assert [step for step, _ in warnings[0]] == [6]


def watched(life: Life, stop: int) -> None:
    """Train while the entropy collapses after the third step."""
    run = Session(life, "reinforce", "better", {}, {})
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    state, log = State(model, make_optimizers(model, Rates())), RunLog(run.folder / "run.jsonl")

    def loss(model: Transformer, part: Batch) -> Term:
        step = int(part.documents[0, 0])
        if step == stop:
            raise RuntimeError("interrupted")
        total, count = next_token_loss(model, part.ids, part.targets, part.documents)
        return Term(total, count, part.ids.numel(), {"entropy": torch.tensor([1.0 if step < 3 else 0.01])})

    options = Training(save_seconds=0.0)
    run.train(state, Recipe(Batches(), loss, Schedule(STEPS), watch=Watch()), Layout(1, 1), options, log)


def test_a_run_keeps_the_threads_of_its_plan(tmp_path: Path) -> None:
    """On a machine with another number of cores, sums are computed in the same order."""
    assert layout_for(Training(processes=1), 4, Device("cpu", 3)).threads == 3
    assert layout_of_plan(vars(Layout(1, 1, threads=3)), Training(), 4, Device("cpu", 8)).threads == 3
    assert layout_of_plan(vars(Layout(2, 2, threads=3)), Training(processes=1), 4, Device("cpu", 8)).threads == 3
    before, seen = torch.get_num_threads(), []

    def loss(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
        seen.append(torch.get_num_threads())
        return loss_of(model, part)

    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    run, log = Session(Life(tmp_path), "pretrain", "base", {}, {}), RunLog(tmp_path / "run.jsonl")
    try:
        state = State(model, make_optimizers(model, Rates()))
        run.train(state, Recipe(Batches(), loss, Schedule(2)), Layout(1, 1, threads=before + 1), Training(), log)
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {before + 1}


def test_a_resumed_run_keeps_its_start_date(tmp_path: Path) -> None:
    """The same command has the date of the first one; another run, or a restarted one, has its own."""
    first = Session(Life(tmp_path), "finetune", "tuned", {"rate": 1}, {}, began="2026-03-01T23:59:59+01:00")
    assert str(first.when()) == "2026-03-01 23:59:59+01:00"
    first.plan(dict, restart=False)
    later = replace(first, began="2026-03-02T08:00:00+01:00")
    assert later.when() == first.when()
    assert later.when(restart=True) == replace(later, options={"rate": 2}).when() > first.when()
    later.plan(dict, restart=True)
    assert replace(first, began="2026-03-03T08:00:00+01:00").when() == datetime.fromisoformat(later.began)


def test_a_run_whose_every_batch_is_bad_stops_rewinding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the maximum number of rewinds, it stops with the usual error."""
    monkeypatch.setattr(Batches, "batch", lambda self, step: make(step and BAD))
    with pytest.raises(UserError, match="--on-divergence skip"):
        trained(Life(tmp_path), on_divergence="rewind")
    log = read_log(tmp_path / "runs" / "pretrain-base" / "run.jsonl")
    assert [line["skipped"] for line in log if line["event"] == "rewind"] == list(range(1, REWINDS + 1))


def test_a_run_that_skips_too_many_batches_in_a_row_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If every batch diverges, the model has diverged, and skipping more of them does not help."""
    monkeypatch.setattr(Batches, "batch", lambda self, step: make(BAD if step > 1 else step))
    monkeypatch.setattr(divergence, "SKIPS", 3)
    with pytest.raises(UserError, match="step 6"):
        trained(Life(tmp_path), on_divergence="skip")
    log = read_log(tmp_path / "runs" / "pretrain-base" / "run.jsonl")
    assert [line["step"] for line in log if line["event"] == "diverged"] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("flags", "rows", "threads", "expected"),
    [
        ({}, 4, 2, (2, 2)),
        ({}, 4, 8, (1, 1)),  # a core without a row would be idle: use one process with all threads
        ({"processes": 8}, 4, 2, (4, 4)),
        ({"processes": 1}, 4, 2, (1, 1)),
        ({"processes": 2, "micro_rows": 3}, 16, 2, (2, 6)),
        ({"micro_rows": 99}, 4, 2, (2, 2)),
    ],
)
def test_the_layout_of_a_step(flags: dict, rows: int, threads: int, expected: tuple[int, int]) -> None:
    """Number of processes that share a step, and of parts that its rows are split into."""
    if not can_fork("cpu"):
        pytest.skip("processes are forked on Linux, without a GPU")
    layout = layout_for(Training(**flags), rows, Device("cpu", threads))
    assert (layout.processes, layout.parts) == expected


@pytest.mark.parametrize(
    ("flags", "device", "expected"),
    [
        ({}, "cpu", (3, 6)),
        ({"processes": 2}, "cpu", (2, 6)),  # no more rows at once than before
        ({"processes": 1}, "cpu", (1, 6)),
        ({"micro_rows": 4}, "cpu", (3, 3)),
        ({}, "mps", (1, 6)),
    ],
)
def test_a_resumed_run_uses_the_layout_of_its_plan_or_of_its_options(flags: dict, device: str, expected: tuple) -> None:
    """A plan of three processes with two rows at once, resumed with other options, or on another device."""
    if not can_fork("cpu"):
        pytest.skip("processes are forked on Linux, without a GPU")
    layout = layout_of_plan({"processes": 3, "parts": 6}, Training(**flags), 12, Device(device, 2))
    assert (layout.processes, layout.parts) == expected


def test_the_layout_does_not_identify_a_run(tmp_path: Path) -> None:
    """A run can be resumed with another number of processes, micro-batch size or device, but not with another seed."""
    one, other, third = (
        open_session(Life(tmp_path), "pretrain", "base", Training(**options), {}).options
        for options in ({}, {"processes": 3, "micro_rows": 1, "device": "cpu"}, {"seed": 1})
    )
    assert one == other != third


@pytest.mark.parametrize("bad", [{"processes": 0}, {"micro_rows": 0}])
def test_an_invalid_layout_is_refused(bad: dict) -> None:
    """Both numbers must be at least 1."""
    with pytest.raises(UserError, match="must be from 1 to"):
        layout_for(Training(**bad), 4, Device("cpu", 2))


def test_minutes_are_converted_to_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many minutes are twice as many steps; the speed is measured on real steps."""
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    measured = []

    def half_a_second(*_: object, **options: float) -> float:
        measured.append(options["measured"])
        return 0.5

    monkeypatch.setattr(measure, "seconds_per_step", half_a_second)
    device = Device("cpu", 1)
    given = (CONFIG, Batches(), Layout(1, 1), device)
    assert [steps_in_minutes(minutes, *given, recompute=False) for minutes in (1, 2)] == [120, 240]
    assert measured == [pytest.approx(1.2), pytest.approx(2.4)]  # a fiftieth of the time
    monkeypatch.undo()
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    began = time.perf_counter()
    seconds = measure.seconds_per_step(CONFIG, Layout(1, 1).of(Batches()), batch_loss, recompute=True, measured=0.5)
    assert time.perf_counter() - began > 0.5
    assert 0 < seconds < 10


def test_a_full_disk_stops_a_run_and_leaves_its_last_checkpoint(
    tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """The error names the unsaved step and the newest complete one; with more space, the run can be resumed."""
    life = Life(tmp_path)
    with pytest.raises(UserError, match="--on-divergence skip"):
        trained(life)
    folder = tmp_path / "runs" / "pretrain-base" / "checkpoints"
    size = max(file.stat().st_size for file in folder.rglob("*.safetensors"))
    message = f"disk is full.* step {BAD + 1} .* step {BAD} is complete .*--keep 1"
    with small_disk(size - 1), pytest.raises(UserError, match=message):
        trained(life, on_divergence="skip")
    assert trained(life, on_divergence="skip")[0].step == STEPS


def test_a_broken_checkpoint_is_logged(tmp_path: Path) -> None:
    """The run resumes from the one before."""
    life = Life(tmp_path)
    with pytest.raises(UserError, match="--on-divergence skip"):
        trained(life)
    newest = tmp_path / "runs" / "pretrain-base" / "checkpoints" / f"step-{BAD:06d}"
    (newest / "optimizer.safetensors").unlink()
    state, log = trained(life, on_divergence="skip")
    assert state.step == STEPS
    (problem,) = [line["problem"] for line in log if line["event"] == "broken_checkpoint"]
    assert "optimizer.safetensors" in problem
    assert [line["step"] for line in log if line["event"] == "resume"] == [BAD - 1]


def test_a_mirror_gets_the_metrics_of_the_run(tmp_path: Path) -> None:
    """TensorBoard's own reader finds the losses and norms of run.jsonl."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, log = trained(Life(tmp_path), on_divergence="skip", mirror=("tensorboard",))
    events = reader.EventAccumulator(str(tmp_path / "runs" / "pretrain-base" / "tensorboard")).Reload()
    steps = [line for line in log if line["event"] == "step" and line["loss"] is not None]
    found = {event.step: event.value for event in events.Scalars("loss") if math.isfinite(event.value)}
    assert found == pytest.approx({line["step"]: line["loss"] for line in steps})
    assert {"gradient_norm", "tokens_per_second", "mfu"} <= set(events.Tags()["scalars"])


def test_a_run_logs_each_step_and_keeps_the_requested_number_of_checkpoints(tmp_path: Path) -> None:
    """The first event is the speed of the device; `keep` checkpoints remain."""
    _, log = trained(Life(tmp_path), on_divergence="skip", keep=3)
    assert log[0]["event"] == "speed"
    assert log[0]["peak_rates"].keys() == {"matrix", "embedding", "head", "norm"}
    steps = [line for line in log if line["event"] == "step"]
    assert len(steps) == STEPS
    assert all(line["tokens_per_second"] > 0 and 0 < line["mfu"] < 1 for line in steps)
    assert len(list((tmp_path / "runs" / "pretrain-base" / "checkpoints").iterdir())) == 3


def gathered(
    life: Life, stops: dict[int, int], best: str = "", judged: dict[int, list[torch.Tensor]] | None = None
) -> tuple[State, list[dict]]:
    """Train on gathered batches; `stops` has the step up to which those gathered at a step last."""
    run = Session(life, "reinforce", "better", {}, {})
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    state, log = State(model, make_optimizers(model, Rates())), RunLog(run.folder / "run.jsonl")
    gathered_at: list[int] = []

    def gather(state: State) -> int:
        gathered_at.append(state.step)
        return stops[state.step]

    def judge(state: State) -> dict[str, float]:
        if judged is not None:
            judged[state.step] = [weight.detach().clone() for weight in state.model.parameters()]
        return {"score": -abs(state.step - 4.0)}

    class Gathered:
        def batch(self, step: int) -> Batch:
            assert gathered_at, "a batch was requested before it was gathered"
            return make(step % BAD)

    evaluation = Evaluation(judge, 2, best) if best else None
    recipe = Recipe(Gathered(), loss_of, Schedule(STEPS), evaluation, gather)
    run.train(state, recipe, Layout(1, 1), Training(), log)
    assert gathered_at == list(stops)
    return state, read_log(log.path)


def test_batches_are_gathered_before_the_steps_that_need_them(tmp_path: Path) -> None:
    """`gather` is called whenever the batches are used up, until the end of the run."""
    state, log = gathered(Life(tmp_path), {0: 4, 4: 8, 8: STEPS})
    assert state.step == STEPS
    assert [line["step"] for line in log if line["event"] == "step"] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(("best", "step"), [("score", 4), ("-score", 9)])
def test_the_weights_of_the_best_evaluation_are_restored_at_the_end(
    tmp_path: Path, best: str, step: int, capsys
) -> None:
    """There are evaluations before the first step, at every second step, and after the last."""
    judged: dict[int, list[torch.Tensor]] = {}
    state, log = gathered(Life(tmp_path), {0: 5, 5: STEPS}, best, judged)
    assert list(judged) == [0, 2, 4, 6, 8, 9]
    assert f"Kept the weights of step {step} (score " in capsys.readouterr().out
    assert [line["step"] for line in log if line["event"] == "val"] == list(judged)
    for number, weights in judged.items():
        same = all(torch.equal(a, b) for a, b in zip(state.model.parameters(), weights, strict=True))
        assert same == (number == step)


def test_an_interrupt_in_the_only_step_of_an_iteration_stops_the_run() -> None:
    """Ctrl-C is not lost when the loop continues with gathering."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    state, saved = State(model, make_optimizers(model, Rates())), []

    def loss(model: Transformer, part: Batch) -> object:
        signal.raise_signal(signal.SIGINT)
        return loss_of(model, part)

    with pytest.raises(Interrupted):
        train(
            state,
            lambda number: [make(number)],
            loss,
            Schedule(STEPS),
            Hooks(gather=lambda state: state.step + 1, save=lambda state: saved.append(state.step)),
        )
    assert saved == [1]


def test_an_interrupt_while_gathering_saves(tmp_path: Path) -> None:
    """Ctrl-C while replies are sampled leaves a checkpoint of the last step."""

    class Stops(dict):
        def __missing__(self, step: int) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gathered(Life(tmp_path), Stops({0: 3}))
    assert [path.name for path in (tmp_path / "runs" / "reinforce-better" / "checkpoints").iterdir()] == ["step-000003"]
