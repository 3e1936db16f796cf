"""A PostgreSQL of a bench's own, in a temporary folder and on a socket only: started, killed, started again.

Its binaries are those on the path, or Debian's newest. It has the defaults, so that a commit is on disk when it is
acknowledged. PostgreSQL refuses to run as root, so as root its processes are those of the user `postgres`.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

Victim = Literal["all", "postmaster", "backend"]
VICTIMS: tuple[Victim, ...] = ("all", "postmaster", "backend")
NAME = "sayso"
PATIENCE = 60.0  # seconds for it to start; the children of a killed postmaster have to end first


class Postgres:
    """A cluster in a folder."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self.binaries, self.data = folder, binaries, folder / "data"
        self.address = f"postgresql://{NAME}@/{NAME}?host={folder}"
        """Of an empty database."""
        self.run("initdb", "-D", self.data, "-U", NAME, "-A", "trust", "-E", "UTF8")
        self.start()
        self.run("createdb", "-h", folder, "-U", NAME, NAME)

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}'"
        words = ("-D", self.data, "-l", self.folder / "log", "-w", "-t", str(int(PATIENCE)), "-o", options, "start")
        until = time.monotonic() + PATIENCE
        while self.run("pg_ctl", *words, check=time.monotonic() > until):
            time.sleep(0.1)

    def kill(self, victim: Victim, draw: random.Random) -> bool:
        """Kill it with all of its processes, its first one alone, or one that serves a connection.

        Return whether it has to be started again. From the death of a single process it recovers by itself, and has
        done so on return.
        """
        before = self._starts()
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        others = [int(one) for one in Path(f"/proc/{first}/task/{first}/children").read_text().split()]
        serving = [one for one in others if NAME in _title(one)]
        if victim == "backend" and serving:
            _kill([draw.choice(serving)])
            until = time.monotonic() + PATIENCE
            while self._starts() == before and time.monotonic() < until:
                time.sleep(0.05)
            return False
        _kill([first] if victim == "postmaster" else [first, *others])
        return True

    def _starts(self) -> int:
        """Return how often it began to accept connections."""
        return (self.folder / "log").read_text(errors="replace").count("ready to accept connections")

    def stop(self) -> None:
        """Stop it, if it runs."""
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop", check=False)

    def run(self, program: str, *words: str | Path, check: bool = True) -> int:
        """Run one of its programs as its user; return the status."""
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*user, str(self.binaries / program), *map(str, words)]
        silent = subprocess.DEVNULL  # no pipe, which a server that was started would keep open
        return subprocess.run(command, cwd=self.folder, check=check, stdout=silent, stderr=silent).returncode


@contextmanager
def started() -> Iterator[Postgres | None]:
    """Yield a running PostgreSQL, which is removed at the end; None if it is not installed."""
    binaries = installed()
    if binaries is None:
        yield None
        return
    with TemporaryDirectory(prefix="sayso-") as place:
        if os.geteuid() == 0:
            shutil.chown(place, "postgres")
        postgres = Postgres(Path(place), binaries)
        try:
            yield postgres
        finally:
            postgres.stop()


def installed() -> Path | None:
    """Return the folder of its programs; None if it is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


def _title(process: int) -> str:
    """Return what a process calls itself, which for one that serves a connection has the names of user and database."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace")
    return ""


def _kill(processes: Sequence[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
