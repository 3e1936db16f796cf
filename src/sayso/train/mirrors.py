"""Mirrors send a run's metrics to a tracker too: TensorBoard, Trackio, or Weights & Biases.

`run.jsonl` remains the authoritative log. A mirror that fails is reported once and disabled; the run continues.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError, nearest, require
from sayso.base.log import say

PROJECT = "sayso"
_Figures = dict[str, float]
Write = Callable[[int, _Figures], object]
Open = tuple[Write, Callable[[], object]]  # writer of a step's metrics, and closer


def _tensorboard(folder: Path, _config: dict[str, Any]) -> Open:
    """Write event files in the run's folder; view with: tensorboard --logdir life/runs."""
    require("tensorboard", "tensorboard")
    writer = require("torch.utils.tensorboard", "tensorboard").SummaryWriter(folder / "tensorboard")

    def write(step: int, figures: _Figures) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)

    return write, writer.close


def _trackio(folder: Path, config: dict[str, Any]) -> Open:
    """Write a local database, in TRACKIO_DIR or in the run's folder; view with: TRACKIO_DIR=... trackio show."""
    os.environ.setdefault("TRACKIO_DIR", str((folder / "trackio").absolute()))  # read when it is imported
    trackio = require("trackio", "trackio")
    run = trackio.init(
        PROJECT, folder.name, config=config, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
    )
    return lambda step, figures: run.log(figures, step=step), run.finish


def _wandb(folder: Path, config: dict[str, Any]) -> Open:
    """Write files in the run's folder, for `wandb sync`; nothing is sent unless WANDB_MODE=online is set."""
    wandb = require("wandb", "wandb")
    run = wandb.init(
        project=PROJECT,
        name=folder.name,
        dir=folder,
        config=config,
        mode=os.environ.get("WANDB_MODE", "offline"),
        reinit="create_new",
        settings=wandb.Settings(silent=True, disable_git=True, console="off", x_disable_stats=True),
    )
    return lambda step, figures: run.log(figures, step=step), run.finish


MIRRORS = {"tensorboard": _tensorboard, "trackio": _trackio, "wandb": _wandb}


def check_mirrors(names: Sequence[str]) -> None:
    """Raise `UserError` for an unknown mirror."""
    for name in names:
        if name not in MIRRORS:
            raise UserError(f"--mirror takes {', '.join(MIRRORS)}; got '{name}'.{nearest(name, MIRRORS)}")


class Mirrors:
    """The working mirrors of one run."""

    def __init__(self, names: Sequence[str], folder: Path, config: dict[str, Any]) -> None:
        """Open the mirrors in the run's `folder`; a missing package is a `UserError` with the install command."""
        check_mirrors(names)
        self.open: dict[str, Open] = {}
        for name in dict.fromkeys(names):
            try:
                self.open[name] = MIRRORS[name](folder, config)
            except UserError:
                self.close()
                raise
            except Exception as error:
                self._disable(name, error)

    def write(self, step: int, fields: dict[str, Any]) -> None:
        """Forward the numeric fields of an event."""
        figures = {name: value for name, value in fields.items() if isinstance(value, int | float)}
        for name, (write, _) in list(self.open.items()):
            try:
                write(step, figures)
            except Exception as error:  # no failure of a tracker stops the run
                self._disable(name, error)

    def close(self) -> None:
        """Close the open mirrors."""
        for name, (_, close) in list(self.open.items()):
            try:
                close()
            except Exception as error:
                self._disable(name, error)
        self.open.clear()

    def _disable(self, name: str, error: Exception) -> None:
        self.open.pop(name, None)
        say(f"The mirror '{name}' failed and is disabled from here on; run.jsonl is complete ({error}).")


@contextmanager
def mirrored(names: Sequence[str], folder: Path, config: dict[str, Any]) -> Iterator[Mirrors]:
    """Open a run's mirrors and close them at the end, even after an error."""
    mirrors = Mirrors(names, folder, config)
    try:
        yield mirrors
    finally:
        mirrors.close()
