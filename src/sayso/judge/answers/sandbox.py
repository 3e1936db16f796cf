"""Run programs that nobody has read: source text and limits in, passed or a reason out.

A program runs in a process of its own that can read only Python's libraries, reach no network, start no process and
write no file. Where this cannot be had, nothing runs.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sayso.base.errors import UserError, require

CONFINE = Path(__file__).with_name("confine.py")
GRACE = 20.0  # seconds for both processes to start on a busy machine, beyond the program's own
PROBE = """
import os, socket
def denied(act, *given):
    try:
        act(*given)
    except (PermissionError, BlockingIOError):
        return True
    return False
assert denied(os.listdir, "/"), "files can be read"
assert denied(os.fork), "processes can be started"
assert denied(socket.socket().connect, ("127.0.0.1", 9)), "the network can be reached"
"""


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    seconds: float = 10.0
    """By the clock, with Python's own start."""
    memory: int = 512 * 2**20
    """Bytes of address space."""
    output: int = 2**16
    """Bytes on standard output; standard error is dropped."""


@dataclass(frozen=True)
class Ran:
    """How a program ended."""

    passed: bool
    """It ran to its end without an exception."""
    reason: str
    """Why it did not, such as "AssertionError: "; "" if it did."""


def run_program(source: str, limits: Limits | None = None) -> Ran:
    """Run a Python program in the sandbox.

    It gets the standard library alone, in the version of this Python. Raises `UserError` where the isolation cannot be
    had: it needs Linux with Landlock, and the package sandlock.
    """
    require_isolation()
    limits = limits or Limits()
    end, reason = _run(source, limits)
    if end == "isolation":
        raise UserError(
            f"The sandbox of generated code does not start ({reason}): free memory and processes, and retry."
        )
    words = {
        "time": f"It ran longer than {limits.seconds:g} seconds.",
        "output": f"It wrote more than {limits.output} bytes.",
    }
    return Ran(end == "passed", words.get(end, reason))


@cache
def require_isolation() -> None:
    """Raise `UserError` unless a test program fails to read files, start a process and reach the network."""
    if sys.platform != "linux":
        raise UserError(f"Generated code runs only in a sandbox of Linux 6.12 or later, not on {sys.platform}.")
    require("sandlock", "judge")
    end, reason = _run(PROBE, Limits())
    if end != "passed":
        raise UserError(
            "Generated code runs only in a sandbox of Linux 6.12 or later with Landlock, which this machine does not "
            f"provide ({reason or end}): run it on one that does."
        )


def _run(source: str, limits: Limits) -> tuple[str, str]:
    """Return how a program ended, as `confine.py` tells it, and the reason."""
    job = {"source": source, "seconds": limits.seconds, "memory": limits.memory, "output": limits.output}
    process = subprocess.Popen(
        [sys.executable, "-P", str(CONFINE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(json.dumps(job).encode(), timeout=limits.seconds + GRACE)
    except subprocess.TimeoutExpired:
        told = b""
    finally:
        if process.poll() is None:  # the program's process dies with this one
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    found = json.loads(told or '{"end": "isolation", "reason": "no answer"}')
    return found["end"], found["reason"]
