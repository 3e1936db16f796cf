"""What a person is told when a training step does not fit into memory: the settings in force, and what to lower."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sayso.base.device import bytes_wanted, free_memory, out_of_memory
from sayso.base.errors import UserError
from sayso.batch.batch import Batch
from sayso.batch.judged import JudgedBatch
from sayso.batch.pairs import PairBatch
from sayso.model import ModelConfig
from sayso.train.memory import activation_bytes, rows_that_fit

if TYPE_CHECKING:
    from sayso.train.layout import Layout


@contextmanager
def memory_told(
    config: ModelConfig, batch: Callable[[], Batch], layout: "Layout", kind: str, *, recompute: bool
) -> Iterator[None]:
    """Turn running out of memory into a `UserError` that says what to lower; `batch` gives one of the run's."""
    free = free_memory(kind)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(_sentence(error, free, config, batch(), layout, kind, recompute)) from error


def _sentence(
    error: Exception,
    free: int | None,
    config: ModelConfig,
    batch: Batch,
    layout: "Layout",
    kind: str,
    recompute: bool,
) -> str:
    rows = _rows(batch)
    tokens = batch.ids.shape[1] * len(batch.ids) // rows
    at_once = -(-rows // layout.parts)
    row = activation_bytes(config, tokens, layout.precision, recompute=recompute)
    fits = None
    if free is not None:
        fits = rows_that_fit(free, config, tokens, layout.processes, layout.precision, kind, recompute=recompute)
    wanted = bytes_wanted(str(error))
    figures = [f"a row keeps about {_size(row)}"]
    figures += [f"{_size(free)} were free"] if free is not None else []
    figures += [f"{_size(wanted)} more were asked for"] if wanted else []
    return (
        f"There was not enough memory for {rows} rows x {tokens} tokens, {at_once} at once in each of "
        f"{layout.processes} processes {'with' if recompute else 'without'} --recompute ({', '.join(figures)}); "
        f"{_advice(at_once, fits, layout.processes, recompute)}."
    )


def _rows(batch: Batch) -> int:
    """Return how many rows a person asked for: of pairs and of judged prompts, each takes several."""
    if isinstance(batch, JudgedBatch):
        return len(batch.judged)
    return len(batch.ids) // (2 if isinstance(batch, PairBatch) else 1)


def _advice(at_once: int, fits: int | None, processes: int, recompute: bool) -> str:
    """Return what to add: as many rows as the estimate says, or half of those that failed, then slower means."""
    lower = at_once // 2 if fits is None else min(fits, at_once // 2)
    asked = [f"--micro-rows {max(1, lower)}"] if at_once > 1 else []
    if not lower or at_once == 1:
        asked += ["--recompute"] if not recompute else ["--processes 1"] if processes > 1 else []
    if not asked:
        return "take a smaller model, shorter rows (--row-tokens), or a machine with more"
    return f"add {' and '.join(asked)} and repeat the command, which goes on"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
