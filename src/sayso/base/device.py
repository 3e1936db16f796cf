"""The compute device: its selection, its threads, and memory use.

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

MAX_THREADS = 1024
_KINDS = ("cpu", "cuda", "mps")
STATUS, CPUINFO = Path("/proc/self/status"), Path("/proc/cpuinfo")
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class Device:
    """A compute device: its kind as torch names it, and its number of CPU threads."""

    kind: str
    threads: int


def pick_device(name: str | None = None) -> Device:
    """Return the named device, or the best available one (CUDA, then Apple's MPS, then the CPU), with its threads set.

    Raises `UserError` for a name that is unknown or not available here.
    """
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name is None:
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if name not in _KINDS:
        raise UserError(f"The device must be one of {', '.join(_KINDS)}; got '{name}'.{nearest(name, _KINDS)}")
    if not available[name]:
        raise UserError(f"This machine has no '{name}' device that torch can use; omit --device to use the best one.")
    threads = _threads_from_environment() or cores()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # denormals in a near-converged optimizer state slow a CPU several times
    return Device(name, threads)


def _threads_from_environment() -> int:
    """Return the thread count from OMP_NUM_THREADS, the first of a list such as "4,2"; 0 if it sets none."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(int(first), MAX_THREADS) if first.isascii() and first.isdigit() and len(first) < 10 else 0


def has_bf16(kind: str) -> bool:
    """Whether training may multiply in bfloat16 on this kind of device: a GPU with native support, a CPU always."""
    import torch

    return kind == "cpu" or (kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))


def fast_bf16_cpu() -> bool:
    """Whether this CPU has bfloat16 dot-product instructions (AMX or AVX512-BF16); False except on Linux."""
    text = CPUINFO.read_text() if CPUINFO.exists() else ""
    return any(flag in text for flag in ("amx_bf16", "avx512_bf16"))


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Allow only deterministic algorithms of torch (pytorch.org/docs, "Reproducibility").

    An operation without one raises `UserError`. For a GPU, `make_stage` sets `CUBLAS_WORKSPACE_CONFIG` earlier.
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
            f"--deterministic requires operations with reproducible results, and '{name}' has none on this device; "
            "omit --deterministic and repeat the command to resume."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.benchmark, cudnn.deterministic = before[1:]


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def moved(x: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Return a tensor on a device; a copy from the CPU to a GPU does not wait for the GPU's queued work."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MB since its start, or since `reset_peak_memory` on Linux."""
    if STATUS.exists():
        return _kilobytes(STATUS, "VmHWM:") / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def free_memory(kind: str) -> int | None:
    """Return the bytes that this process can still allocate on a device of this kind; None if unknown."""
    import torch

    if kind == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    if kind != "cpu" or not MEMINFO.exists():
        return None
    free = [_kilobytes(MEMINFO, "MemAvailable:")]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free.append(limit - _kilobytes(STATUS, "VmSize:"))
    with suppress(OSError, ValueError):  # the container's limit; "max" means none
        free.append(int((CGROUP / "memory.max").read_text()) - int((CGROUP / "memory.current").read_text()))
    return max(0, min(free))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: Python's own, or torch's on a CPU or a GPU."""
    from_torch = isinstance(error, RuntimeError) and any(mark in str(error) for mark in NO_MEMORY)
    return from_torch or isinstance(error, MemoryError)


def bytes_requested(text: str) -> int | None:
    """Return how many bytes torch tried to allocate, from the text of its error, or None."""
    found = re.search(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMG]iB)", text)
    units = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return round(float(found[1].rstrip(".")) * units[found[2]]) if found else None


def _kilobytes(path: Path, name: str) -> int:
    """Return a value in bytes from a /proc file that lists kilobytes."""
    line = next(line for line in path.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 2**10


def reset_peak_memory() -> None:
    """Reset `peak_memory_mb` to the current memory, if the kernel supports it (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: resets the resident high-water mark
    except OSError:
        return
