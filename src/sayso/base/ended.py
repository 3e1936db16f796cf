"""How another process ended: its exit code, as Python reports it, in words for a message."""

import signal


def ended(code: int | None) -> str:
    """Describe the end of a process: a negative code is a signal, None a process that is still running.

    Only SIGKILL, which the kernel sends when memory runs out, is reported as a possible sign of that.
    """
    if code is None:
        return "is not responding"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    told = f"was terminated by signal {-code} ({name})"
    return f"{told}, perhaps because the machine ran out of memory" if name == "SIGKILL" else told
