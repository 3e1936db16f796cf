"""How another process ended: its exit code, as Python has it, becomes words for a message."""

import signal


def ended(code: int | None) -> str:
    """Return what is known of the end of a process; below 0 is a signal, None is a process that still runs.

    Only SIGKILL, which the kernel sends when memory runs out, is called a sign of that, and only a possible one.
    """
    if code is None:
        return "no longer answers"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    told = f"was ended by signal {-code} ({name})"
    return f"{told}, perhaps because the machine ran out of memory" if name == "SIGKILL" else told
