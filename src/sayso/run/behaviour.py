"""Act: measure how a model behaves in conversations.

The part of `sayso evaluate` with `--suite behaviour`. Asks prompts of our own, and those of XSTest and of other suites
whose files are below the data folder; writes `runs/evaluate-NAME/behaviour.json`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table

from sayso.base.errors import UserError, nearest, require
from sayso.base.files import write_json
from sayso.base.life import Life
from sayso.base.log import Progress, say
from sayso.base.made import work_in
from sayso.base.output import console
from sayso.judge.behaviour.doubt import FILES, file_questions, world_questions
from sayso.judge.behaviour.measure import doubts, open_replies, refusals
from sayso.judge.behaviour.prompts import contrasts_file, open_questions, read_contrasts
from sayso.judge.tasks.asked import task_file
from sayso.judge.tasks.read import read_items
from sayso.judge.tasks.result import TaskResult
from sayso.judge.tasks.suites import BEHAVIOUR
from sayso.judge.tasks.task import Task, chosen
from sayso.run.earlier import with_earlier
from sayso.run.suite import Judged, suite_json

if TYPE_CHECKING:
    from sayso.feedback.store import Store

PARTS = ("refusals", "doubt", "open")
_T = TypeVar("_T")


@dataclass(frozen=True)
class AskedBehaviour:
    """What a model is asked."""

    parts: tuple[str, ...]
    """Those of `PARTS` that can be asked."""
    data: Path | None
    missing: tuple[str, ...]
    """Those that were wanted but have no file."""
    limit: int
    """Maximum number of prompts of each kind; 0 = all."""


def asked_behaviour(parts: tuple[str, ...], data: Path | None, limit: int) -> AskedBehaviour:
    """Return what is asked; parts whose files are missing are left out.

    Raises `UserError` for an unknown part, a `data` that is not a folder, and if nothing is left.
    """
    for one in parts:
        if one not in PARTS:
            raise UserError(
                f"--tasks must be parts of the suite '{BEHAVIOUR}': {', '.join(PARTS)}; got '{one}'."
                f"{nearest(one, PARTS)}"
            )
    if data is not None and not data.is_dir():
        raise UserError(f"--data must be a folder; '{data}' is not one.")
    wanted = [one for one in PARTS if not parts or one in parts]
    missing: tuple[str, ...] = ()
    if "refusals" in wanted and (data is None or contrasts_file(data) is None):
        if parts == ("refusals",):
            got = "--data is not given" if data is None else f"'{data}' has none"
            raise UserError(
                "The part 'refusals' needs a file xstest*.csv or xstest*.jsonl, with the columns prompt and label, "
                f"below --data FOLDER; {got}."
            )
        wanted, missing = wanted[1:], ("refusals",)
    return AskedBehaviour(tuple(wanted), data, missing, limit)


def evaluate_behaviour(life: Life, judged: Judged, asked: AskedBehaviour, store: str | None = None) -> dict[str, Any]:
    """Measure a model, print the results, and write them to `runs/evaluate-NAME/behaviour.json`."""
    require("sqlalchemy", "serve")
    require("langdetect", "judge")
    from sayso.feedback.store import Store

    path = life.run(f"evaluate-{judged.name}") / f"{BEHAVIOUR}.json"
    work_in(path.parent)
    kept = Store(store or life.store)
    try:
        results = [found for name in asked.parts for found in _part(name, judged, asked, kept)]
    finally:
        kept.close()
    tasks = {found.task.name: found.as_dict() for found in results}
    scores = suite_json(judged, BEHAVIOUR, asked.limit, asked.missing, tasks)
    write_json(path, with_earlier(path, scores), sealed=True)
    show_behaviour(judged, asked, results)
    say(f"Wrote {path}.")
    return scores


def _part(name: str, judged: Judged, asked: AskedBehaviour, store: "Store") -> Iterator[TaskResult]:
    """Yield the results of one part."""
    from sayso.feedback.evaluations import KeptAnswers

    def few(items: list[_T]) -> list[_T]:
        return [items[number] for number in chosen(len(items), asked.limit)]

    if name == "refusals":
        file = contrasts_file(asked.data) if asked.data else None
        assert file is not None, "refusals are asked only if their file is there"
        contrasts = few(read_contrasts(file))
        with Progress(len(contrasts), "refusals: prompt") as line:
            memory = KeptAnswers(store, judged.fingerprint, "refusals")
            yield from refusals(judged.responder, contrasts, memory, _counting(line))
    elif name == "open":
        questions = few(open_questions())
        with Progress(len(questions), "open questions: question") as line:
            memory = KeptAnswers(store, judged.fingerprint, "open questions")
            yield from open_replies(judged.responder, questions, memory, _counting(line))
    else:
        files = {name: task_file(asked.data, Task(name, file)) for name, file in FILES.items()} if asked.data else {}
        sources = {"smallworld": world_questions()}
        sources |= {name: file_questions(read_items(file)) for name, file in files.items() if file}
        for source, checkable in sources.items():
            some = few(checkable)
            with Progress(len(some), f"doubt {source}: question") as line:
                memory = KeptAnswers(store, judged.fingerprint, f"doubt {source}")
                found = doubts(judged.responder, source, some, memory, _counting(line))
            if found is None:
                say(f"doubt {source}: no first answer was right, so nothing can be said about giving in.")
            else:
                yield found


def _counting(line: Progress) -> Callable[[int], None]:
    """Return a function that adds to the number of things done."""
    done = 0

    def show(more: int) -> None:
        nonlocal done
        done += more
        line.update(done)

    return show


def show_behaviour(judged: Judged, asked: AskedBehaviour, results: list[TaskResult]) -> None:
    """Print a table with a row for each score."""
    table = Table("behaviour", "score", "mean", "95 % interval", "of", title=f"{judged.name}: {BEHAVIOUR}")
    for found in results:
        for place, (name, value) in enumerate(found.scores.items()):
            table.add_row("" if place else found.task.name, name, f"{value.mean:.3f}", value.interval(), f"{value.n:,}")
        table.add_section()
    console().print(table)
    if asked.missing:
        say("Left out, because no file xstest*.csv or xstest*.jsonl is below --data: refusals.")
    if cut := sum(found.cut for found in results):
        say(f"{cut:,} conversations were too long for the model's context and count as empty replies.")
