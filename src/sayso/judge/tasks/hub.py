"""Read a task's items from the Hugging Face hub, once: its data set becomes a file of the task's form in the cache.

Takes the name of the task's file, and a revision of the data set; returns the file with the revision that it has. What
is in the cache is not fetched again, so that an evaluation can be repeated offline, on the same items.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sayso.base.errors import UserError, require
from sayso.base.files import read_object, sha256, write_atomic, write_json
from sayso.base.intact import cache_folder
from sayso.base.jsonl import BadRows
from sayso.judge.tasks.hub_sets import SETS, HubSet
from sayso.judge.tasks.item import item_of
from sayso.text import hub
from sayso.text.files import rows_of_lines, rows_of_parquet, suffix_of

_SHORT = 12  # hex digits that tell revisions apart


@dataclass(frozen=True)
class HubItems:
    """A task's items from the hub, in the cache."""

    path: Path
    source: str
    """Address of the data set, as a source of `sayso prepare` is written."""
    revision: str
    """The commit of the data set, or a hash of its rows if it has none."""


def hub_items(file: str, revision: str = "", cache: Path | None = None) -> HubItems:
    """Return the items of the task with a file of this name, fetched if they are not in the cache.

    `revision` is a branch, tag or commit of the data set; "" = the main branch at the time of the first use. Raises
    `UserError` if the hub cannot be reached, and for a data set with other columns; nothing is left in the cache then.
    """
    found = SETS[file]
    folder = (cache or cache_folder() / "tasks") / quote(file.partition(".")[0], safe="")
    path = folder / f"{quote(revision or 'main', safe='')}.jsonl"
    about = path.with_suffix(".json")
    if about.is_file() and path.is_file():
        known = read_object(about, "source", "revision", "sha256")
        if known["sha256"] == sha256(path):
            return HubItems(path, str(known["source"]), str(known["revision"]))
    commit = _commit(found.name, revision)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(found, commit or revision))
    digest = hash_of(text.encode()).hexdigest()
    source, held = f"hf://{found.name}?split={found.split}", (commit or digest)[:_SHORT]
    write_atomic(path, text)
    write_json(about, {"source": source, "revision": held, "sha256": digest})  # last: without it the items do not count
    return HubItems(path, source, held)


def _commit(name: str, revision: str) -> str:
    """Return the commit that a revision of a data set is now; "" for an address that is not the hub's."""
    if not hub.ROOT.startswith("hf://"):
        return ""
    client = require("huggingface_hub", "data")
    repository = "/".join(name.split("/")[:2])
    try:
        return str(client.HfApi().dataset_info(repository, revision=revision or None).sha)
    except Exception as error:  # of many kinds: network, names, gates
        raise UserError(f"'{repository}' cannot be read from the hub: {_first_line(error)}") from error


def _rows(found: HubSet, revision: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a data set in the words of the task's file. Raises `UserError` if one does not have them."""
    at = f"hf://{found.name}"
    for file in hub.hub_files(found.name, found.split, revision, hub.ROOT).files:
        for row in _rows_of(file.where, at):
            try:
                for one in found.rows(row):
                    item_of(one)
                    yield one
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                columns = ", ".join(row)
                raise UserError(f"'{at}' has other columns than expected ({columns}): {_first_line(error)}") from error


def _rows_of(where: str, at: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of the hub. Raises `UserError` if it cannot be read to its end."""
    bad = BadRows()
    try:
        if suffix_of(where) == ".parquet":
            yield from rows_of_parquet(where, bad)
        else:
            yield from (row for row, _ in rows_of_lines(where, bad))
    except UserError:
        raise
    except Exception as error:  # each store's client has its own errors
        raise UserError(f"'{at}' cannot be read from the hub: {_first_line(error)}") from error
    bad.check()


def _first_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
