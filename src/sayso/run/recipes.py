"""Compare two recipes by several training runs of each that differ in the seed.

The part of `sayso compare` with `--against`. Takes the scores of all runs on the items that they share; prints a table
and a sentence that says whether one recipe is better, beyond the luck of seeds and items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from rich.table import Table

from sayso.base.errors import UserError
from sayso.base.log import say
from sayso.base.output import console
from sayso.judge.statistics.seeds import CrossedDifference, compare_crossed
from sayso.judge.statistics.significance import holm
from sayso.judge.statistics.verdict import verdict_of_recipes, verdict_over


@dataclass(frozen=True)
class SharedTask:
    """A task that several models answered."""

    name: str
    scores: Mapping[str, Sequence[float]]
    """The scores by model, in the same order of items."""
    clusters: Sequence[str] | None = None
    """The passage of each item, if several share one."""


def compared_recipes(tasks: Sequence[SharedTask], models: Sequence[str], against: Sequence[str]) -> dict[str, Any]:
    """Print the comparison of the recipe of some models with that of others, and return it.

    Tasks with a single item or passage are left out. Raises `UserError` if there are no others.
    """
    known = [task for task in tasks if len({*(task.clusters or range(len(task.scores[models[0]])))}) > 1]
    if not known:
        raise UserError(
            "Recipes are compared on two or more items of different passages; "
            f"{', '.join(task.name for task in tasks)} has fewer. Evaluate with a larger --limit."
        )
    a, b = _recipe(models), _recipe(against)
    if a == b:
        a, b = "A", "B"
    found = {
        task.name: compare_crossed(
            [task.scores[name] for name in models], [task.scores[name] for name in against], task.clusters
        )
        for task in known
    }
    adjusted = holm({name: one.p for name, one in found.items()})
    table = Table("task", "items", b, a, "difference", "95 % interval", "sd of seeds", "p (Holm)")
    for name, one in found.items():
        table.add_row(*_row(name, one, adjusted[name]))
    console().print(table)
    only = next(iter(found.values()))
    said = verdict_of_recipes(only, a, b) if len(found) == 1 else verdict_over(found, a, b)
    say(said)
    return {
        "recipes": {a: list(models), b: list(against)},
        "verdict": said,
        "tasks": {
            name: {
                "difference": one.difference.as_dict(),
                "p": one.p,
                "p_holm": adjusted[name],
                "error_of_seeds": one.of_seeds,
                "error_of_items": one.of_items,
                "between_seeds": [one.a.between, one.b.between],
            }
            for name, one in found.items()
        },
    }


def _row(name: str, found: CrossedDifference, adjusted: float) -> tuple[str, ...]:
    difference = found.difference
    return (
        name,
        f"{difference.n:,}",
        f"{found.b.mean.mean:.3f}",
        f"{found.a.mean.mean:.3f}",
        f"{difference.mean:+.3f}",
        difference.interval("+.3f"),
        f"{found.b.between:.3f}, {found.a.between:.3f}",
        f"{adjusted:.3f}",
    )


def _recipe(names: Sequence[str]) -> str:
    """Return what the names of a recipe's models have in common at the beginning, or the first name."""
    common = "".join(letters[0] for letters in takewhile(lambda some: len({*some}) == 1, zip(*names, strict=False)))
    return common.rstrip("-_. ") or names[0]
