"""Find the items of a suite's tasks: in files below a folder, or in data sets of the Hugging Face hub.

Takes a suite's name as the user gives it; returns its tasks with their items, and the names of those without any. All
items are found before any is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sayso.base.errors import UserError, nearest
from sayso.base.intact import digest_of
from sayso.judge.answers.sandbox import require_isolation
from sayso.judge.tasks.hub import hub_items
from sayso.judge.tasks.hub_sets import PHENOMENA, SETS
from sayso.judge.tasks.item import NumberedItem
from sayso.judge.tasks.own import own_tasks
from sayso.judge.tasks.read import read_items
from sayso.judge.tasks.suites import KNOWN, check_suite, suite
from sayso.judge.tasks.task import Task


@dataclass(frozen=True)
class Asked:
    """A task with its items."""

    task: Task
    path: Path
    source: str
    """Name of the file, or address of the hub's data set."""
    revision: str
    """Beginning of the file's SHA-256, or revision of the data set."""

    @property
    def from_hub(self) -> bool:
        """Whether the items are from the hub."""
        return "://" in self.source

    def items(self) -> list[NumberedItem]:
        """Return the items; those of the hub have the revision in their name, so that no two are taken for the same."""
        items = read_items(self.path)
        return [replace(item, name=f"{item.name}@{self.revision}") for item in items] if self.from_hub else items


@dataclass(frozen=True)
class AskedSuite:
    """The tasks of a suite, as asked."""

    name: str
    tasks: tuple[Asked, ...]
    data: Path | None
    """None = the hub."""
    missing: tuple[str, ...]
    """Names of tasks without a file below the data folder, or without a data set on the hub."""
    limit: int
    """Maximum number of items a task; 0 = all."""
    execute: bool = False
    """Whether programs that the model writes may be run."""


def asked_suite(
    name: str,
    wanted: Sequence[str],
    data: Path | None,
    limit: int,
    *,
    execute: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> AskedSuite:
    """Return those tasks of a suite that have a file below the data folder or, without a folder, a data set on the hub.

    `wanted` selects tasks by NAME, or NAME@REVISION for a revision of the data set; if empty, all are returned.
    `progress` receives the number of data sets fetched so far. Raises `UserError` for an unknown suite or task, a
    missing data folder, if no items are found, and for programs that may not be run.
    """
    own = Path(name) if name.endswith(".toml") else None
    if own is None:
        check_suite(name)
    elif own.stem in (*KNOWN, "scores"):
        raise UserError(f"A file of tasks needs another name than '{own.stem}', whose results are apart; got '{own}'.")
    folder = data if data is not None or own is None else own.parent
    if folder is not None and not folder.is_dir():
        raise UserError(f"--data must be a folder; '{folder}' is not one.")
    tasks = own_tasks(own) if own else suite(name, folder)
    revisions = _revisions(name, wanted, tasks, folder)
    tasks = tuple(task for task in tasks if not wanted or task.name in revisions)
    _check_programs(tasks, execute=execute)
    found = _on_hub(name, tasks, revisions, progress) if folder is None else _below(name, tasks, folder)
    missing = tuple(task.name for task in tasks if task.name not in {one.task.name for one in found})
    return AskedSuite(name, tuple(found), folder, missing, limit, execute)


def _revisions(name: str, wanted: Sequence[str], tasks: Sequence[Task], folder: Path | None) -> dict[str, str]:
    """Return the tasks wanted with the revision of each, "" for none."""
    known = [task.name for task in tasks]
    found: dict[str, str] = {}
    for one in wanted:
        task, _, revision = (one, "", "") if one in known else one.partition("@")
        if task not in known:
            raise UserError(f"--tasks must be tasks of the suite '{name}'; got '{one}'.{nearest(task, known)}")
        if revision and folder is not None:
            raise UserError(f"The revision in '{one}' is that of a data set on the hub; omit it or --data.")
        if found.setdefault(task, revision) != revision:
            raise UserError(
                f"--tasks takes each task once; '{task}' is named at two revisions, '{found[task]}' and '{revision}'."
            )
    return found


def _check_programs(tasks: Sequence[Task], *, execute: bool) -> None:
    """Raise `UserError` if programs have to be run that may not be, or cannot be run safely here."""
    programs = [task.name for task in tasks if task.metric == "pass_at_1"]
    if programs and not execute:
        raise UserError(
            f"'{programs[0]}' runs programs that the model writes, in a sandbox; allow it with --allow-code."
        )
    if programs:
        require_isolation()


def _below(name: str, tasks: Sequence[Task], folder: Path) -> list[Asked]:
    """Return the tasks with a file below a folder. Raises `UserError` if none has one."""
    files = [(task, path) for task in tasks if (path := task_file(folder, task))]
    if not files:
        raise UserError(f"The data of the suite '{name}' must be below '{folder}'; found none of {_names(tasks)}.")
    return [Asked(task, path, path.name, digest_of(path)[:12]) for task, path in files]


def _on_hub(
    name: str, tasks: Sequence[Task], revisions: Mapping[str, str], progress: Callable[[int], None]
) -> list[Asked]:
    """Return the tasks with a data set on the hub, fetched. Raises `UserError` if none has one, or the hub fails."""
    known = [task for task in tasks if task.file in SETS]
    where = f"put {_names(known or tasks)} below a folder and add --data FOLDER"
    if not known:
        raise UserError(f"The hub has no data set in the form of {_names(tasks)}: {where}.")
    found = []
    for done, task in enumerate(known, 1):
        try:
            items = hub_items(task.file, revisions.get(task.name, ""))
        except UserError as error:
            reason = str(error).rstrip(".")
            raise UserError(f"Without --data, '{name}' needs the hub, which failed ({reason}): {where}.") from error
        baseline = SETS[task.file].baseline
        own = task if baseline is None else replace(task, baseline=baseline, older_baseline=None)
        found.append(Asked(own, items.path, items.source, items.revision))
        progress(done)
    return found


def _names(tasks: Sequence[Task]) -> str:
    """Return the names of the tasks' files, those of BLiMP as a folder."""
    if all(task.file.partition(".")[0] in PHENOMENA for task in tasks):
        return "a folder 'blimp' of .jsonl files"
    return ", ".join(dict.fromkeys(task.file for task in tasks))


def task_file(folder: Path, task: Task) -> Path | None:
    """Return the file of a task: by its path below the folder, or by its name anywhere below."""
    direct = folder / task.file
    return direct if direct.is_file() else next(iter(sorted(folder.rglob(Path(task.file).name))), None)
