"""Acts that the page starts: each is a process of its own, whose output and end are kept in `runs/jobs/ID/`.

A job goes on when the page is reloaded and when the server ends. Nothing is ever passed to a shell.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_object, write_json
from sayso.base.life import Life
from sayso.base.made import work_in
from sayso.feedback.store import MissingError

MOST_RUNNING = 4
SHOWN = 20  # jobs in a list
OUTPUT = 16_384  # bytes of the end of the output that are shown
PROC = Path("/proc")
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[a-z-]{1,40}-[0-9a-f]{6}")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_STOPPED = (130, -signal.SIGTERM, -signal.SIGINT)


@dataclass(frozen=True)
class JobCommand:
    """What a job does: the arguments of `python -m sayso`."""

    act: str
    words: tuple[str, ...]
    run: str | None = None
    """The run that it writes, if it is known."""


@dataclass(frozen=True)
class Acts:
    """The acts that may be started, passed in since they are to the right of the server."""

    forms: Callable[[], list[dict[str, Any]]]
    """Returns the acts with the fields of their options."""
    begin: Callable[[str, Mapping[str, Any]], JobCommand]
    """Returns the command of an act with some options. Raises `UserError` for an unknown act or an invalid option."""
    resume: Callable[[str], JobCommand]
    """Returns the command that resumes a run. Raises `UserError` if that is not possible."""
    environment: Mapping[str, str]
    """Variables of the processes."""


class Jobs:
    """The jobs of a life. Safe for several threads."""

    def __init__(self, life: Life, environment: Mapping[str, str]) -> None:
        self.folder = life.run("jobs")
        self._environment = {**environment, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "110"}
        self._lock = Lock()
        self._own: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, command: JobCommand, by: str | None = None) -> dict[str, Any]:
        """Start a job for a person, and return it. Raises `UserError` if too many are running."""
        with self._lock:
            running = [job["id"] for job in self.listed() if job["state"] == "running"]
            if len(running) >= MOST_RUNNING:
                raise UserError(f"At most {MOST_RUNNING} jobs run at a time; wait until one ends, or stop one.")
            now = datetime.now(UTC)
            name = f"{now:%Y%m%d-%H%M%S-%f}-{command.act.replace(' ', '-')}-{secrets.token_hex(3)}"
            folder = self.folder / name
            work_in(self.folder)
            work_in(folder)
            with (folder / "output.txt").open("xb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "sayso", *command.words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=self._environment,
                )
            job = {"act": command.act, "words": list(command.words), "run": command.run, "by": by, "pid": process.pid}
            job |= {"began": now.isoformat(timespec="seconds"), "born": _born(process.pid)}
            write_json(folder / "job.json", job)
            self._own[name] = process
        Thread(target=self._wait, args=(folder, process), name=name, daemon=True).start()
        return self.one(name)

    def _wait(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        """Keep how a process ended."""
        code = process.wait()
        write_json(folder / "ended.json", {"code": code, "at": datetime.now(UTC).isoformat(timespec="seconds")})
        with self._lock:
            self._own.pop(folder.name, None)

    def listed(self) -> list[dict[str, Any]]:
        """Return the newest jobs, the newest first, each with the last line of its output."""
        names = sorted((path.parent.name for path in self.folder.glob("*/job.json")), reverse=True)
        found = [self._read(name, 1000) for name in names[:SHOWN] if _ID.fullmatch(name)]
        return [{**job, "output": job["output"].rstrip().rpartition("\n")[2]} for job in found]

    def one(self, name: str) -> dict[str, Any]:
        """Return a job with the end of its output. Raises `MissingError`."""
        if not _ID.fullmatch(name) or not (self.folder / name / "job.json").is_file():
            raise MissingError("There is no such job.")
        return self._read(name, OUTPUT)

    def stop(self, name: str) -> dict[str, Any]:
        """Ask a job to stop, and return it; one that trains saves its state first. Raises `MissingError`."""
        job = self.one(name)
        if job["state"] == "running":
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(job["pid"], signal.SIGTERM)
        return job

    def marks(self) -> int:
        """Return a number that changes whenever a job does."""
        seen = []
        for path in sorted(self.folder.glob("*/*"))[-4 * SHOWN :]:
            try:
                found = path.stat()
            except OSError:
                continue
            seen.append((path.parent.name, path.name, found.st_size, found.st_mtime_ns))
        return hash(tuple(seen))

    def _read(self, name: str, most: int) -> dict[str, Any]:
        folder = self.folder / name
        job = read_object(folder / "job.json", "act", "words", "pid", "began")
        ended = read_object(folder / "ended.json", "code", "at") if (folder / "ended.json").is_file() else None
        if ended is None:
            state = "running" if name in self._own or _lives(job["pid"], job.get("born")) else "unknown"
        else:
            state = "finished" if ended["code"] == 0 else "stopped" if ended["code"] in _STOPPED else "failed"
        shown = {key: job.get(key) for key in ("act", "words", "run", "by", "pid", "began")}
        output = _end_of(folder / "output.txt", most)
        return {"id": name, **shown, "state": state, "ended": ended and ended["at"], "output": output}


def _end_of(path: Path, most: int) -> str:
    """Return the end of an output as plain text."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    whole = text if size <= most else text.partition("\n")[2] or text
    return _ESCAPES.sub("", whole)


def _born(pid: int) -> str | None:
    """Return when a process started, in the kernel's clock, which tells it from a later one of the same number."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _lives(pid: int, born: str | None) -> bool:
    """Whether a process that an earlier server started still runs."""
    if born is not None:
        return _born(pid) == born
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
