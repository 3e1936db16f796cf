"""Detect damaged files by their SHA-256.

The writer of a file records its digest, in a manifest or next to it (`recorded`). Computed digests are cached
in the user's cache with the file's size, times and inode, so a large file is read only once.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256, write_atomic

DIGEST_SUFFIX = ".sha256"  # of the file that holds a file's digest
CACHE = "digests.json"
CACHE_SIZE = 512  # files; the most recently checked ones are kept
SETTLE_SECONDS = 2.0  # a file changed more recently may change again within the resolution of its times


def cache_folder() -> Path:
    """Return the folder of the cache: $SAYSO_CACHE, else $XDG_CACHE_HOME/sayso, else ~/.cache/sayso."""
    own, shared = os.environ.get("SAYSO_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "sayso"


def digest_of(path: Path) -> str:
    """Return a file's SHA-256 in hex, from the cache if the file has not changed since it was computed.

    The cache is optional: if it is not writable, the file is read each time.
    """
    found, state = path.stat(), _state(path)
    known = _cached()
    if isinstance(entry := known.get(state[0]), list) and entry[:-1] == state[1:]:
        return str(entry[-1])
    digest = sha256(path)
    if _state(path) == state and time.time() - max(found.st_mtime, found.st_ctime) > SETTLE_SECONDS:
        known.pop(state[0], None)
        kept = dict([*known.items(), (state[0], [*state[1:], digest])][-CACHE_SIZE:])
        with suppress(OSError, RuntimeError):
            write_atomic(cache_folder() / CACHE, json.dumps(kept))
    return digest


def check_digest(path: Path, expected: object, fix: str) -> None:
    """Raise `UserError` if a file is missing or its SHA-256 is not `expected`; `fix` says how to fix it."""
    if not path.is_file():
        raise UserError(f"'{path}' is missing; {fix}.")
    if digest_of(path) != expected and sha256(path) != expected:  # the cache itself may be damaged
        raise UserError(f"'{path}' is damaged: its SHA-256 differs from the one recorded when it was written; {fix}.")


@contextmanager
def recorded(path: Path) -> Iterator[None]:
    """Yield to write a file, then write its SHA-256 next to it, in the format of `sha256sum`."""
    record = path.with_name(path.name + DIGEST_SUFFIX)
    record.unlink(missing_ok=True)  # first: a kill in between must not leave the digest of another file
    yield
    write_atomic(record, f"{sha256(path)}  {path.name}\n")


def check_recorded(path: Path, fix: str) -> None:
    """Raise `UserError` if a file does not match the digest next to it. A file without a digest is accepted."""
    record = path.with_name(path.name + DIGEST_SUFFIX)
    if record.exists():
        check_digest(path, record.read_bytes().split(b" ")[0].decode("ascii", "replace"), fix)


def check_listed(folder: Path, prefix: str) -> None:
    """Raise `UserError` if a data file whose name begins with `prefix` does not match its folder's manifest.

    A folder without a manifest, and files that it does not list, are accepted.
    """
    manifest = folder / "manifest.json"
    listed = read_object(manifest).get("files", {}) if manifest.exists() else {}
    for name, facts in listed.items():
        if name.startswith(prefix):
            digest = facts.get("sha256") if isinstance(facts, dict) else facts
            check_digest(folder / name, digest, f"create it again; if you changed it on purpose, remove '{manifest}'")


def _state(path: Path) -> list[Any]:
    """Return a key that changes when a file changes: its path first, then size, times and inode."""
    found = path.stat()
    return [str(path.resolve()), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _cached() -> dict[str, Any]:
    try:
        known = json.loads((cache_folder() / CACHE).read_bytes())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home directory, or nested too deeply
        return {}
    return known if isinstance(known, dict) else {}
