"""Where the numbers are crunched: the device, its threads, and how much memory was used.

torch is imported inside the functions, so that the command line starts without it.
"""

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sayso.base.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

KINDS = ("cpu", "cuda", "mps")
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Device:
    """One place to compute: its kind as torch names it, and how many CPU threads it may use."""

    kind: str
    threads: int


def pick_device(name: str | None = None) -> Device:
    """Return the named device, or the best one here (CUDA, then Apple's MPS, then the CPU), with its threads set.

    Raises `UserError` for a name that is unknown or not available here.
    """
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name is None:
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if name not in KINDS:
        raise UserError(f"A device is one of {', '.join(KINDS)}; got '{name}'.{nearest(name, KINDS)}")
    if not available[name]:
        raise UserError(f"This machine has no '{name}' device that torch can use; leave --device away to use the best.")
    threads = int(os.environ.get("OMP_NUM_THREADS") or cores())
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # denormals in a near-converged optimizer state slow a CPU several times
    return Device(name, threads)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def moved(x: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Return a tensor on a device; what goes from the CPU to a GPU does not wait for what the GPU is at."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def peak_memory_mb() -> float:
    """Return this process's peak resident memory in MB since it began, or since `reset_peak_memory` on Linux."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def reset_peak_memory() -> None:
    """Let `peak_memory_mb` count from now, where the kernel can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: resets the resident high-water mark
    except OSError:
        return
