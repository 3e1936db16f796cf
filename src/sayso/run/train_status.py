"""Act: show the progress of a training run: its loss curve and latest figures, once or live.

Reads only the run's `run.jsonl`, so it does not disturb the run and works for finished runs too.
"""

import time
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from rich.live import Live

from sayso.base.errors import UserError, nearest
from sayso.base.life import Life
from sayso.base.log import events_of
from sayso.base.output import console
from sayso.base.ranges import Options
from sayso.report.run_status import status

REFRESH = 2.0  # seconds


@dataclass(frozen=True)
class TrainStatus(Options):
    """Options of `sayso train-status`."""

    run: str | None = None
    """Name of the run, such as pretrain-base. Default: the most recently updated training run."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    follow: bool = False
    """Keep updating until the run ends; Ctrl-C stops the display, not the run."""


def train_status(options: TrainStatus) -> str:
    """Show the progress of a training run, once or live."""
    life = Life(options.life)
    folder = _find(life, options.run)
    screen = console()
    if not options.follow:
        shown = status(folder.name, events_of(folder / "run.jsonl"))
        screen.print(shown)
        return shown.plain
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            events = events_of(folder / "run.jsonl")
            shown = status(folder.name, events)
            live.update(shown, refresh=True)
            if events[-1]["event"] == "end":
                return shown.plain
            time.sleep(REFRESH)


def _find(life: Life, name: str | None) -> Path:
    """Return the folder of a run. Raises `UserError` if there are no runs, or none of this name.

    Without a name, it is the most recently updated run of an act that trains, that is, one with a plan.
    """
    runs = {log.parent.name: log for log in life.root.glob("runs/*/run.jsonl")}
    trained = [log for log in runs.values() if (log.parent / "plan.json").exists()]
    if not runs or (name is None and not trained):
        raise UserError(f"There are no training runs in '{life.root}' yet; start one with: sayso pretrain")
    if name is None:
        return max(trained, key=lambda log: log.stat().st_mtime).parent
    if name not in runs:
        told = ", ".join(sorted(runs))
        raise UserError(f"Runs in '{life.root}' are {told}; got '{name}'.{nearest(name, runs)}")
    return runs[name].parent
