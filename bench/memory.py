"""Watch the memory of a process and its descendants from a thread (Linux)."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 0.1  # between two samples


class Peak:
    """`with Peak() as peak: ...`, then `peak.megabytes`: the largest sampled sum of proportional set sizes.

    A page that several processes share counts once, and so do pages of mapped files.
    """

    def __init__(self, process: int | None = None) -> None:
        self.process = process or os.getpid()
        self.megabytes = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *failed: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Take a last sample and stop."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.megabytes = max(self.megabytes, sum(map(megabytes, family(self.process))))
            if self._done.wait(SECONDS):
                return


def family(process: int) -> list[int]:
    """Return a process and its descendants."""
    found = [process]
    for own in found:
        try:
            threads = list(Path(f"/proc/{own}/task").iterdir())
            found += [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        except OSError:  # it ended
            continue
    return found


def megabytes(process: int) -> float:
    """Return the proportional set size of a process in MB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("Pss:")), 0.0)
