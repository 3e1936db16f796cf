"""What several test files need: a disk that is full; and one line that names what was skipped and how to run it."""

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

ENABLE = {
    "PostgreSQL": (
        bool(os.environ.get("SAYSO_TEST_POSTGRES")),
        "set SAYSO_TEST_POSTGRES to the URL of an empty database",
    ),
    "published vectors and models": (
        bool(os.environ.get("SAYSO_TEST_DATA")),
        "set SAYSO_TEST_DATA to a folder that holds them",
    ),
    "the page": (
        bool(shutil.which("chromium") or shutil.which("chromium-browser")),
        "install Chromium (apt-get install chromium)",
    ),
    "compiled kernels": (bool(shutil.which("c++") or shutil.which("g++")), "install a C++ compiler"),
    "a GPU": (bool(shutil.which("nvidia-smi")), "run on a machine with CUDA"),
}
"""What some tests need -> whether it is here, and how to get it."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name in one line what was skipped, and how to enable it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        ways = "; ".join(f"{what}: {how}" for what, (here, how) in ENABLE.items() if not here)
        terminalreporter.write_line(f"Skipped {len(skipped)} tests. To run more of them: {ways or 'see -rs'}.")


@contextmanager
def _small_disk(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file grow beyond so many bytes: what a full disk looks like to a write."""
    return _small_disk
