"""List the files of some kinds in a folder, except files about the data and files that a life wrote.

A cloned data set has a card and a license next to its data, and a corpus folder may contain a life: neither is
training text.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.life import is_life
from sayso.text.document import File
from sayso.text.files import suffix_of

ABOUT = re.compile(
    r"(readme|licen[cs]e|copying)([-_.].*)?"
    r"|(notice|changelog|contributing|citation|code_of_conduct|security|authors|dataset_infos?|dataset_dict)\.\w+",
    re.IGNORECASE,
)
"""Names of files about data, such as a card or a license."""
MADE = ("models", "runs", "tokenizer", "data/text", "data/chat", "data/pairs", "data/feedback", "data/puzzles")
"""Folders that acts write into a life; everything else is the user's."""


@dataclass(frozen=True)
class Found:
    """The files below a path, and descriptions of what was ignored."""

    files: tuple[File, ...]
    ignored: tuple[str, ...] = ()


def found_below(path: Path, kinds: Sequence[str]) -> Found:
    """Return the files of some kinds below a folder, sorted; those about the data only if there are no others."""
    lives: list[Path] = []
    known = sorted(file for file in _walk(path, lives) if suffix_of(file.name, kinds) and file.is_file())
    about = [file for file in known if is_about(file.name)]
    if len(about) == len(known):
        about = []
    ignored = [str(file.relative_to(path)) for file in about]
    ignored += [f"data of the life in '{life}'" for life in lives]
    left_out = set(about)
    return Found(tuple(file_of(file) for file in known if file not in left_out), tuple(ignored))


def is_about(name: str) -> bool:
    """Whether a file of this name is about data, such as a data set's card or license."""
    return ABOUT.fullmatch(name) is not None


def file_of(path: Path) -> File:
    """Return a file with its size, and its modification time as its mark."""
    facts = path.stat()
    return File(str(path), facts.st_size, str(facts.st_mtime_ns))


def _refuse(error: OSError) -> None:
    raise UserError(f"'{error.filename}' cannot be read ({error.strerror}); check its permissions.") from error


def _walk(path: Path, lives: list[Path]) -> Iterator[Path]:
    """Yield the visible files below a folder, except those of a life, whose folder is added to `lives`."""
    for name, folders, files in os.walk(path, onerror=_refuse):
        here = Path(name)
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for life in (here, here.parent):
            made = [folder for folder in folders if str((here / folder).relative_to(life)) in MADE]
            if made and is_life(life):
                folders[:] = [folder for folder in folders if folder not in made]
                if life not in lives:
                    lives.append(life)
        yield from (here / file for file in files if not file.startswith("."))
