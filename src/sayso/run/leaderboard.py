"""Act: show every score of a life's models, and export them for others.

Input: the records of `sayso evaluate`. With `--export eee`, writes a file for each model in the format of Every Eval
Ever (schema 0.2.1), which other tools and collections of results read.
"""

import time
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from sayso import __version__
from sayso.base.errors import UserError
from sayso.base.files import write_json
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import check_work, work_in
from sayso.base.output import console
from sayso.base.ranges import Options
from sayso.judge.statistics.estimate import LEVEL, Estimate
from sayso.report.board import Board, Measure, read_board
from sayso.run.noise import show_noise

SCHEMA = "0.2.1"
UNBOUNDED = 1e9  # the format requires both ends of a continuous score


@dataclass(frozen=True)
class Leaderboard(Options):
    """Options of `sayso leaderboard`."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    noise: tuple[str, ...] = ()
    """Two or more checkpoints or seeds of one run, to show which measures tell the models apart beyond their noise."""
    export: Literal["eee"] | None = None
    """Also write the scores in the format of Every Eval Ever (eee), a file for each model."""
    out: Path = Path("eee")
    """Folder of the exported files."""


def leaderboard(options: Leaderboard) -> dict[str, Any]:
    """Show the scores of a life's models or, with `--noise`, what each measure can tell; return the figures."""
    if options.export and options.noise:
        raise UserError("--noise and --export do different things; run sayso leaderboard once with each.")
    if options.export:
        check_work(options.out)
    board = read_board(Life(options.life))
    if not board.models:
        raise UserError(f"The life '{options.life}' has no scores; run sayso evaluate first.")
    if options.noise:
        return show_noise(board, options.noise)
    show_board(board)
    if options.export:
        work_in(options.out)
        for name in board.models:
            path = options.out / f"{name}.json"
            write_json(path, eee(board, name, int(time.time())))
            say(f"Wrote {path}.")
    return {
        f"{one.group}: {one.name}": {name: value.as_dict() for name, value in one.scores.items()}
        for one in board.measures
    }


def show_board(board: Board) -> None:
    """Print a table with a row for each measure and a column for each model: the value and its 95 % interval."""
    table = Table("measure", *board.models)
    for measure in board.measures:
        cells = [_cell(measure, name) for name in board.models]
        arrow = " (lower is better)" if measure.lower_is_better else ""
        table.add_row(f"{measure.group}: {measure.name}{arrow}", *cells)
    console().print(table)


def _cell(measure: Measure, name: str) -> Text:
    one = measure.scores.get(name)
    if one is None:
        return Text("")
    value = f"{one.mean:.3f}" if one.low != one.low else f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})"
    return Text(value, style="bold" if name == measure.best() else "")


def eee(board: Board, name: str, now: int) -> dict[str, Any]:
    """Return a model's scores in the format of Every Eval Ever; `now` is Unix time in seconds."""
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"sayso/{name}/{now}",
        "retrieved_timestamp": str(now),
        "source_metadata": {
            "source_name": "sayso evaluate",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "first_party",
        },
        "eval_library": {"name": "sayso", "version": __version__},
        "model_info": {"name": name, "id": name, "inference_engine": {"name": "sayso", "version": __version__}},
        "evaluation_results": [_result(one, one.scores[name]) for one in board.measures if name in one.scores],
    }


def _result(measure: Measure, value: Estimate) -> dict[str, Any]:
    low, high = (0.0, 1.0) if measure.unit else (-UNBOUNDED, UNBOUNDED)
    config: dict[str, Any] = {"lower_is_better": measure.lower_is_better, "score_type": "continuous"}
    config |= {"min_score": low, "max_score": high}
    if not measure.unit:
        config["additional_details"] = {"bounds": "none"}
    uncertainty: dict[str, Any] = {"num_samples": value.n}
    if value.se == value.se:
        uncertainty["standard_error"] = {"value": value.se, "method": "analytic"}
    if value.low == value.low:
        ends = {"lower": value.low, "upper": value.high, "confidence_level": LEVEL}
        uncertainty["confidence_interval"] = ends
    return {
        "evaluation_name": f"{measure.group}: {measure.name}",
        "source_data": {"dataset_name": measure.name, "source_type": "other"},
        "metric_config": config,
        "score_details": {"score": value.mean, "uncertainty": uncertainty},
    }
