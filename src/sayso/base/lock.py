"""One process per output: an output is locked while a command writes it, and a second command reports the holder.

The lock of `models/tuned` is the file `models/.tuned.lock`, locked with flock(2), so that it is released when its
process ends, however it ends. It records the process, its host, its command and its start. Reading takes no lock.
"""

import fcntl
import functools
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import FileIO
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from sayso.base.errors import UserError
from sayso.base.life import Life

_ATTEMPTS = 100  # to lock a file that other processes remove as they exit
_Act = TypeVar("_Act", bound=Callable[..., Any])


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    host: str
    command: str
    since: str

    @classmethod
    def this(cls) -> "Holder":
        """Return this process; its command is cut before the first option, since options may hold secrets."""
        program, *words = sys.argv
        name = {"__main__.py": "sayso", "": "python", "-c": "python"}.get(Path(program).name, Path(program).name)
        command = " ".join([name, *takewhile(lambda word: not word.startswith("-"), words)])
        return cls(os.getpid(), socket.gethostname(), command, datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))

    @classmethod
    def read(cls, file: Path) -> "Holder | None":
        """Return the content of a lock file; None if it is still empty."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; never true for a process of another host."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the output at `path`, a file or folder that need not exist yet.

    Raises `UserError` that names the holder. If no lock file can be written (a read-only file system), nothing is
    locked: the output cannot be written either, and the command reports that itself.
    """
    file, owner = path.with_name(f".{path.name}.lock"), os.getpid()
    created = [parent for parent in file.parents if not parent.exists()]
    held = _claimed(file, path)
    if held:
        os.register_at_fork(after_in_child=held.close)  # else a child that outlives this process would keep the lock
    try:
        yield
    finally:
        if held and os.getpid() == owner:
            for leftover in (file, _named(file)):
                leftover.unlink(missing_ok=True)
            held.close()
            for parent in created:
                with suppress(OSError):  # it is no longer empty
                    parent.rmdir()


def holder_of(path: Path) -> Holder | None:
    """Return the process that works on the output at `path`, as far as its lock file tells; None if none does.

    Takes no lock, so that it never is in the way of a process that begins.
    """
    holder = Holder.read(path.with_name(f".{path.name}.lock"))
    return None if holder is None or holder.is_dead else holder


def stop_holder(path: Path) -> Holder | None:
    """Ask the process that works on the output at `path` to stop, by SIGTERM; return it, or None if none does.

    Raises `UserError` if the process runs on another host.
    """
    file = path.with_name(f".{path.name}.lock")
    holder = holder_of(path)
    if holder is None or not _is_held(file):  # after a kill, another process may have got the number
        return None
    if holder.host != socket.gethostname():
        raise UserError(f"'{path.name}' runs on another machine, {holder.host}; stop process {holder.pid} there.")
    os.kill(holder.pid, signal.SIGTERM)
    return holder


def exclusive(output: Callable[[Any], Path]) -> Callable[[_Act], _Act]:
    """Decorate an act to run only while no other process writes the `output` of its options."""

    def wrap(act: _Act) -> _Act:
        @functools.wraps(act)
        def run(options: Any) -> Any:
            with locked(output(options)):
                return act(options)

        return run  # type: ignore[return-value]

    return wrap


def model_output(options: Any) -> Path:
    """Return the folder of the model that a command with the options `life` and `name` writes."""
    return Life(options.life).model(options.name)


def _claimed(file: Path, path: Path) -> FileIO | None:
    """Return the open, locked lock file; None if it cannot be written."""
    for _ in range(_ATTEMPTS):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            held = _opened(file)
        except FileNotFoundError:  # another process has just removed the folder that it created for its own lock
            continue
        except OSError:
            return None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            raise _in_use(path, Holder.read(file)) from None
        except OSError:  # a network file system without flock
            held.close()
            return _claimed_by_name(_named(file), path)
        if _is_at(held, file):
            return _signed(held)
        held.close()  # it was released and removed in the meantime
    return None


def _opened(file: Path) -> FileIO:
    try:
        return FileIO(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+")
    except PermissionError:
        return FileIO(file, "r")  # another user's file: it can be locked but not written


def _claimed_by_name(file: Path, path: Path) -> FileIO:
    """Return a lock file for this process; that of a dead process is removed."""
    while True:
        try:
            return _signed(FileIO(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "r+"))
        except FileExistsError:
            holder = Holder.read(file)
            if holder is None or not holder.is_dead:
                raise _in_use(path, holder, file) from None
            file.unlink(missing_ok=True)


def _is_held(file: Path) -> bool:
    """Whether a process holds a lock file; true where that cannot be told."""
    try:
        with file.open("rb") as probe:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # it is held, or the file system has no flock
        return True
    return False


def _named(file: Path) -> Path:
    return file.with_suffix(".held")


def _signed(held: FileIO) -> FileIO:
    with suppress(OSError):  # its content is only informative
        held.truncate(0)
        held.write(json.dumps(asdict(Holder.this())).encode())
    return held


def _is_at(held: FileIO, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held.fileno()), file.stat())
    except FileNotFoundError:
        return False


def _in_use(path: Path, holder: Holder | None, file: Path | None = None) -> UserError:
    who = f"'{holder.command}' (process {holder.pid} on {holder.host}, since {holder.since})" if holder else ""
    fix = f" If that process no longer runs, remove '{file}'." if file else ""
    return UserError(f"'{path}' is in use by {who or 'another process'}; wait until it ends, or stop it.{fix}")
