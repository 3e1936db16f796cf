"""Replace a folder by another in one step, and clean up after killed processes.

Linux exchanges two names in one system call. Elsewhere the old folder is renamed to `.NAME.sayso-old` first: if the
process is killed before the new one is in place, the next reader renames the old one back. Temporary
names contain `.sayso-new-` and are locked while they are written, so that only those of dead processes are removed.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sayso.base.errors import UserError

NEW, OLD = ".sayso-new-", ".sayso-old"
EXCHANGE, HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD on Linux
_ATTEMPTS = 100  # to replace a folder that other processes replace, too
UNKNOWN_SECONDS = 86_400.0  # without locks, temporary names older than a day are stale


@contextmanager
def temporary(path: Path, *, folder: bool) -> Iterator[Path]:
    """Yield an empty file or folder next to `path`, locked until the block ends and then removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part, handle = _made(path, folder)
    try:
        yield part
    finally:
        _remove(part)
        os.close(handle)


def put(part: Path, path: Path) -> None:
    """Move a finished folder to `path`; readers of `path` find the old folder or the new one at any time."""
    for attempt in range(_ATTEMPTS):
        put_back(path)
        try:
            if not os.path.lexists(path):
                part.rename(path)
            elif not exchange(part, path):
                _discard(_old(path), part.with_name(f"{part.name}-old"))  # left by a failed removal
                path.rename(_old(path))
                part.rename(path)
            break
        except OSError as error:  # another process has meanwhile created the folder, or restored the old one
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or attempt == _ATTEMPTS - 1:
                put_back(path)
                raise
    sync(path.parent)
    _discard(_old(path), part.with_name(f"{part.name}-old"))
    _remove(part)  # the old folder


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one system call; return False if the kernel or file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0)


def put_back(path: Path) -> Path:
    """Return `path`, after restoring its old content if a replacement was killed between its two renames."""
    if not path.exists() and path.name and (old := _old(path)).exists():
        with suppress(OSError):  # another process was first, or the file system is read-only
            old.rename(path)
    return path


def put_all_back(folder: Path) -> None:
    """Restore each folder in `folder` whose replacement was killed."""
    for old in folder.glob(f".*{OLD}"):
        put_back(folder / old.name[1 : -len(OLD)])


def sweep(folder: Path) -> None:
    """Remove what killed writers left in `folder`."""
    for leftover in folder.glob(f".*{NEW}*"):
        with suppress(OSError):
            handle = os.open(leftover, os.O_RDONLY)
            try:
                if _locked(handle, wait=False) or time.time() - leftover.stat().st_mtime > UNKNOWN_SECONDS:
                    _remove(leftover)
            finally:
                os.close(handle)


def sync(path: Path) -> None:
    """Sync a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(folder: Path) -> None:
    """Sync everything in a folder to disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            sync(Path(root) / name)
        sync(Path(root))


def refuse_file(path: Path) -> None:
    """Raise `UserError` if `path`, where a folder will be written, is a file."""
    if path.is_file():
        raise UserError(f"'{path}' is a file, but a folder must be written there; move it or choose another name.")


def _discard(old: Path, name: Path) -> None:
    """Remove a folder that was moved aside, renamed first so that no reader restores it half removed."""
    with suppress(FileNotFoundError):  # it does not exist, or another writer has just removed it
        old.rename(name)
        _remove(name)


def _made(path: Path, folder: bool) -> tuple[Path, int]:
    """Return a new temporary name next to `path` and the open handle that holds its lock."""
    prefix = f".{path.name}{NEW}"
    while True:
        if folder:
            part = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
        else:
            handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
            os.close(handle)
            part = Path(name)
        with suppress(FileNotFoundError):  # removed before it was locked
            part.chmod(0o755 if folder else 0o644)
            handle = os.open(part, os.O_RDONLY)
            _locked(handle, wait=True)
            if part.exists():
                return part, handle
            os.close(handle)


def _locked(handle: int, *, wait: bool) -> bool:
    """Lock an open file or folder while the handle is open; return whether that worked."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}{OLD}")


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder as far as possible; `sweep` removes the rest later."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
