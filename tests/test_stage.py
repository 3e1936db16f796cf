"""A run as the acts share it: what it tells of its steps, and what it does with one that diverges."""

import math
import signal
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
    """Batches that say their own number."""

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        return make(step)


def loss_of(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
    """The next-token loss, and no number at all on the bad batch."""
    total, count = next_token_loss(model, part.ids, part.targets, part.documents)
    return total * (math.nan if int(part.ids[0, 0]) == BAD else 1.0), count, part.ids.numel()


def lived(life: Life, **options: object) -> tuple[State, list[dict]]:
    """Train from nothing with these options; return the end and the log."""
    run = Session(life, "pretrain", "base", {}, {})
    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
    state = State(model, make_optimizers(model, Rates()))
    path = run.folder / "run.jsonl"
    chosen = Training(save_seconds=0.0, **options)  # type: ignore[arg-type]
    run.train(state, Recipe(Batches(), loss_of, Schedule(STEPS)), Layout(1, 1), chosen, RunLog(path))
    return state, read_log(path)


def test_a_run_that_diverges_stops_and_can_go_on_without_the_batch(tmp_path: Path) -> None:
    """It says what to add, keeps the state before the step, and the same run goes on past it."""
    life = Life(tmp_path)
    with pytest.raises(UserError, match="--on-divergence skip"):
        lived(life)
    told = read_log(tmp_path / "runs" / "pretrain-base" / "run.jsonl")[-1]
    assert (told["event"], told["step"], told["batch"], told["documents"]) == ("diverged", BAD + 1, BAD, [BAD])
    assert (told["loss"], told["gradient_norm"], told["then"]) == ("nan", "nan", "stop")
    state, log = lived(life, on_divergence="skip")
    assert state.step == STEPS
    assert [line["step"] for line in log if line["event"] == "resume"] == [BAD]


def test_a_run_goes_back_to_a_checkpoint_and_past_the_bad_batch(tmp_path: Path) -> None:
    """Rewound, it makes all its steps, on every batch but the bad one, and ends where such a run ends straight."""
    state, log = lived(Life(tmp_path / "rewound"), on_divergence="rewind")
    assert (state.step, state.skipped) == (STEPS, 1)
    assert [line["skipped"] for line in log if line["event"] == "rewind"] == [1]
    steps = [line for line in log if line["event"] == "step"]
    assert all(math.isfinite(line["loss"]) and line["tokens_per_second"] > 0 for line in steps)
    assert [line["seconds"] for line in steps] == sorted(line["seconds"] for line in steps)

    straight = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
    expected = State(straight, make_optimizers(straight, Rates()))

    class Without(Batches):
        def batch(self, step: int) -> Batch:
            return super().batch(step + (step >= BAD))

    run, log_of = Session(Life(tmp_path / "straight"), "pretrain", "base", {}, {}), RunLog(tmp_path / "run.jsonl")
    run.train(expected, Recipe(Without(), loss_of, Schedule(STEPS)), Layout(1, 1), Training(), log_of)
    pairs = zip(state.model.parameters(), expected.model.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_an_interrupted_run_goes_back_as_often_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How often it went back is in the checkpoint, so that the same bad batch stops it."""
    monkeypatch.setattr(divergence, "REWINDS", 2)
    bad, ends = (2, 5, 9), []

    def batch(step: int, broken: int) -> Batch:
        if step == broken:
            raise RuntimeError("broken off")
        return make(BAD if step in bad else 20 + step)

    for broken in (99, 8):
        life = Life(tmp_path / str(broken))
        monkeypatch.setattr(Batches, "batch", lambda _, step, broken=broken: batch(step, broken))
        if broken == 8:
            with pytest.raises(RuntimeError, match="broken off"):
                lived(life, on_divergence="rewind")
            monkeypatch.setattr(Batches, "batch", lambda _, step: batch(step, 99))
        with pytest.raises(UserError, match="--on-divergence skip") as told:
            lived(life, on_divergence="rewind")
        rewinds = [line for line in read_log(life.run("pretrain-base") / "run.jsonl") if line["event"] == "rewind"]
        ends.append((str(told.value), [(line["step"], line["skipped"]) for line in rewinds]))
    assert ends[0] == ends[1]
    assert len(ends[0][1]) == 2


def test_an_interrupted_run_is_warned_by_its_own_beginning(tmp_path: Path) -> None:
    """Resumed in the midst of a failure, it hears the warning at the same step, once, as without the interruption."""
    told = []
    for stop in (99, 5, 7):
        life = Life(tmp_path / str(stop))
        if stop < STEPS:
            with pytest.raises(RuntimeError, match="broken off"):
                watched(life, stop)
        watched(life, 99)
        log = read_log(life.run("reinforce-better") / "run.jsonl")
        told.append([(line["step"], line["problem"]) for line in log if line["event"] == "warning"])
    assert told[0] == told[1] == told[2]
    assert [step for step, _ in told[0]] == [6]


def watched(life: Life, stop: int) -> None:
    """Train while the entropy collapses after the third step."""
    run = Session(life, "reinforce", "better", {}, {})
    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
    state, log = State(model, make_optimizers(model, Rates())), RunLog(run.folder / "run.jsonl")

    def loss(model: Transformer, part: Batch) -> Term:
        step = int(part.documents[0, 0])
        if step == stop:
            raise RuntimeError("broken off")
        total, count = next_token_loss(model, part.ids, part.targets, part.documents)
        return Term(total, count, part.ids.numel(), {"entropy": torch.tensor([1.0 if step < 3 else 0.01])})

    options = Training(save_seconds=0.0)
    run.train(state, Recipe(Batches(), loss, Schedule(STEPS), watch=Watch()), Layout(1, 1), options, log)


def test_a_run_keeps_the_threads_of_its_plan(tmp_path: Path) -> None:
    """On a machine with another number of cores sums are added up in the same order."""
    assert layout_for(Training(processes=1), 4, Device("cpu", 3)).threads == 3
    assert layout_of_plan(vars(Layout(1, 1, threads=3)), Training(), 4, Device("cpu", 8)).threads == 3
    assert layout_of_plan(vars(Layout(2, 2, threads=3)), Training(processes=1), 4, Device("cpu", 8)).threads == 3
    before, seen = torch.get_num_threads(), []

    def loss(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
        seen.append(torch.get_num_threads())
        return loss_of(model, part)

    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
    run, log = Session(Life(tmp_path), "pretrain", "base", {}, {}), RunLog(tmp_path / "run.jsonl")
    try:
        state = State(model, make_optimizers(model, Rates()))
        run.train(state, Recipe(Batches(), loss, Schedule(2)), Layout(1, 1, threads=before + 1), Training(), log)
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {before + 1}


def test_a_run_keeps_the_date_on_which_it_began(tmp_path: Path) -> None:
    """The same command later on is told the date of the first; another run, or one begun again, its own."""
    first = Session(Life(tmp_path), "finetune", "tuned", {"rate": 1}, {}, began="2026-03-01T23:59:59+01:00")
    assert str(first.when()) == "2026-03-01 23:59:59+01:00"
    first.plan(dict, restart=False)
    later = replace(first, began="2026-03-02T08:00:00+01:00")
    assert later.when() == first.when()
    assert later.when(restart=True) == replace(later, options={"rate": 2}).when() > first.when()
    later.plan(dict, restart=True)
    assert replace(first, began="2026-03-03T08:00:00+01:00").when() == datetime.fromisoformat(later.began)


def test_a_run_on_bad_data_throughout_stops_going_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each batch diverges, going back ends after a while with the same sentence."""
    monkeypatch.setattr(Batches, "batch", lambda self, step: make(step and BAD))
    with pytest.raises(UserError, match="--on-divergence skip"):
        lived(Life(tmp_path), on_divergence="rewind")
    log = read_log(tmp_path / "runs" / "pretrain-base" / "run.jsonl")
    assert [line["skipped"] for line in log if line["event"] == "rewind"] == list(range(1, REWINDS + 1))


def test_a_run_that_leaves_out_batch_after_batch_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no batch fits any more it is the model that diverged, and leaving out more of them helps nobody."""
    monkeypatch.setattr(Batches, "batch", lambda self, step: make(BAD if step > 1 else step))
    monkeypatch.setattr(divergence, "SKIPS", 3)
    with pytest.raises(UserError, match="step 6"):
        lived(Life(tmp_path), on_divergence="skip")
    log = read_log(tmp_path / "runs" / "pretrain-base" / "run.jsonl")
    assert [line["step"] for line in log if line["event"] == "diverged"] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("asked", "rows", "threads", "expected"),
    [
        ({}, 4, 2, (2, 2)),
        ({}, 4, 8, (1, 1)),  # a core without a row would idle: one process of all threads
        ({"processes": 8}, 4, 2, (4, 4)),
        ({"processes": 1}, 4, 2, (1, 1)),
        ({"processes": 2, "micro_rows": 3}, 16, 2, (2, 6)),
        ({"micro_rows": 99}, 4, 2, (2, 2)),
    ],
)
def test_the_layout_of_a_step(asked: dict, rows: int, threads: int, expected: tuple[int, int]) -> None:
    """How many processes share a step, and into how many parts its rows are cut."""
    if not can_fork("cpu"):
        pytest.skip("processes are forked on Linux, without a GPU")
    layout = layout_for(Training(**asked), rows, Device("cpu", threads))
    assert (layout.processes, layout.parts) == expected


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [
        ({}, "cpu", (3, 6)),
        ({"processes": 2}, "cpu", (2, 6)),  # no more rows at once than before
        ({"processes": 1}, "cpu", (1, 6)),
        ({"micro_rows": 4}, "cpu", (3, 3)),
        ({}, "mps", (1, 6)),
    ],
)
def test_a_run_goes_on_in_its_plans_layout_or_the_one_asked_for(asked: dict, device: str, expected: tuple) -> None:
    """A plan of three processes with two rows at once, gone on with by others, or on a device that cannot be shared."""
    if not can_fork("cpu"):
        pytest.skip("processes are forked on Linux, without a GPU")
    layout = layout_of_plan({"processes": 3, "parts": 6}, Training(**asked), 12, Device(device, 2))
    assert (layout.processes, layout.parts) == expected


def test_the_layout_is_no_part_of_what_tells_runs_apart(tmp_path: Path) -> None:
    """Another number of processes, rows at once or device goes on with a run; another seed does not."""
    one, other, third = (
        open_session(Life(tmp_path), "pretrain", "base", Training(**options), {}).options
        for options in ({}, {"processes": 3, "micro_rows": 1, "device": "cpu"}, {"seed": 1})
    )
    assert one == other != third


@pytest.mark.parametrize("bad", [{"processes": 0}, {"micro_rows": 0}])
def test_a_layout_that_cannot_be_is_refused(bad: dict) -> None:
    """Less than one of anything is one sentence."""
    with pytest.raises(UserError, match="must be from 1 to"):
        layout_for(Training(**bad), 4, Device("cpu", 2))


def test_minutes_become_steps_by_the_runs_own_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the minutes are twice the steps, as measured on real steps."""
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    monkeypatch.setattr(measure, "seconds_per_step", lambda *_, **__: 0.5)
    device = Device("cpu", 1)
    given = (CONFIG, Batches(), Layout(1, 1), device)
    assert [steps_in_minutes(minutes, *given, recompute=False) for minutes in (1, 2)] == [120, 240]
    monkeypatch.undo()
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    seconds = measure.seconds_per_step(CONFIG, Layout(1, 1).of(Batches()), batch_loss, recompute=True)
    assert 0 < seconds < 10


def test_a_full_disk_ends_a_run_with_its_last_whole_checkpoint(
    tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """The sentence names the step that could not be saved and the one that is whole; with space, the run goes on."""
    life = Life(tmp_path)
    with pytest.raises(UserError, match="--on-divergence skip"):
        lived(life)
    folder = tmp_path / "runs" / "pretrain-base" / "checkpoints"
    size = max(file.stat().st_size for file in folder.rglob("*.safetensors"))
    told = f"disk is full.* step {BAD + 1} .* step {BAD} is complete .*--keep 1"
    with small_disk(size - 1), pytest.raises(UserError, match=told):
        lived(life, on_divergence="skip")
    assert lived(life, on_divergence="skip")[0].step == STEPS


def test_a_broken_checkpoint_is_told_in_the_log(tmp_path: Path) -> None:
    """The run goes on from the one before, and ends as it would have."""
    life = Life(tmp_path)
    with pytest.raises(UserError, match="--on-divergence skip"):
        lived(life)
    newest = tmp_path / "runs" / "pretrain-base" / "checkpoints" / f"step-{BAD:06d}"
    (newest / "optimizer.safetensors").unlink()
    state, log = lived(life, on_divergence="skip")
    assert state.step == STEPS
    (told,) = [line["problem"] for line in log if line["event"] == "broken_checkpoint"]
    assert "optimizer.safetensors" in told
    assert [line["step"] for line in log if line["event"] == "resume"] == [BAD - 1]


def test_a_mirror_gets_the_runs_figures(tmp_path: Path) -> None:
    """TensorBoard's own reader finds the losses and norms of run.jsonl."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, log = lived(Life(tmp_path), on_divergence="skip", mirror=("tensorboard",))
    events = reader.EventAccumulator(str(tmp_path / "runs" / "pretrain-base" / "tensorboard")).Reload()
    steps = [line for line in log if line["event"] == "step" and line["loss"] is not None]
    found = {event.step: event.value for event in events.Scalars("loss") if math.isfinite(event.value)}
    assert found == pytest.approx({line["step"]: line["loss"] for line in steps})
    assert {"gradient_norm", "tokens_per_second", "mfu"} <= set(events.Tags()["scalars"])


def test_a_run_tells_each_step_and_keeps_as_many_checkpoints_as_asked(tmp_path: Path) -> None:
    """Every step has its figures; what they are measured against comes first; `keep` checkpoints stay."""
    _, log = lived(Life(tmp_path), on_divergence="skip", keep=3)
    assert log[0]["event"] == "speed"
    assert log[0]["peak_rates"].keys() == {"matrix", "embedding", "head", "norm"}
    steps = [line for line in log if line["event"] == "step"]
    assert len(steps) == STEPS
    assert all(line["tokens_per_second"] > 0 and 0 < line["mfu"] < 1 for line in steps)
    assert len(list((tmp_path / "runs" / "pretrain-base" / "checkpoints").iterdir())) == 3


def gathered(
    life: Life, stops: dict[int, int], best: str = "", judged: dict[int, list[torch.Tensor]] | None = None
) -> tuple[State, list[dict]]:
    """Train on batches that are gathered a few steps at a time; `stops`: from which step until which."""
    run = Session(life, "reinforce", "better", {}, {})
    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
    state, log = State(model, make_optimizers(model, Rates())), RunLog(run.folder / "run.jsonl")
    asked: list[int] = []

    def gather(state: State) -> int:
        asked.append(state.step)
        return stops[state.step]

    def judge(state: State) -> dict[str, float]:
        if judged is not None:
            judged[state.step] = [weight.detach().clone() for weight in state.model.parameters()]
        return {"score": -abs(state.step - 4.0)}

    class Gathered:
        def batch(self, step: int) -> Batch:
            assert asked, "a batch was wanted before it was gathered"
            return make(step % BAD)

    judging = Evaluation(judge, 2, best) if best else None
    recipe = Recipe(Gathered(), loss_of, Schedule(STEPS), judging, gather)
    run.train(state, recipe, Layout(1, 1), Training(), log)
    assert asked == list(stops)
    return state, read_log(log.path)


def test_batches_are_gathered_before_the_steps_that_need_them(tmp_path: Path) -> None:
    """What is trained on is made from the state of that moment, again and again until the end."""
    state, log = gathered(Life(tmp_path), {0: 4, 4: 8, 8: STEPS})
    assert state.step == STEPS
    assert [line["step"] for line in log if line["event"] == "step"] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(("best", "step"), [("score", 4), ("-score", 9)])
def test_the_best_judged_weights_are_taken_at_the_end(tmp_path: Path, best: str, step: int, capsys) -> None:
    """Of judgements before the first step, every second step and after the last, the best one's weights remain."""
    judged: dict[int, list[torch.Tensor]] = {}
    state, log = gathered(Life(tmp_path), {0: 5, 5: STEPS}, best, judged)
    assert list(judged) == [0, 2, 4, 6, 8, 9]
    assert f"Kept the weights of step {step} (score " in capsys.readouterr().out
    assert [line["step"] for line in log if line["event"] == "val"] == list(judged)
    for number, weights in judged.items():
        same = all(torch.equal(a, b) for a, b in zip(state.model.parameters(), weights, strict=True))
        assert same == (number == step)


def test_an_interrupt_in_the_last_step_before_gathering_is_heeded(tmp_path: Path) -> None:
    """Ctrl-C in the one step of an iteration stops there, where the loop is left to gather more batches."""
    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
    state, saved = State(model, make_optimizers(model, Rates())), []

    def asks(model: Transformer, part: Batch) -> object:
        signal.raise_signal(signal.SIGINT)
        return loss_of(model, part)

    with pytest.raises(Interrupted):
        train(
            state,
            lambda number: [make(number)],
            asks,
            Schedule(STEPS),
            Hooks(gather=lambda state: state.step + 1, save=lambda state: saved.append(state.step)),
        )
    assert saved == [1]


def test_an_interrupt_while_gathering_saves(tmp_path: Path) -> None:
    """Ctrl-C while replies are sampled leaves a checkpoint of the last step done, and says so."""

    class Stops(dict):
        def __missing__(self, step: int) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gathered(Life(tmp_path), Stops({0: 3}))
    assert [path.name for path in (tmp_path / "runs" / "reinforce-better" / "checkpoints").iterdir()] == ["step-000003"]
