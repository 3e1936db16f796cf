"""Earlier results of `sayso evaluate`: which of them stay, and what is said about those that are replaced.

A result depends on its options. One of other options is never taken for the same: it is kept apart, or replaced, and
either is said.
"""

from collections.abc import Mapping
from hashlib import sha256 as hash_of
from json import dumps
from pathlib import Path
from typing import Any

from sayso.base.files import read_object
from sayso.base.jsonl import read_jsonl
from sayso.base.log import say

_MEANS = ("blimp", "core", "core_older")
_REPLIES = ".jsonl"
_RECORD = (".json", ".svg", _REPLIES)  # the replies last, since they tell what the others are about


def with_earlier(path: Path, scores: dict[str, Any]) -> dict[str, Any]:
    """Return a suite's scores with those of the tasks that were not asked this time, if they are of the same model.

    A mean is always over all tasks of the record: if others were asked before, it is the earlier one or left out.
    Says which earlier results of the same model are replaced by those of another --limit or of other items.
    """
    earlier = read_object(path, "tasks") if path.exists() else {}
    if earlier.get("fingerprint") != scores["fingerprint"]:
        return scores
    if earlier.get("limit") != scores["limit"]:
        say_replaced(path, {"limit": earlier.get("limit")}, {"limit": scores["limit"]})
        return scores
    for name in scores["tasks"].keys() & earlier["tasks"].keys():
        before, now = (_items(one["tasks"][name]) for one in (earlier, scores))
        if before != now:
            say(f"This replaces the earlier result of {name}, which was asked on items of {before}.")
    tasks = {**earlier["tasks"], **scores["tasks"]}
    found = {**scores, "tasks": tasks}
    if len(tasks) > len(scores["tasks"]):
        known = earlier if len(tasks) == len(earlier["tasks"]) else {}
        found = {name: value for name, value in found.items() if name not in _MEANS}
        found |= {name: known[name] for name in _MEANS if name in known}
    return found


def _items(task: Mapping[str, Any]) -> str:
    """Return where the items of a task's result are from."""
    return f"{task.get('source')} ({task.get('revision')})"


def say_replaced(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say that a result is replaced by one of other options, given those of both by name; nothing if they are equal."""
    had = [f"--{name.replace('_', '-')} {value}" for name, value in before.items() if value != now.get(name)]
    if had:
        say(f"This replaces the earlier result in '{path}', which had {' '.join(had)}.")


def keep_apart(path: Path, key: Mapping[str, Any]) -> None:
    """Move the record at `path`, with its replies and drawing, to a folder if it is of other questions than `key`.

    The first row of the replies is the key of a record. An earlier record of `key` moves back, so that its replies are
    not asked for again. Records of other weights stay, to be replaced.
    """
    here = _key(path)
    if here == key:
        return
    if here is not None and here.get("fingerprint") == key["fingerprint"]:
        _move(path, _apart(path, here))
        say(f"The earlier result, of other questions, is kept in '{_apart(path, here).parent}'.")
    if _key(_apart(path, key)) is not None:
        _move(_apart(path, key), path)


def _key(path: Path) -> dict[str, Any] | None:
    """Return the key of the record at `path`, None if there is none."""
    replies = path.with_suffix(_REPLIES)
    return next(iter(read_jsonl(replies)), None) if replies.exists() else None


def _apart(path: Path, key: Mapping[str, Any]) -> Path:
    return path.with_suffix("") / hash_of(dumps(key, sort_keys=True).encode()).hexdigest()[:8] / path.name


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in _RECORD:
        if source.with_suffix(suffix).exists():
            source.with_suffix(suffix).replace(target.with_suffix(suffix))
