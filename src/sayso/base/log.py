"""Log a run: to a file for programs, to the terminal for the user.

`run.jsonl` holds one JSON object per line, appended and flushed at once, so that a killed run keeps its log.
On a terminal, long work shows one progress line with rate and time left; piped, it prints a plain line periodically.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sayso.base.config import plain, save_config
from sayso.base.device import peak_memory_mb, reset_peak_memory
from sayso.base.errors import UserError
from sayso.base.jsonl import line_of, parse
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.made import work_in
from sayso.base.output import console, output_stream
from sayso.base.replace import sweep
from sayso.base.seal import CHECKSUM, seal, unseal

PIPED_SECONDS = 20.0  # between progress lines if the output is not a terminal
DRAW_SECONDS = 0.1  # between updates of the progress line on a terminal

STEP_FIELDS = frozenset(
    (
        *("step", "steps", "loss", "lr", "gradient_norm", "tokens", "seconds", "tokens_per_second"),
        *("parameter_norm", "update_ratio", "memory_mb", "mfu", "iteration", "sampling_seconds", "measuring_seconds"),
    )
)
"""Fields of the step and iteration lines of every run; all others are metrics of the run's own loss."""


def say(text: str, *, style: str | None = None) -> None:
    """Print one line for the user on standard output (no color when piped or with NO_COLOR)."""
    console(soft_wrap=True).print(text, style=style, markup=False)


def warn(text: str) -> None:
    """Print one line for the user on standard error, so that it does not mix with results."""
    console(stderr=True, soft_wrap=True).print(text, markup=False)


class RunLog:
    """Appends events to a run's `run.jsonl`."""

    def __init__(self, path: Path) -> None:
        """Open a log; an incomplete last line, left by a kill or a full disk, is removed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        if path.exists():
            with path.open("r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)

    def write(self, event: str, **fields: Any) -> None:
        """Append one event with its fields; the line has been flushed when this returns."""
        row = parse(line_of({"event": event, **fields}))  # as it will be read: the checksum covers that form
        with self.path.open("ab") as file:
            file.write(line_of(seal(row)))


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return a run's events; an incomplete last line is skipped, and a missing file has no events.

    Raises `UserError` for a line that is not an event or was changed after it was written.
    """
    if not path.exists():
        return []
    events: list[dict[str, Any]] = []
    unsealed: list[int] = []
    *lines, rest = path.read_bytes().split(b"\n")
    if rest and not lines and not rest.startswith(b"{"):
        raise UserError(f"'{path}' is damaged: it contains no event; restore it, or remove it.")
    for number, line in enumerate(lines, 1):
        try:
            event = unseal(read := parse(line))
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise ValueError("it is not an event")
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"Line {number} of '{path}' is damaged or not valid JSON ({error}); restore the file, or remove that "
                "line."
            ) from error
        events.append(event)
        if CHECKSUM not in read:
            unsealed.append(number)
    if unsealed and len(unsealed) < len(events):
        raise UserError(
            f"Line {unsealed[0]} of '{path}' is damaged: it has no checksum, unlike other lines; restore the file, or "
            "remove that line."
        )
    return events


def events_of(path: Path) -> list[dict[str, Any]]:
    """Return the events of a run. Raises `UserError` if there is none, since every run begins with one."""
    events = read_log(path)
    if not events:
        raise UserError(f"'{path}' is damaged: it contains no event; restore it, or remove it with its run.")
    return events


@contextmanager
def act_log(life: Life, act: str, name: str, config: Any, *, held: bool = False) -> Iterator[RunLog]:
    """Open the run `<act>-<name>`: write its resolved config and a start line, and on success an end line.

    The end line holds the act's wall-clock seconds and its peak resident memory in MB. The run is locked until then,
    unless the caller has locked it (`held`). Raises `UserError` if another process works on it.
    """
    folder = life.run(f"{act}-{name}" if name else act)
    with nullcontext() if held else locked(folder):
        work_in(folder)
        for part in (folder, *folder.glob("*/")):
            sweep(part)
        save_config(config, folder / "config.toml")
        log = RunLog(folder / "run.jsonl")
        reset_peak_memory()
        started = time.perf_counter()
        log.write("start", act=act, time=datetime.now(UTC).isoformat(timespec="seconds"), config=plain(config))
        yield log
        log.write("end", seconds=round(time.perf_counter() - started, 2), peak_memory_mb=round(peak_memory_mb(), 1))


class Progress:
    """A progress line for long work: `with Progress(100, "step") as line: line.update(3, loss=2.1)`."""

    def __init__(self, total: int | None, label: str) -> None:
        self.total, self.label = total, label
        # A dumb terminal cannot redraw a line.
        self.live = output_stream(stderr=True).isatty() and os.environ.get("TERM") != "dumb"
        self.start = time.perf_counter()
        self.first: int | None = None
        self.drawn = 0.0 if self.live else self.start  # piped, the first line comes after PIPED_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self._write("\r\x1b[2K")

    def update(self, done: int, **fields: Any) -> None:
        """Show that `done` items are done, followed by `fields`. Draws at most ten times a second."""
        now = time.perf_counter()
        if self.first is None:
            self.first, self.start = done, now
        if now - self.drawn < (DRAW_SECONDS if self.live else PIPED_SECONDS):
            return
        self.drawn = now
        line = self._line(done, now - self.start, fields)
        width = shutil.get_terminal_size().columns - 1  # a wrapped line cannot be redrawn
        self._write(f"\r\x1b[2K{line[:width]}" if self.live else f"{line}\n")

    def _write(self, text: str) -> None:
        file = output_stream(stderr=True)
        file.write(text)
        file.flush()

    def _line(self, done: int, seconds: float, fields: dict[str, Any]) -> str:
        rate = (done - (self.first or 0)) / seconds if seconds > 0 else 0.0
        parts = [f"{self.label} {done:,}" + (f"/{self.total:,}" if self.total else "")]
        if rate > 0:
            parts.append(f"{rate:,.1f}/s" if rate >= 1 else f"{1 / rate:,.1f} s each")
            if self.total:
                parts.append(f"{duration((self.total - done) / rate)} left")
        parts += [
            f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in fields.items()
        ]
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """Format seconds for the user: "8 s", "3 min 20 s", "2 h 05 min"."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"
