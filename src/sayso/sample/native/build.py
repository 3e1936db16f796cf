"""Compiling the C++ at first use: source files enter, a library that ctypes calls leaves, or one sentence why not.

The library is made for the processor it runs on and kept in the user's cache, under a name that says what it was made
of: the sources, the compiler with all it knows of the processor, and torch. It appears there wholly or not at all.
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
    "-ffp-contract=off",  # a number is computed in the same steps wherever the compiler puts it
    *("-fno-math-errno", "-Wno-psabi"),
)


@cache
def library() -> ctypes.CDLL | str:
    """Return the library, compiled now if it never was on this machine, or in one sentence why there is none."""
    chosen = os.environ.get("CXX")
    return build(cache_folder(), (chosen,) if chosen else COMPILERS)


def build(folder: Path, compilers: Sequence[str] = COMPILERS) -> ctypes.CDLL | str:
    """Return the library that lies in a folder, compiled by the first of the compilers that is there if it does not."""
    compiler = next(filter(None, map(shutil.which, compilers)), None)
    if compiler is None:
        return f"there is no C++ compiler ({' or '.join(compilers)})"
    try:
        path = folder / f"forward-{_digest(compiler)}.so"
        if not path.exists():
            with atomic_file(path) as part:
                _ran(compiler, *_FLAGS, "-shared", SOURCES / "forward.cpp", *_threads(), "-o", part)
        return ctypes.CDLL(str(path))
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.decode(errors="replace").splitlines() if "error" in line] or [
            "no reason given"
        ]
        return f"'{compiler}' could not compile it ({lines[0].strip()})"
    except OSError as error:
        return f"it could not be kept or loaded ({error})"


def _digest(compiler: str) -> str:
    """Return a name for all that the library depends on; the compiler's macros tell its version and the processor."""
    digest = hashlib.sha256(_ran(compiler, *_FLAGS, "-dM", "-E", "-x", "c++", os.devnull))
    for path in sorted((*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h"))):
        digest.update(path.read_bytes())
    digest.update(repr((_FLAGS, torch.__version__, [str(path) for path in _threads()])).encode())
    return digest.hexdigest()[:16]


def _threads() -> list[Path]:
    """Return torch's own library of threads, so that both share one pool; none where the system's is to be taken."""
    return sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*.so*"))[:1]


def _ran(*command: str | Path) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, text=False).stdout
