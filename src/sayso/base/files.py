r"""Reading and writing files so that nothing is ever half there.

A write goes to a temporary name beside its target and is renamed when it is complete: whoever looks sees the old
content or the new, and a process killed in between loses nothing. JSON is UTF-8 with "\\n"; rows are in `jsonl.py`.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError

FULL = ("No space left on device", "database or disk is full", "Disk quota exceeded", "File too large")
FULL_CODES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any error it is removed.

    Raises `UserError` for a folder, a device or a pipe, which a file must not replace.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"'{path}' is not a regular file, so it is not replaced by one; choose another path.")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    part = Path(name)
    part.chmod(0o644)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it replaces `path`, on any error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    part.chmod(0o755)
    try:
        yield part
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            path.replace(old / path.name)
            part.replace(path)
            shutil.rmtree(old)
        else:
            part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write text (UTF-8) or bytes to `path`, wholly or not at all; parents are made."""
    with atomic_file(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


def disk_full(error: BaseException) -> bool:
    """Whether an error, also one of a library's own kind (safetensors, SQLite), means that no more can be written."""
    known = isinstance(error, OSError) and error.errno in FULL_CODES
    return known or any(mark in str(error) for mark in FULL)


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read one JSON file; a missing or malformed one is a `UserError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"There is no file '{path}'.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is not valid JSON ({error}); write it again or restore it.") from error


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
