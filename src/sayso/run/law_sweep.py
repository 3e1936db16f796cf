"""Act: train small models, predict the loss of a larger run, train that one too, and compare."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table

from sayso.base.config import as_recorded, defaults_of, plain
from sayso.base.device import pick_device
from sayso.base.errors import UserError, require
from sayso.base.files import read_object, sha256, write_atomic, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import RunLog, act_log, duration, read_log, say
from sayso.base.made import check_work, work_in
from sayso.base.output import console
from sayso.base.ranges import Minutes, Options, Positive, Processes, Range, Seed, Tokens
from sayso.batch.text import TextBatches
from sayso.batch.tokens import open_tokens
from sayso.judge.held_out import held_out
from sayso.law.emergence import LENGTHS
from sayso.law.forecast import Forecast, forecast
from sayso.law.sweep import SHORTEST, Speed, SweepPlan, ladder, plan_sweep
from sayso.law.sweep_training import SweepText, TrainedRun, as_readings, as_runs, train_run
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig
from sayso.report.sweep import best_of_budgets, draw_emergence, draw_prediction
from sayso.run.law import tell_rising
from sayso.token.load import load as load_tokenizer
from sayso.token.load import tokenizer_fingerprint
from sayso.train.dial import MIN_TOKENS
from sayso.train.layout import layout_for
from sayso.train.measure import seconds_per_step
from sayso.train.options import Training
from sayso.train.session import set_aside

MOST_PASSES = 4  # over the text; more of them are worth less than new text (Muennighoff et al. 2023)
TRANSIENT = ("life", "device", "processes", "restart", "resamples")


@dataclass(frozen=True)
class Sweep(Options):
    """Options of `sayso law sweep`."""

    _: KW_ONLY
    minutes: Minutes = 30.0
    """Time for all runs, the predicted one included; the machine's speed is measured first."""
    factor: Annotated[float, Range(1.5, 1000)] = 3.0
    """Training FLOPs of the predicted run, relative to the largest one of the sweep."""
    context: Tokens = 256
    """Tokens of a row, and of a window of the held-out text."""
    held_bytes: Positive = 200_000
    """Bytes of held-out text of each kind on which losses are measured."""
    resamples: Annotated[int, Range(0, 100_000)] = 100
    """Bootstrap resamples for the interval of the prediction; 0 = no interval."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    processes: Processes | None = None
    """Single-threaded processes that share a batch on a CPU. Default: one per core if each gets a row."""
    seed: Seed = 0
    """Random seed of initial weights, data order and resamples."""
    restart: bool = False
    """Start over; the earlier sweep is kept under another name."""
    life: Path = Path("life")
    """Folder of the life, whose runs/law-sweep gets the sweep."""


@dataclass(frozen=True)
class Swept:
    """A sweep: its runs, what was predicted of the larger run, and its outcome."""

    runs: tuple[TrainedRun, ...]
    target: TrainedRun
    forecast: Forecast
    naive: Forecast | None
    """The same from one schedule and batch size for all horizons of a size; None if it has too few points."""
    digest: str
    """SHA-256 of prediction.json, as it was logged before the larger run began."""

    @property
    def error(self) -> float:
        """Predicted loss / measured loss - 1."""
        return self.forecast.error(self.target.loss)


def sweep(options: Sweep) -> Swept:
    """Train small models, predict the loss of a larger run, and train it."""
    require("scipy", "law")
    if options.resamples == 1:
        raise UserError("--resamples must be 0 (no interval) or at least 2; got 1.")
    folder = Life(options.life).run("law-sweep")
    check_work(folder)
    text = sweep_text(options)
    with locked(folder):
        plan = _stored_plan(options, folder)
        if plan is None:
            plan = make_plan(options, text)
            if (folder / "plan.json").exists():
                say(f"The earlier sweep is kept as '{set_aside(folder)}'.")
            _store_plan(options, folder, plan)
        return _carried_out(options, plan, text)


def sweep_text(options: Sweep) -> SweepText:
    """Return what the runs are trained and scored on. Raises `UserError` without prepared or held-out text."""
    life = Life(options.life)
    tokenizer = load_tokenizer(life.tokenizer)
    shards = open_tokens(life, tokenizer, tokenizer_fingerprint(life.tokenizer))
    held = held_out(life.data("text"), "val", options.held_bytes)
    if not held:
        raise UserError("There is no held-out text to measure losses on; prepare some with: sayso prepare")
    return SweepText(shards, tokenizer, [text for sample in held.values() for text in sample.texts])


def make_plan(options: Sweep, text: SweepText, speed: Speed | None = None, shortest: int = SHORTEST) -> SweepPlan:
    """Return the sweep that takes about --minutes, by the measured speed of each shape, or by `speed`."""
    shapes = list(ladder(text.shards.vocab_size, options.context))
    tokens = sum(map(len, text.tokenizer.encode_batch(list(text.held_out))))
    if speed is None:
        say("Measuring the speed of this machine.")
        speed = cache(lambda shape: _speed(options, text, shape))
    plan = plan_sweep(options.minutes, shapes, speed, factor=options.factor, held_tokens=tokens, shortest=shortest)
    say(f"{len(plan.runs)} runs and the larger one: about {duration(plan.seconds(speed, tokens))}.")
    passes = max(run.tokens for run in (*plan.runs, plan.target)) / text.shards.tokens
    if passes > MOST_PASSES:
        say(
            f"The longest run reads the text {passes:.1f} times; more than {MOST_PASSES} passes teach less than new "
            "text, so the law may not hold: prepare more text."
        )
    return plan


def _speed(options: Sweep, text: SweepText, shape: ModelConfig) -> float:
    """Return the seconds per training token of a shape, measured on small batches."""
    rows = max(1, MIN_TOKENS // options.context)
    training, device = _training(options), pick_device(options.device)
    layout = layout_for(training, rows, device)
    parts = layout.of(TextBatches(text.shards, rows, options.context, options.seed))
    seconds = seconds_per_step(shape, parts, batch_loss, device.kind, layout.processes, layout.precision)
    return seconds / (rows * options.context)


def _training(options: Sweep) -> Training:
    """Return the options of each run; a step whose loss spikes is skipped, as one run's accident is not the law's."""
    return Training(
        life=options.life,
        seed=options.seed,
        device=options.device,
        processes=options.processes,
        on_divergence="skip",
    )


def _identity(options: Sweep) -> dict[str, Any]:
    """Return the options and inputs that determine the sweep."""
    life = Life(options.life)
    inputs = {"text": life.data("text") / "manifest.json", "tokenizer": life.tokenizer / "tokenizer.json"}
    return {
        "options": {key: value for key, value in plain(options).items() if key not in TRANSIENT},
        "inputs": {name: sha256(path) for name, path in inputs.items() if path.exists()},
    }


def _stored_plan(options: Sweep, folder: Path) -> SweepPlan | None:
    """Return the plan of a sweep with the same options and inputs, None if there is none or it starts over."""
    path = folder / "plan.json"
    if options.restart or not path.exists():
        return None
    stored, identity = read_object(path, "options", "inputs", "plan"), _identity(options)
    identity["options"] = as_recorded(identity["options"], stored["options"], defaults_of(type(options)))
    same = all(stored[key] == identity[key] for key in identity)
    return SweepPlan.from_dict(stored["plan"]) if same else None


def _store_plan(options: Sweep, folder: Path, plan: SweepPlan) -> None:
    work_in(folder)
    write_json(folder / "plan.json", {**_identity(options), "plan": plan.as_dict()}, sealed=True)


def carry_out(options: Sweep, plan: SweepPlan, text: SweepText) -> Swept:
    """Train the runs of a plan, write the prediction, train the larger run, and compare; finished parts are kept.

    Raises `UserError` if another process works on the sweep.
    """
    with locked(Life(options.life).run("law-sweep")):
        return _carried_out(options, plan, text)


def _carried_out(options: Sweep, plan: SweepPlan, text: SweepText) -> Swept:
    """Do what `carry_out` does while the caller holds the lock."""
    life = Life(options.life)
    folder, training = life.run("law-sweep"), _training(options)
    with act_log(life, "law", "sweep", options, held=True) as log:
        trained = []
        for number, run in enumerate(plan.runs, 1):
            say(f"Run {number} of {len(plan.runs)}: {run.parameters:,} parameters, {run.tokens:,} tokens.")
            trained.append(train_run(run, folder / run.name, text, training))
        runs, readings = as_runs(trained), as_readings(trained)
        write_jsonl(folder / "runs.jsonl", (one.as_dict() for one in trained))
        tell_rising(runs)
        record, digest = _predict(options, plan, folder, log, trained)
        found = Forecast.from_dict(record["forecast"])
        naive = Forecast.from_dict(record["one_schedule"]) if record["one_schedule"] else None
        _show_prediction(plan, found, digest)
        target = train_run(plan.target, folder / plan.target.name, text, training)
        swept = Swept((*trained,), target, found, naive, digest)
        outcome = {"prediction_sha256": digest, "loss": target.loss, "error": swept.error}
        write_json(folder / "outcome.json", {**outcome, "run": target.as_dict()}, sealed=True)
        log.write("outcome", **outcome)
        write_atomic(folder / "sweep.svg", draw_prediction(runs, readings, found, naive, target.loss))
        write_atomic(folder / "emergence.svg", draw_emergence([*trained, target]))
    _show_outcome(swept)
    say(f"Saved {folder / 'sweep.svg'} and {folder / 'emergence.svg'}.")
    return swept


def _predict(
    options: Sweep, plan: SweepPlan, folder: Path, log: RunLog, trained: Sequence[TrainedRun]
) -> tuple[Mapping[str, Any], str]:
    """Write the prediction, log its hash, and return both; a written one is only read.

    Raises `UserError` if the file is not the one whose hash was logged.
    """
    path, target = folder / "prediction.json", plan.target
    if not path.exists():
        runs, readings = as_runs(trained), as_readings(trained)
        found = forecast(runs, target.parameters, target.tokens, options.resamples, seed=options.seed)
        write_json(folder / "law.json", {"runs": len(runs), "objective": found.objective, **plain(found.law)})
        try:
            naive = forecast(readings, target.parameters, target.tokens).as_dict()
        except UserError:  # fewer points than parameters
            naive = None
        record = {"runs": len(runs), "factor": plan.factor, "rows": target.rows, "steps": target.steps}
        write_json(path, {**record, "forecast": found.as_dict(), "one_schedule": naive}, sealed=True)
    digest = sha256(path)
    logged = [event["sha256"] for event in read_log(log.path) if event["event"] == "prediction"]
    if not logged:
        log.write("prediction", file=path.name, sha256=digest)
    elif logged[-1] != digest:
        raise UserError(
            f"'{path}' was changed after its hash was logged, {logged[-1][:12]}, so that it predicts nothing any more; "
            "restore it, or add --restart to start over."
        )
    return read_object(path, "forecast", "one_schedule"), digest


def _show_prediction(plan: SweepPlan, found: Forecast, digest: str) -> None:
    law = found.law
    terms = f"{law.E:.4g} + {law.A:.4g} / N^{law.alpha:.4g} + {law.B:.4g} / D^{law.beta:.4g}"
    ends = f" ({found.low:.4f} to {found.high:.4f})" if found.low is not None and found.high is not None else ""
    say(f"L(N, D) = {terms}, from {len(plan.runs)} runs.")
    say(
        f"Prediction for {found.parameters:,.0f} parameters and {found.tokens:,.0f} tokens, {plan.factor:.2f} times "
        f"the largest run's compute: {found.loss:.4f} nats per token{ends}."
    )
    say(f"SHA-256 of prediction.json, logged before that run starts: {digest}")


def _show_outcome(swept: Swept) -> None:
    target = swept.target.scores.nats
    table = Table("parameters", "tokens", "loss", "probability", *(f"{k} in a row" for k in LENGTHS), box=None)
    for one in best_of_budgets([*swept.runs, swept.target]):
        shares = (f"{one.scores.in_a_row[k]:.3g}" for k in LENGTHS)
        sizes = f"{one.run.parameters:,}", f"{one.run.tokens:,}"
        table.add_row(*sizes, f"{one.loss:.4f}", f"{one.scores.probability:.4f}", *shares)
    say("The best run of each budget, by a smooth metric and by how often k tokens in a row are right:")
    console().print(table)
    within = f" ({target.interval('.4f')} over documents)" if target.interval() else ""
    say(f"Outcome: {target.mean:.4f} nats per token{within}, predicted {swept.forecast.loss:.4f}: {swept.error:+.2%}.")
    if swept.naive is not None:
        error = swept.naive.error(target.mean)
        say(f"With one schedule and batch size for all horizons of a size, {swept.naive.loss:.4f}: {error:+.2%}.")
