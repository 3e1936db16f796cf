"""Where the numbers are crunched: the device, its threads, and how much memory was used.

torch is imported inside the functions, so that the command line starts without it.
"""

import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sayso.base.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

MOST_THREADS = 1024
KINDS = ("cpu", "cuda", "mps")
STATUS, CPUINFO = Path("/proc/self/status"), Path("/proc/cpuinfo")
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


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
    threads = _threads_asked() or cores()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # denormals in a near-converged optimizer state slow a CPU several times
    return Device(name, threads)


def _threads_asked() -> int:
    """Return what OMP_NUM_THREADS asks for, the first of a list such as "4,2"; 0 where it asks for no number."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(int(first), MOST_THREADS) if first.isascii() and first.isdigit() and len(first) < 10 else 0


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

    An operation that has none is a `UserError`. For a GPU, `CUBLAS_WORKSPACE_CONFIG` is set sooner, by `make_stage`.
    """
    if not on:
        yield
        return
    import torch

    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic
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
        return _kilobytes(STATUS, "VmHWM:") / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def free_memory(kind: str) -> int | None:
    """Return the bytes that this process may still take on a device of this kind; None where the system tells none."""
    import torch

    if kind == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    if kind != "cpu" or not MEMINFO.exists():
        return None
    free = [_kilobytes(MEMINFO, "MemAvailable:")]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free.append(limit - _kilobytes(STATUS, "VmSize:"))
    with suppress(OSError, ValueError):  # a container's own limit; "max" is none
        free.append(int((CGROUP / "memory.max").read_text()) - int((CGROUP / "memory.current").read_text()))
    return max(0, min(free))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: Python's, or that of torch on a CPU or a GPU."""
    told = isinstance(error, RuntimeError) and any(mark in str(error) for mark in NO_MEMORY)
    return told or isinstance(error, MemoryError)


def bytes_wanted(text: str) -> int | None:
    """Return how many bytes torch says that it tried to allocate, or None."""
    found = re.search(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMG]iB)", text)
    units = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return round(float(found[1].rstrip(".")) * units[found[2]]) if found else None


def _kilobytes(path: Path, name: str) -> int:
    """Return a figure of one of the kernel's tables, in bytes."""
    line = next(line for line in path.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 2**10


def reset_peak_memory() -> None:
    """Let `peak_memory_mb` count from now, where the kernel can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: resets the resident high-water mark
    except OSError:
        return
