"""Errors for a training step that does not fit in memory: the settings in effect, and which one to lower."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sayso.base.device import Device, bytes_requested, free_memory, out_of_memory
from sayso.base.errors import UserError
from sayso.batch.batch import Batch
from sayso.model import ModelConfig
from sayso.train.layout import Layout, layout_for
from sayso.train.memory import activation_bytes, fixed_bytes, rows_that_fit
from sayso.train.options import Training

BATCH_BYTES = 20  # per position: ids and targets of 8 bytes, a document of 4


@contextmanager
def explain_out_of_memory(
    config: ModelConfig, batch: Callable[[], Batch], layout: Layout, kind: str, *, recompute: bool
) -> Iterator[None]:
    """Turn an out-of-memory error into a `UserError` that says what to lower; `batch` returns any batch of the run."""
    free = free_memory(kind)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        example = batch()
        step = Step(config, example.items, example.ids.numel() // example.items, layout, kind, recompute)
        raise UserError(f"Out of memory with {_figures(step, free, bytes_requested(str(error)))}") from error


@dataclass(frozen=True)
class Step:
    """What determines the memory of a step."""

    config: ModelConfig
    rows: int
    """Rows, pairs or prompts of the batch, as counted by --rows."""
    tokens: int
    """Tokens per row."""
    layout: Layout
    kind: str
    """Kind of the device."""
    recompute: bool
    all_weights: bool = True
    """Whether all weights are trained, rather than only adapters."""

    @property
    def at_once(self) -> int:
        """Rows that a process computes at once."""
        return -(-self.rows // self.layout.parts)

    @property
    def least(self) -> int:
        """Minimum bytes of the step: the batch itself, tensors kept for the backward pass, and the rest."""
        row = activation_bytes(self.config, self.tokens, self.layout.precision, recompute=self.recompute)
        fixed = fixed_bytes(self.config, self.layout.processes, self.kind) if self.all_weights else 0
        return fixed + self.layout.processes * self.at_once * row + BATCH_BYTES * self.rows * self.tokens


def layout_that_fits(
    options: Training, config: ModelConfig, rows: int, tokens: int, device: Device, *, lora: bool = False
) -> Layout:
    """Return the layout of a step of `rows` rows of at least `tokens`; raise `UserError` if it exceeds the memory."""
    layout = layout_for(options, rows, device)
    check_memory(Step(config, rows, tokens, layout, device.kind, options.recompute, all_weights=not lora))
    return layout


def check_memory(step: Step) -> None:
    """Raise `UserError` for a step that needs more memory than is free, before allocating any of it.

    On a CPU only: Linux would grant the memory and then kill the process. A GPU fails by itself.
    """
    free = free_memory(step.kind) if step.kind == "cpu" else None
    if free is None or step.least <= free:
        return
    shape = (free, step.config, step.tokens, step.layout.processes, step.layout.precision, step.kind)
    if step.all_weights and not rows_that_fit(*shape, recompute=True):
        raise UserError(
            f"There is not enough memory to train this model on rows of {step.tokens:,} tokens: a step of one row "
            f"takes about {_size(replace(step, rows=1).least)}, and {_size(free)} are free; use a smaller model, or "
            "shorter rows (--context, --row-tokens)."
        )
    if BATCH_BYTES * step.rows * step.tokens > free / 2:
        raise UserError(f"There is not enough memory for a batch of {step.rows:,} rows; lower --rows.")
    raise UserError(f"There is not enough memory for {_figures(step, free, None)}")


def _figures(step: Step, free: int | None, wanted: int | None) -> str:
    config, layout, recompute = step.config, step.layout, step.recompute
    rows, tokens, at_once = step.rows, step.tokens, step.at_once
    row = activation_bytes(config, tokens, layout.precision, recompute=recompute)
    fits = None
    if free is not None:
        fits = rows_that_fit(free, config, tokens, layout.processes, layout.precision, step.kind, recompute=recompute)
    figures = [f"each row keeps about {_size(row)}"]
    figures += [f"{_size(free)} were free"] if free is not None else []
    figures += [f"{_size(wanted)} more were requested"] if wanted else []
    return (
        f"{rows} rows x {tokens} tokens, {at_once} at once in each of "
        f"{layout.processes} processes {'with' if recompute else 'without'} --recompute ({', '.join(figures)}); "
        f"{_advice(at_once, fits, layout.processes, recompute)}."
    )


def _advice(at_once: int, fits: int | None, processes: int, recompute: bool) -> str:
    """Return which options to add: fewer rows at once, at most half as many as failed, then slower alternatives."""
    lower = at_once // 2 if fits is None else min(fits, at_once // 2)
    flags = [f"--micro-rows {max(1, lower)}"] if at_once > 1 else []
    if not lower or at_once == 1:
        flags += ["--recompute"] if not recompute else ["--processes 1"] if processes > 1 else []
    if not flags:
        return "use a smaller model, shorter rows (--row-tokens), or a machine with more memory"
    return f"add {' and '.join(flags)} and repeat the command to resume"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
