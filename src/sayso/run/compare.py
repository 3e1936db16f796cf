"""Act: compare models on the items that they all answered, one by one.

Input: what `sayso evaluate` found about each, in the life's records and its store. Prints a table of paired
differences, and a sentence that says whether one is better, or how large a difference would have been seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from sayso.base.errors import UserError, require
from sayso.base.files import read_object
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.output import console
from sayso.base.ranges import Options
from sayso.judge.statistics.significance import Comparison, compare_items, holm
from sayso.judge.statistics.verdict import verdict, verdict_over
from sayso.run.recipes import SharedTask, compared_recipes
from sayso.run.suite import fingerprint_of
from sayso.weights.folder import name_apart
from sayso.weights.models import resolve_model


@dataclass(frozen=True)
class Compare(Options):
    """Options of `sayso compare`."""

    models: tuple[str, ...] = ("tuned", "aligned")
    """Two or more models: names of models of the life, or paths of model folders. All are compared with the first."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    against: tuple[str, ...] = ()
    """Two or more training runs of another recipe; the models are then the runs of the recipe to compare with it."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks to compare. Default: all that the models answered."""
    store: str | None = None
    """Database of the answers to suites, a path or an address. Default: that of the life."""


def compare(options: Compare) -> dict[str, Any]:
    """Compare models on the items that they all answered."""
    names = (*options.models, *options.against)
    if len({*options.models}) < 2 or len({*names}) < len(names):
        raise UserError(f"sayso compare needs two or more different models; got {', '.join(names) or 'none'}.")
    if len(options.against) == 1:
        raise UserError(
            f"--against needs two or more seeds of a recipe; got {options.against[0]}. Omit --against to compare "
            "single models."
        )
    life = Life(options.life)
    folders = {name: resolve_model(life, name) for name in names}
    found = shared_tasks(life, folders, options.store)
    known = [task.name for task in found]
    for name in options.tasks:
        if name not in known:
            raise UserError(
                f"--tasks must be tasks that all models answered: {', '.join(known) or 'none'}; got '{name}'."
            )
    tasks = [task for task in found if not options.tasks or task.name in options.tasks]
    if not tasks:
        raise UserError(
            f"The models {', '.join(names)} have not answered the same items; run sayso evaluate on each, "
            "with the same options."
        )
    if options.against:
        return compared_recipes(tasks, options.models, options.against)
    first, *others = options.models
    return {other: _compared(tasks, other, first) for other in others}


def _compared(tasks: Sequence[SharedTask], model: str, reference: str) -> dict[str, Any]:
    """Print the comparison of a model with a reference, and return it."""
    pairs = {task.name: compare_items(task.scores[model], task.scores[reference], task.clusters) for task in tasks}
    adjusted = holm({name: one.p for name, one in pairs.items()})
    table = Table("task", "items", reference, model, "difference", "95 % interval", "p (Holm)")
    for task in tasks:
        table.add_row(*_row(task, model, reference, pairs[task.name], adjusted[task.name]))
    console().print(table)
    only = next(iter(pairs.values()))
    said = verdict(only, model, reference) if len(pairs) == 1 else verdict_over(pairs, model, reference)
    say(said)
    return {
        "reference": reference,
        "verdict": said,
        "tasks": {
            name: {
                "difference": one.difference.as_dict(),
                **{key: getattr(one, key) for key in ("p", "n", "wins", "losses", "ties", "method")},
                "p_holm": adjusted[name],
            }
            for name, one in pairs.items()
        },
    }


def _row(task: SharedTask, model: str, reference: str, found: Comparison, adjusted: float) -> tuple[str, ...]:
    difference = found.difference
    means = [sum(task.scores[name]) / max(1, found.n) for name in (reference, model)]
    return (
        task.name,
        f"{found.n:,}",
        *(f"{mean:.3f}" for mean in means),
        f"{difference.mean:+.3f}",
        difference.interval("+.3f"),
        f"{adjusted:.3f}",
    )


def shared_tasks(life: Life, folders: Mapping[str, Path], store: str | None) -> list[SharedTask]:
    """Return the tasks that all models answered, with their scores on the items that they share.

    `folders` has their folders by name; `store` is another database than the life's.
    """
    return [*_life_tasks(life, folders), *_suite_tasks(life, folders, store)]


def _life_tasks(life: Life, folders: Mapping[str, Path]) -> Iterator[SharedTask]:
    """Yield the families of small-world tasks and the short replies that all models were evaluated on alike."""
    paths = {name: life.run(f"evaluate-{name_apart(life, folder)}") / "scores.json" for name, folder in folders.items()}
    if not all(path.exists() for path in paths.values()):
        return
    scores = {name: read_object(path, "families") for name, path in paths.items()}
    first = next(iter(scores.values()))
    asked = [{key: one["key"]["asked"][key] for key in ("n", "seed")} for one in scores.values()]
    if all(one == asked[0] for one in asked):
        for family in first["families"]:
            yield SharedTask(family, {name: one["families"][family]["values"] for name, one in scores.items()})
    talks = [one["key"].get("conversations") for one in scores.values()]
    if talks[0] and all(one == talks[0] for one in talks) and all(one.get("conversations") for one in scores.values()):
        exact = {name: one["conversations"]["values"]["exact"] for name, one in scores.items()}
        if next(iter(exact.values())):
            yield SharedTask("short replies", exact)


def _suite_tasks(life: Life, folders: Mapping[str, Path], where: str | None) -> Iterator[SharedTask]:
    """Yield the tasks of suites, on the items that all models were asked in the same words."""
    if where is None and not life.store.exists():
        return
    require("sqlalchemy", "serve")
    from sayso.feedback.cases import CASES
    from sayso.feedback.evaluations import answers_of, tasks_answered
    from sayso.feedback.store import Store

    store = Store(where or life.store)
    try:
        marks = {name: fingerprint_of(folder) for name, folder in folders.items()}
        for task in tasks_answered(store, list(marks.values())):
            answers = {name: answers_of(store, mark, task) for name, mark in marks.items()}
            shared = [key for key in next(iter(answers.values())) if all(key in some for some in answers.values())]
            if shared and task != CASES:
                scores = {name: [some[key].right for key in shared] for name, some in answers.items()}
                clusters = [some.unit for some in (next(iter(answers.values()))[key] for key in shared)]
                yield SharedTask(task, scores, clusters if len({*clusters}) < len(clusters) else None)
    finally:
        store.close()
