"""What several test files need: a disk that is full, a browser, and what axe-core finds wrong with a page."""

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, by playwright's synchronous API, of which a process can have one at a time."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("SAYSO_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no browser: install chromium, or set SAYSO_CHROMIUM to its path")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def accessibility_faults() -> Callable[[Any], list[str]]:
    """Return what axe-core says against an open page: each rule with the elements that break it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

    def faults(page: Any) -> list[str]:
        found = axe.Axe().run(page).response["violations"]
        return [
            f"{rule['id']}: {node['html'][:120]} ({node['failureSummary']})" for rule in found for node in rule["nodes"]
        ]

    return faults
