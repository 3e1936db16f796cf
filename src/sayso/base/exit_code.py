"""Describe how another process ended, from its exit code."""

import signal


def describe_exit(code: int | None) -> str:
    """Return the end of a sentence about a process, from its exit code as Python reports it.

    A negative code is a signal, None a process that is still running. Only SIGKILL, which the kernel sends when memory
    runs out, is reported as a possible sign of that.
    """
    if code is None:
        return "is not responding"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    cause = ", perhaps because the machine ran out of memory" if name == "SIGKILL" else ""
    return f"was terminated by signal {-code} ({name}){cause}"
