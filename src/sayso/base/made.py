"""Track what Sayso created and may replace; all other files are the user's and are never overwritten or removed.

Every folder that Sayso creates holds a marker, `.sayso`. In a folder that is written at once, it lists all files, so
that files added later are noticed; in a run's folder, which grows, it lists nothing; next to single files that are
written repeatedly, such as a life's report, it lists those files.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.files import atomic_folder, write_json

MARKER = ".sayso"
_IGNORED = re.compile(r"\..+\.sayso-(new-\w+|old)|\.DS_Store")
"""Leftovers of killed writers in a folder, see `base/replace.py`, and files that file browsers add."""
_LOCK = re.compile(r"\..*|.*\block")
"""Names in a new run's folder that do not count as content: a lock, or hidden files."""


@contextmanager
def made_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` on success and gets a marker.

    Raises `UserError`, before and after, if `path` holds anything that Sayso did not create.
    """
    check_replaceable(path)
    with atomic_folder(path) as part:
        yield part
        check_replaceable(path)
        files = (file for file in part.rglob("*") if file.is_symlink() or not file.is_dir())
        names = sorted(file.relative_to(part).as_posix() for file in files)
        _write(part, [name for name in names if name != MARKER])


def check_replaceable(path: Path) -> None:
    """Raise `UserError` unless `path` does not exist, is an empty folder, or holds only what Sayso created."""
    _check_above(path)
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise UserError(f"Sayso must write a folder to '{path}', but {_kind(path)} is in the way; move it.")
    if (found := _foreign(path, path, _listed(path))) is not None:
        raise UserError(
            f"Sayso replaces only what it created; '{path}' holds '{found.relative_to(path)}', which it did not "
            "create: move it, or choose another --name or --life."
        )


def work_in(folder: Path) -> None:
    """Create a folder to work in, or continue in a marked one. Raises `UserError` if the folder is not Sayso's."""
    check_work(folder)
    if not (folder / MARKER).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, [])


def check_work(folder: Path) -> None:
    """Raise `UserError` unless `work_in` accepts the folder."""
    _check_above(folder)
    if (folder / MARKER).is_file():
        return
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"Sayso must write a folder to '{folder}', but {_kind(folder)} is in the way; move it.")
    if folder.is_dir() and (found := [path.name for path in folder.iterdir() if not _LOCK.fullmatch(path.name)]):
        raise UserError(
            f"Sayso writes only into folders that it created; '{folder}' holds '{min(found)}', which it did not "
            "create: move it, or choose another --name or --life."
        )


def is_work(folder: Path) -> bool:
    """Whether a folder was created by `work_in`."""
    return not folder.is_symlink() and (folder / MARKER).is_file() and _listed(folder) == set()


def own_files(*paths: Path) -> None:
    """Claim files in one folder that are rewritten, such as reports. Raises `UserError` for a user's file."""
    folder = paths[0].parent
    listed = _listed(folder)
    for path in paths:
        if os.path.lexists(path) and (path.name not in listed or path.is_symlink()):
            raise UserError(f"Sayso replaces only what it created; '{path}' is {_kind(path)} of yours: move it.")
    if not listed.issuperset(names := {path.name for path in paths}):
        _write(folder, sorted(listed | names))


def new_file(path: Path, option: str, replace: bool) -> None:
    """Check an output file named in `option`: an existing one is overwritten only with `--replace`.

    Raises `UserError` otherwise, and if it is a folder or belongs to a life.
    """
    _check_above(path)
    if path.is_dir():
        raise UserError(f"{option} must name a file; '{path}' is a folder.")
    if os.path.lexists(path) and not replace:
        raise UserError(f"'{path}' already exists; choose another {option}, or add --replace to overwrite it.")
    if os.path.lexists(path) and _belongs(path.absolute()):
        raise UserError(f"'{path}' belongs to a life and is not overwritten; choose another {option}.")


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise `UserError` if one of `inputs` is, or is inside, a folder that is about to be replaced."""
    for output in outputs:
        folder = output.resolve()
        for path in inputs:
            if path.resolve().is_relative_to(folder):
                raise UserError(
                    f"'{output}' is made from '{path}' and cannot replace it; choose another --name or --life."
                )


def _check_above(path: Path) -> None:
    """Raise `UserError` if one of the parents of a path is a file or a broken link."""
    for folder in path.parents:
        if os.path.lexists(folder) and not folder.is_dir():
            raise UserError(f"'{path}' cannot be written: '{folder}' is {_kind(folder)}, not a folder; move it.")


def _belongs(path: Path) -> bool:
    """Whether a file is listed by a marker above it, or is in a folder that Sayso works in."""
    above = (folder for folder in path.parents if (folder / MARKER).is_file())
    return any(is_work(folder) or path.relative_to(folder).as_posix() in _listed(folder) for folder in above)


def _foreign(folder: Path, top: Path, listed: set[str]) -> Path | None:
    """Return a file that the folder's marker does not list, or None; a nested folder may have its own marker.

    Empty folders are ignored.
    """
    for path in sorted(folder.iterdir()):
        if path.relative_to(top).as_posix() in listed or path.name == MARKER or _IGNORED.fullmatch(path.name):
            continue
        if path.is_symlink() or not path.is_dir():
            return path
        own = (path / MARKER).is_file()
        found = _foreign(path, path if own else top, _listed(path) if own else listed)
        if found is not None:
            return found
    return None


def _listed(folder: Path) -> set[str]:
    """Return the names that a folder's marker lists; an empty set if the marker is missing or damaged."""
    try:
        files = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return set(map(str, files)) if isinstance(files, list) else set()


def _write(folder: Path, names: list[str]) -> None:
    write_json(folder / MARKER, {"made_by": "sayso", "files": names})


def _kind(path: Path) -> str:
    return "a link" if path.is_symlink() else "a folder" if path.is_dir() else "a file"
