"""Compiles the C++ sources at first use; returns a library for ctypes, or the reason why there is none.

The library is built for the processor it runs on and stored in the user's cache. Its name is a hash of the sources, the
compiler with its predefined macros, and torch's version. It is written atomically.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from sayso.base.files import atomic_file
from sayso.base.intact import cache_folder

SOURCES = Path(__file__).parent
COMPILERS = ("g++", "clang++")
_FLAGS = (
    *("-std=c++20", "-O3", "-march=native", "-fPIC", "-fopenmp"),
    "-ffp-contract=off",  # the same rounding in every place where code is inlined
    *("-fno-math-errno", "-Wno-psabi"),
)


@cache
def library() -> ctypes.CDLL | str:
    """Return the library, compiled now if it is not in the cache, or the reason why there is none."""
    return build(cache_folder(), _compilers())


@cache
def version() -> str:
    """Return a hash of everything that the results of the library depend on, the kind of processor included.

    "none" without a compiler that works.
    """
    compiler = next(filter(None, map(shutil.which, _compilers())), None)
    try:
        return _digest(compiler) if compiler else "none"
    except (subprocess.CalledProcessError, OSError):
        return "none"


def _compilers() -> Sequence[str]:
    chosen = os.environ.get("CXX")
    return (chosen,) if chosen else COMPILERS


def build(folder: Path, compilers: Sequence[str] = COMPILERS) -> ctypes.CDLL | str:
    """Return the library in a folder, compiled with the first available compiler if missing, or the reason why not."""
    compiler = next(filter(None, map(shutil.which, compilers)), None)
    if compiler is None:
        return f"there is no C++ compiler ({' or '.join(compilers)})"
    try:
        path = folder / f"forward-{_digest(compiler)}.so"
        if not path.exists():
            with atomic_file(path) as part:
                _output_of(compiler, *_FLAGS, "-shared", SOURCES / "forward.cpp", *_openmp(), "-o", part)
        return ctypes.CDLL(str(path))
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.decode(errors="replace").splitlines() if "error" in line] or [
            "no reason given"
        ]
        return f"'{compiler}' could not compile it ({lines[0].strip()})"
    except OSError as error:
        return f"it could not be stored or loaded ({error})"


def _digest(compiler: str) -> str:
    """Return a hash of everything the library depends on; compiler macros include the version and the processor."""
    digest = hashlib.sha256(_output_of(compiler, *_FLAGS, "-dM", "-E", "-x", "c++", os.devnull))
    for path in sorted((*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h"))):
        digest.update(path.read_bytes())
    digest.update(repr((_FLAGS, torch.__version__, [str(path) for path in _openmp()])).encode())
    return digest.hexdigest()[:16]


def _openmp() -> list[Path]:
    """Return torch's own OpenMP library, so that both share one thread pool; empty to use the system's."""
    return sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*.so*"))[:1]


def _output_of(*command: str | Path) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, text=False).stdout
