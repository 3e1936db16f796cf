"""Worker processes: how a worker ended is reported correctly."""

import os
import signal
from collections.abc import Callable

import pytest

from sayso.base.errors import UserError
from sayso.base.exit_code import describe_exit
from sayso.text.parallel import _pool


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        (signal.raise_signal, signal.SIGKILL, r"signal 9 \(SIGKILL\), perhaps because the machine ran out of memory;"),
        (signal.raise_signal, signal.SIGTERM, r"signal 15 \(SIGTERM\);"),
        (os._exit, 3, "exit code 3;"),
    ],
)
def test_a_worker_that_ended_is_reported_by_its_signal_or_code(
    end: Callable[[int], None], code: int, told: str
) -> None:
    """Only SIGKILL is attributed to memory."""
    with (
        pytest.raises(UserError, match=f"A worker process .*{told} run the same command to resume"),
        _pool(2) as submit,
    ):
        submit(end, code).result()


def test_exit_codes_are_described() -> None:
    """Signals are given by number and name, unknown ones by number."""
    assert describe_exit(-signal.SIGSEGV) == "was terminated by signal 11 (SIGSEGV)"
    assert describe_exit(-99) == "was terminated by signal 99 (unknown)"
    assert describe_exit(1) == "ended with exit code 1"
    assert describe_exit(None) == "is not responding"
