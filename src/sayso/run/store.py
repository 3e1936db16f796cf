"""Acts: export a whole store to a file of JSON Lines, import one, and add a list of prompts for people to answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sayso.base.errors import UserError, require
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import say
from sayso.base.made import new_file
from sayso.base.ranges import Options
from sayso.run.results import Written

if TYPE_CHECKING:
    from sayso.align.rl.prompts import Prompt
    from sayso.feedback.store import Store


@dataclass(frozen=True)
class ExportStore(Options):
    """Options of `sayso store export`."""

    to: Path
    """Output file, JSON Lines."""
    _: KW_ONLY
    replace: bool = False
    """Overwrite the file if it exists."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database to export, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class ImportStore(Options):
    """Options of `sayso store import`."""

    file: Path
    """File that `sayso store export` wrote."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database to import into, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class AddPrompts(Options):
    """Options of `sayso store prompts`."""

    file: Path
    """Prompts, JSON Lines: `{"prompt": ...}`, a text or a list of turns of which the last is the user's."""
    _: KW_ONLY
    name: str | None = None
    """Name of the list on the screen Rate. Default: that of the file."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database to add the prompts to, a path or an address. Default: that of the life."""


def export_store(options: ExportStore) -> Written:
    """Export all tables of a store, as they are at one moment, to a file of JSON Lines."""
    from sayso.feedback import export_store as exported

    with _opened(Life(options.life), options.store, must_exist=True) as store:
        new_file(options.to, "--to", options.replace)
        with locked(options.to):
            new_file(options.to, "--to", options.replace)
            counts = exported.export_store(store, options.to)
    say(f"Exported {sum(counts.values()):,} rows to {options.to}: {_shown(counts)}.")
    return Written(options.to)


def import_store(options: ImportStore) -> dict[str, Any]:
    """Add the rows of an exported store that this one does not have; return their numbers by table.

    All rows are added, or none if the file is damaged.
    """
    from sayso.feedback import import_store as imported

    if not options.file.is_file():
        raise UserError(f"There is no file '{options.file}'; make one with 'sayso store export'.")
    with _opened(Life(options.life), options.store) as store:
        found = imported.import_store(store, options.file)
    said = f"Imported {sum(found.added.values()):,} rows: {_shown(found.added)}"
    said += f"; {sum(found.known.values()):,} were there already" if found.known else ""
    if "aliases" in found.left_out:
        said += "; aliases that have a history here keep it"
    say(f"{said}.")
    return asdict(found)


def add_prompts(options: AddPrompts) -> int:
    """Add prompts of a file, to which people write replies on the screen Rate; return the number of new ones."""
    from sayso.align.rl.prompts import read_prompts
    from sayso.base.jsonl import BadRows

    bad = BadRows()
    prompts = [prompt.messages for prompt in read_prompts(options.file, bad, _answerable)]
    bad.check()
    name = options.name or options.file.stem
    with _opened(Life(options.life), options.store) as store:
        from sayso.feedback import queue

        added = queue.add_prompts(store, name, prompts)
    known = len(prompts) - added
    say(f"Added {added:,} prompts to the list '{name}'{f'; {known:,} were there already' if known else ''}.")
    return added


def _answerable(prompt: "Prompt") -> None:
    """Raise `UserError` for a prompt that nobody can write a reply to."""
    roles = [turn["role"] for turn in prompt.messages]
    if roles[-1] != "user" or not {*roles} <= {"system", "user", "assistant"}:
        raise UserError(f"A prompt has turns of system, user and assistant, and ends with the user's; got {roles}.")
    if not prompt.messages[-1]["content"].strip():
        raise UserError("The user's last turn must have a text; it is empty.")


@contextmanager
def _opened(life: Life, where: str | None, *, must_exist: bool = False) -> "Iterator[Store]":
    require("sqlalchemy", "serve")
    from sayso.feedback.database import store_file
    from sayso.feedback.store import Store

    file = store_file(where or life.store)
    if must_exist and file is not None and not file.exists():
        raise UserError(f"There is no store '{file}' to export; check --life and --store.")
    store = Store(where or life.store)
    try:
        yield store
    finally:
        store.close()


def _shown(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} in {name}" for name, count in counts.items() if count) or "none"
