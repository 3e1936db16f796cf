"""Where the numbers are crunched: the device, its threads, and how much memory was used.

torch is imported inside the functions, so that the command line starts without it.
"""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sayso.base.errors import UserError, nearest

KINDS = ("cpu", "cuda", "mps")
STATUS, CPUINFO = Path("/proc/self/status"), Path("/proc/cpuinfo")


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
    threads = int(os.environ.get("OMP_NUM_THREADS") or _cores())
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # denormals in a near-converged optimizer state slow a CPU several times
    return Device(name, threads)


def has_bf16(kind: str) -> bool:
    """Whether training may multiply in bfloat16 on this kind of device: a GPU by its own units, a CPU always."""
    import torch

    return kind == "cpu" or (kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))


def fast_bf16_cpu() -> bool:
    """Whether this CPU says that it has instructions for bfloat16 products (AMX or AVX512-BF16); Linux alone tells."""
    text = CPUINFO.read_text() if CPUINFO.exists() else ""
    return any(flag in text for flag in ("amx_bf16", "avx512_bf16"))


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Allow only algorithms of torch that give the same bits again (pytorch.org/docs, "Reproducibility").

    An operation that has none is a `UserError`. On a GPU `CUBLAS_WORKSPACE_CONFIG` must be set before the first product.
    """
    if not on:
        yield
        return
    import torch

    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        name = str(error).split()[0]
        raise UserError(
            f"With --deterministic each operation has to give the same bits again, and '{name}' cannot on this device; "
            "leave --deterministic away and repeat the command, which goes on."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.benchmark, cudnn.deterministic = before[1:]


def _cores() -> int:
    """Return the cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
