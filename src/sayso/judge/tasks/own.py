"""A user's own tasks: a TOML file with a table `[[task]]` for each, which has at least a `name` and a `file`.

The other settings are those of `Task`.
"""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from sayso.base.errors import UserError, nearest
from sayso.judge.tasks.task import Metric, Task

_FIELDS = {field.name: field.type for field in fields(Task)}
_KINDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("name", "file", "delimiter", "separator", "metric"), (str, "a text")),
    **dict.fromkeys(("shots", "max_tokens"), (int, "a number")),
    "chat": (bool, "true or false"),
    **dict.fromkeys(("baseline", "older_baseline"), (float, "a number below 1")),
}


def own_tasks(path: Path) -> tuple[Task, ...]:
    """Return the tasks of a TOML file, whose data files are relative to its folder.

    Raises `UserError` for a file that is missing or not TOML, an unknown setting, or one of the wrong type.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # also a number of thousands of digits
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"A file of tasks must be readable TOML; '{path}' is not: {reason}.") from error
    rows = data.get("task")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"A file of tasks needs at least one [[task]] with a name and a file; '{path}' has none.")
    tasks = tuple(_task(path, row) for row in rows)
    for number, task in enumerate(tasks):
        if task.name in {other.name for other in tasks[:number]}:
            raise UserError(f"The tasks of '{path}' must have different names; '{task.name}' occurs twice.")
    return tasks


def _task(path: Path, row: Any) -> Task:
    if not isinstance(row, dict):
        raise UserError(f"Each [[task]] of '{path}' must be a table with a name and a file; got {row!r}.")
    for name, value in row.items():
        if name not in _FIELDS:
            raise UserError(f"A task has no setting '{name}' ('{path}').{nearest(name, _FIELDS)}")
        kind, words = _KINDS[name]
        right = isinstance(value, (int, float) if kind is float else kind)
        if not right or isinstance(value, bool) != (kind is bool):
            raise UserError(f"'{name}' of a task must be {words}; got {value!r} in '{path}'.")
    for name in ("name", "file"):
        if not row.get(name):
            raise UserError(f"Each [[task]] of '{path}' needs a {name}.")
    metrics = get_args(Metric)
    if row.get("metric", "acc") not in metrics:
        raise UserError(f"'metric' must be one of {', '.join(metrics)}; got '{row['metric']}' in '{path}'.")
    if row.get("metric") == "pass_at_1" and (row.get("chat") or row.get("shots")):
        raise UserError(f"A task with the metric pass_at_1 completes programs; it has no chat and no shots ('{path}').")
    if row.get("max_tokens", 1) < 1:
        raise UserError(f"'max_tokens' must be at least 1; got {row['max_tokens']} in '{path}'.")
    if row.get("shots", 0) < 0 or not row.get("baseline", 0) < 1 or not row.get("older_baseline", 0) < 1:
        raise UserError(f"'shots' must be at least 0 and a baseline below 1; got {row} in '{path}'.")
    return Task(**row)
