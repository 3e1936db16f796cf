"""Options shared by all acts that train."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

from sayso.base.config import plain
from sayso.base.ranges import Options, Positive, Processes, Rows, Seed, Weight

TRANSIENT = (
    *("life", "restart", "replace", "on_divergence", "save_seconds", "keep", "recompute"),
    *("processes", "micro_rows", "device", "deterministic"),  # these change results only by rounding
    *("mirror", "snapshots"),
)
"""Options that may differ when a run is resumed."""
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Training(Options):
    """Options shared by the acts that train."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    save_seconds: Weight = 60.0
    """Seconds between checkpoints."""
    keep: Positive = 2
    """Number of recent checkpoints to keep."""
    on_divergence: Literal["stop", "skip", "rewind"] = "stop"
    """If the loss spikes or is not finite: save and stop, skip the batch, or rewind to a checkpoint."""
    processes: Processes | None = None
    """Single-threaded processes that share a batch on a CPU. Default: one per core if each gets a row."""
    micro_rows: Rows | None = None
    """Micro-batch size: rows that a process computes at once, to save memory. Default: all its rows."""
    recompute: bool = False
    """Save memory with activation checkpointing: recompute activations in the backward pass."""
    precision: str = "auto"
    """Precision of matrix products: fp32, bf16 (weights and sums stay fp32), or auto (bf16 on GPUs that support it)."""
    deterministic: bool = False
    """Use only deterministic algorithms, on GPUs too."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    mirror: tuple[str, ...] = ()
    """Also send the metrics of each step to tensorboard, trackio or wandb; may be repeated."""
    seed: Seed = 0
    """Random seed of initial weights, data order and samples."""
    restart: bool = False
    """Start over if there is an unfinished run with other options."""
    replace: bool = False
    """Replace a model of this name from another run."""

    @property
    def recorded(self) -> dict[str, Any]:
        """The options that identify a run, JSON-ready: all but those that may differ when it is resumed."""
        return {key: value for key, value in plain(self).items() if key not in TRANSIENT}
