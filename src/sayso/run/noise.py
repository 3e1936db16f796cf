"""Show which tasks can tell a life's models apart, given several checkpoints or seeds of one run.

The part of `sayso leaderboard` with `--noise`. Takes the board's measures; where all models are at chance, the bits per
byte of the right answer stand in for accuracy, and the table says so.
"""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from sayso.base.errors import UserError, nearest
from sayso.base.log import say
from sayso.base.output import console
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.statistics.signal import SignalToNoise, signal_to_noise
from sayso.report.board import Board, Measure


def show_noise(board: Board, run: Sequence[str]) -> dict[str, Any]:
    """Print signal and noise of each measure, given the names of checkpoints or seeds of one run, and return them.

    The last one of the run and all other models are compared with each other.
    """
    run = tuple(dict.fromkeys(run))
    if len(run) < 2:
        raise UserError(f"--noise needs two or more checkpoints or seeds of a run; got {', '.join(run)}.")
    for name in run:
        if name not in board.models:
            raise UserError(
                f"--noise must name evaluated models: {', '.join(board.models)}; got '{name}'."
                f"{nearest(name, board.models)}"
            )
    models = [name for name in board.models if name not in run[:-1]]
    if len(models) < 2:
        raise UserError("--noise compares the run with other models, but no other is evaluated: evaluate one.")
    table = Table("measure", "chance", "mean", "signal", "noise", "ratio", "apart")
    found: dict[str, Any] = {}
    for measure in board.measures:
        of_models, of_run = ([name for name in names if name in measure.scores] for names in (models, run))
        if len(of_models) < 2 or len(of_run) < 2:
            continue
        guessed, scores = _scores(measure, [*of_models, *of_run])
        one = signal_to_noise([scores[name].mean for name in of_models], [scores[name].mean for name in of_run])
        mean = sum(scores[name].mean for name in of_models) / len(of_models)
        title = f"{measure.group}: {measure.name}"
        shown = f"{title} (bits per byte)" if guessed else title
        table.add_row(shown, _chance(measure), f"{mean:.3f}", *_cells(one))
        found[title] = _row(measure, guessed, mean, one)
    console().print(table)
    at_chance = [title for title, row in found.items() if row["at_chance"]]
    if at_chance:
        say(f"At chance for all models, so judged by the bits per byte of the right answer: {'; '.join(at_chance)}.")
    blind = [title for title, row in found.items() if not row["apart"]]
    if blind:
        say(f"Cannot tell any of these models apart, beyond the noise of the run: {'; '.join(blind)}.")
    return found


def _scores(measure: Measure, names: Sequence[str]) -> tuple[bool, dict[str, Estimate]]:
    """Return the scores to judge by, and whether they are the bits per byte of right answers that are guessed."""
    if measure.at_chance(names) and all(name in measure.bits for name in names):
        return True, measure.bits
    return False, measure.scores


def _chance(measure: Measure) -> str:
    return "" if measure.baseline is None else f"{measure.baseline:.3f}"


def _cells(one: SignalToNoise) -> tuple[str, ...]:
    return f"{100 * one.signal:.2f} %", f"{100 * one.noise:.2f} %", f"{one.ratio:.1f}", f"{one.apart} of {one.pairs}"


def _row(measure: Measure, guessed: bool, mean: float, one: SignalToNoise) -> dict[str, Any]:
    return {
        "chance": measure.baseline,
        "at_chance": guessed,
        "mean": mean,
        **{name: getattr(one, name) for name in ("signal", "noise", "least", "apart", "pairs")},
        "ratio": None if one.ratio == float("inf") else one.ratio,
    }
