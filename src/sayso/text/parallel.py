"""Process all parts of all sources in several processes and return their counts, in order.

The result depends only on the parts, not on the number of workers.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sayso.base.device import cores
from sayso.base.errors import UserError
from sayso.base.exit_code import describe_exit
from sayso.base.jsonl import BadRows
from sayso.text.document import FUNCTION, Source
from sayso.text.work import Counts, PrepareJob, PrepareRules, process

OnProgress = Callable[..., None]  # called with (documents so far, source=name)


def run_parts(
    sources: Sequence[Source],
    rules: PrepareRules,
    folder: Path,
    workers: int | None,
    on_progress: OnProgress,
    bad: BadRows,
) -> list[tuple[PrepareJob, Counts]]:
    """Apply the rules to all parts; return them in order with their counts, each source cut at the limit.

    `workers` None = one process per core, 1 = in this process. Unusable rows are added to `bad`, which raises
    `UserError` as soon as its list is full.
    """
    parts = [(source, part) for source in sources for part in source.parts]
    jobs = [PrepareJob(n, source.name, part, source.generated, source.people) for n, (source, part) in enumerate(parts)]
    workers = min(workers or cores(), len(jobs))
    if any(part.reader == FUNCTION for _, part in parts):
        workers = 1
    ahead = 2 * workers if rules.limit else len(jobs)  # with a limit, read few parts that may not be needed
    kept: Counter[str] = Counter()
    finished: list[tuple[PrepareJob, Counts]] = []
    pending: deque[tuple[PrepareJob, Future[Counts]]] = deque()
    upcoming = iter(jobs)
    read = 0
    with _pool(workers) as submit:
        while True:
            for job in islice(upcoming, ahead - len(pending)):
                if _left(job, kept, rules.limit):
                    pending.append((job, submit(process, job, rules, folder)))
            if not pending:
                return finished
            job, future = pending.popleft()
            counts = future.result()
            bad.merge(BadRows(**counts["bad"]))
            if job.number < len(jobs) - 1:
                bad.check(end=False)
            read += counts["in"]
            on_progress(read, source=job.source)
            left = _left(job, kept, rules.limit)
            if left:
                finished.append((replace(job, take=min(left, counts["kept"])), counts))
                kept[job.source] += counts["kept"]


def _left(job: PrepareJob, kept: Counter[str], limit: int) -> int:
    """Return how many more documents a job's source may yield; generated sources have no limit."""
    return max(0, limit - kept[job.source]) if limit and not job.generated else 1 << 62


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., "Future[Counts]"]]:
    """Yield a `submit` that runs functions in worker processes, or in this process for one worker.

    Processes are spawned, not forked: threads of this one (torch, fsspec) would not survive a fork.
    """
    if workers <= 1:
        yield _here
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_follow_parent)
    known: set[BaseProcess] = set()

    def submit(*arguments: Any) -> "Future[Counts]":
        future = pool.submit(*arguments)
        known.update(multiprocessing.active_children())
        return future

    try:
        yield submit
    except BrokenProcessPool as error:
        pool.shutdown()
        raise UserError(
            f"A worker process {describe_exit(_first_code(known))}; run the same command to resume, with fewer "
            "--workers if it ran out of memory."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _first_code(processes: Iterable[BaseProcess]) -> int | None:
    """Return the exit code of the process that ended first; the pool then terminates the others by SIGTERM."""
    codes = [process.exitcode for process in processes]
    return next((code for code in codes if code not in (None, 0, -signal.SIGTERM)), -signal.SIGTERM)


def _here(function: Callable[..., Counts], *arguments: Any) -> "Future[Counts]":
    future: Future[Counts] = Future()
    future.set_result(function(*arguments))
    return future


def _follow_parent() -> None:
    """Make a worker end silently on Ctrl-C, and when its parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
