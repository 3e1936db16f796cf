"""Worker processes: one that is ended is reported as what ended it, not as something else."""

import os
import signal
from collections.abc import Callable

import pytest

from sayso.base.ended import ended
from sayso.base.errors import UserError
from sayso.text.parallel import _pool


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        (signal.raise_signal, signal.SIGKILL, r"signal 9 \(SIGKILL\), perhaps because the machine ran out of memory;"),
        (signal.raise_signal, signal.SIGTERM, r"signal 15 \(SIGTERM\);"),
        (os._exit, 3, "exit code 3;"),
    ],
)
def test_a_worker_that_ended_is_told_by_its_signal_or_code(end: Callable[[int], None], code: int, told: str) -> None:
    """Only SIGKILL may be for memory."""
    with (
        pytest.raises(UserError, match=f"A worker process .*{told} run the same command to resume"),
        _pool(2) as submit,
    ):
        submit(end, code).result()


def test_exit_codes_become_words() -> None:
    """Signals by number and name, unknown ones by number."""
    assert ended(-signal.SIGSEGV) == "was terminated by signal 11 (SIGSEGV)"
    assert ended(-99) == "was terminated by signal 99 (unknown)"
    assert ended(1) == "ended with exit code 1"
    assert ended(None) == "is not responding"
