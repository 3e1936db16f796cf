"""Trains the runs of a sweep, each in a folder of its own, and scores them on the same held-out text.

A finished run leaves `result.json` and is not repeated; an interrupted one resumes from its checkpoint.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sayso.base.device import pick_device
from sayso.base.files import read_object, write_json
from sayso.base.log import RunLog, read_log
from sayso.batch.shards import Shards
from sayso.batch.text import TextBatches
from sayso.law.emergence import Scores, score
from sayso.law.scaling import Runs
from sayso.law.sweep import SweepRun
from sayso.loss.next_token import batch_loss
from sayso.model import Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.train.layout import layout_for
from sayso.train.loop import State
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.options import Training
from sayso.train.recipe import Recipe, run_recipe
from sayso.train.schedule import Schedule
from sayso.train.step_log import Evaluation

RESULT = "result.json"


@dataclass(frozen=True)
class SweepText:
    """What all runs are trained and scored on."""

    shards: Shards
    tokenizer: Tokenizer
    held_out: Sequence[str]
    """Documents."""


@dataclass(frozen=True)
class TrainedRun:
    """A finished run."""

    run: SweepRun
    scores: Scores
    """On the held-out text, at the end of its schedule."""
    readings: tuple[tuple[int, float], ...] = ()
    """Tokens, and nats per held-out token, on the way, while the learning rate was still high."""

    @property
    def loss(self) -> float:
        """Nats per held-out token."""
        return self.scores.nats.mean

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data: what was trained, and the results."""
        run = self.run
        shape = {"layers": run.config.layers, "width": run.config.width}
        sizes = {"parameters": run.parameters, "tokens": run.tokens, "rows": run.rows, "steps": run.steps}
        scores = self.scores.as_dict()
        return {**shape, **sizes, "loss": self.loss, "readings": [*map(list, self.readings)], "scores": scores}


def train_run(run: SweepRun, folder: Path, text: SweepText, options: Training) -> TrainedRun:
    """Train one run in `folder`, or read its result if it is finished. Ctrl-C saves its state and stops."""
    path = folder / RESULT
    if path.exists():
        found = read_object(path, "scores", "readings")
        return TrainedRun(run, Scores.from_dict(found["scores"]), tuple((n, loss) for n, loss in found["readings"]))
    device = pick_device(options.device)
    model = Transformer(run.config).initialize(torch.Generator().manual_seed(options.seed)).to(device.kind)
    state = State(model, make_optimizers(model, Rates()))
    log = RunLog(folder / "run.jsonl")

    def read(state: State) -> dict[str, Any]:
        wanted = state.step in run.readings
        tokens = state.step * run.rows * run.row_tokens
        return {"tokens": tokens, "nats": _score(state.model, text).nats.mean} if wanted else {}

    recipe = Recipe(
        TextBatches(text.shards, run.rows, run.row_tokens, options.seed),
        batch_loss,
        Schedule(run.steps, warmup=min(20, run.steps // 10 + 1)),
        Evaluation(read, run.readings[0]) if run.readings else None,
    )
    run_recipe(state, recipe, layout_for(options, run.rows, device), options, log, folder)
    events = [event for event in read_log(log.path) if event["event"] == "val" and "nats" in event]
    readings = {event["tokens"]: event["nats"] for event in events}  # a resumed run may repeat one
    trained = TrainedRun(run, _score(model, text), tuple(sorted(readings.items())))
    write_json(path, trained.as_dict(), sealed=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return trained


def _score(model: Transformer, text: SweepText) -> Scores:
    return score(model, text.tokenizer, text.held_out)


def as_runs(trained: Sequence[TrainedRun]) -> Runs:
    """Return finished runs as points to fit a law to."""
    rows = [(one.run.parameters, one.run.tokens, one.loss) for one in trained]
    return Runs(*np.array(rows, dtype=np.float64).T)


def as_readings(trained: Sequence[TrainedRun]) -> Runs:
    """Return the points that one long run of each size would give: what it read on its way, and its end.

    All horizons of a size then share the batch size and the schedule of the longest, as in sweeps that save the other
    runs; only the last point has seen its learning rate decay.
    """
    rows = [
        (one.run.parameters, tokens, loss)
        for one in trained
        if one.readings
        for tokens, loss in (*one.readings, (one.run.tokens, one.loss))
    ]
    return Runs(*np.array(rows, dtype=np.float64).T)
