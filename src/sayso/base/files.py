r"""Read and write files and folders, atomically.

A write goes to a temporary name next to its target and is renamed when complete: readers see the old
content or the new, and a process killed in between loses nothing. JSON is UTF-8 with "\\n"; rows are in `jsonl.py`.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sayso.base.errors import UserError
from sayso.base.replace import put, put_back, refuse_file, sweep, sync_all, temporary
from sayso.base.seal import seal, unseal

_T = TypeVar("_T")

FULL = ("No space left on device", "database or disk is full", "Disk quota exceeded", "File too large")
FULL_CODES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, on any error it is removed.

    Raises `UserError` if `path` is a folder, a device or a pipe, which a file must not replace.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"'{path}' is not a regular file and cannot be replaced; choose another path.")
    with temporary(path, folder=False) as part:
        yield part
        part.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; on success it replaces `path`, on any error it is removed.

    Its files are synced to disk before it is renamed. A reader that opens `path` meanwhile, or after a kill at any
    moment, finds the complete old or new folder; where the file system cannot exchange two names, after `put_back`.
    """
    refuse_file(path)
    sweep(path.parent)
    with temporary(path, folder=True) as part:
        yield part
        sync_all(part)
        put(part, path)


def read_together(folder: Path, read: Callable[[], _T]) -> _T:
    """Return the result of `read` on several files of a folder; read again if the folder is replaced meanwhile."""
    while True:
        try:
            handle = os.open(put_back(folder), os.O_RDONLY)  # while open, no other folder can get its inode number
        except FileNotFoundError:
            if put_back(folder).exists():  # it was between two renames
                continue
            return read()
        except OSError:
            return read()
        try:
            found = read()
        except (UserError, OSError):
            if _is_at(handle, folder):
                raise
        else:
            if _is_at(handle, folder):
                return found
        finally:
            os.close(handle)


def _is_at(handle: int, folder: Path) -> bool:
    """Whether a folder is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except OSError:  # between two renames, or gone, which the next attempt to open it tells
        return False


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write text (UTF-8) or bytes to `path`, atomically; creates parent folders."""
    with atomic_file(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


def disk_full(error: BaseException) -> bool:
    """Whether an error, including those of libraries (safetensors, SQLite), means that the disk is full."""
    known = isinstance(error, OSError) and error.errno in FULL_CODES
    return known or any(mark in str(error) for mark in FULL)


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read one JSON file. Raises `UserError` if it is missing, malformed or damaged."""
    try:
        return unseal(json.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError as error:
        raise UserError(f"There is no file '{path}'.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is damaged or not valid JSON ({error}); restore it, or create it again.") from error


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Read a JSON object that must have these keys. Raises `UserError` otherwise, and as `read_json` does."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"'{path}' is damaged: it must hold a JSON object; restore it, or create it again.")
    if missing := [key for key in keys if key not in value]:
        raise UserError(f"'{path}' is damaged: it lacks '{missing[0]}'; restore it, or create it again.")
    return value


def write_json(path: Path, value: Any, *, sealed: bool = False) -> None:
    """Write a value as indented JSON, atomically; `sealed` adds a checksum to an object, which `read_json` verifies."""
    write_atomic(path, json.dumps(seal(value) if sealed else value, indent=2, ensure_ascii=False) + "\n")
