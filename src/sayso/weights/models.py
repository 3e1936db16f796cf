"""Resolve models of a life by name: takes a life and a name, returns the path of a model folder.

A name is a model of the life (`base`, `tuned`, `aligned`, or a name of the user's) or the path of a model folder.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sayso.base.errors import UserError, nearest
from sayso.base.life import LONGEST_NAME, NAME_PATTERN, STAGES, Life, name_from
from sayso.base.made import check_replaceable
from sayso.base.replace import put_all_back, put_back
from sayso.weights.lineage import check_saved, read_lineage


def resolve_model(life: Life, name: str) -> Path:
    """Return the folder of a life's model, or `name` itself if it is the path of a model folder.

    Raises `UserError` with the nearest name, or with the command that makes a model if the life has none.
    """
    named = [life.model(name)] if NAME_PATTERN.fullmatch(name) and len(name) <= LONGEST_NAME else []
    for folder in (*named, put_back(Path(name))) if name else ():
        if (folder / "config.json").is_file():
            return folder
    known = models(life)
    if known:
        raise UserError(
            f"A model must be one of {', '.join(known)} in '{life.root}', or the path of a model folder; got '{name}'."
            f"{nearest(name, known)}"
        )
    command = f"sayso pretrain --life {life.root}" if life.data("text").is_dir() else "sayso demo"
    raise UserError(f"There is no model '{name}'; the life '{life.root}' has no models yet. Make one with '{command}'.")


def newest_model(life: Life, name: str) -> Path:
    """Return a model's folder; if `name` is a stage that does not exist yet, that of the latest stage before it.

    Raises `UserError` as `resolve_model` does.
    """
    if name in STAGES and not (Path(name) / "config.json").is_file():
        known = models(life)
        for stage in reversed(STAGES[: STAGES.index(name) + 1]):
            if stage in known:
                return life.model(stage)
    return resolve_model(life, name)


def called(folder: Path) -> str:
    """Return the name of a model folder at any path."""
    return name_from(folder.name if folder.name not in ("", "..") else folder.resolve().name)


def is_made(
    folder: Path, lineage: dict[str, Any], *, replace: bool, absent: Mapping[str, Any] = MappingProxyType({})
) -> bool:
    """Whether the folder already has a model with this lineage.

    `absent` are the values of keys that lineages did not have at first. Raises `UserError` if the folder has another
    model and `replace` is false, or holds anything but a model of Sayso.
    """
    found = read_lineage(folder)
    if found and all({**absent, **found}.get(key) == value for key, value in lineage.items()):
        check_saved(folder)
        return True
    check_replaceable(folder)
    if found and not replace:
        raise UserError(
            f"This life already has a model '{folder.name}', made {maker_of(found)}; choose another --name, or "
            "add --replace to replace it."
        )
    return False


def run_of(lineage: dict[str, Any]) -> dict[str, Any]:
    """Return the training run recorded in a model's lineage, see `Stage.mark`; {} if it has none."""
    made = lineage.get("run")
    return made if isinstance(made, dict) else {}


def maker_of(lineage: dict[str, Any]) -> str:
    """Return a phrase for messages that names what made a model."""
    made = run_of(lineage)
    return f"by the run '{made.get('name')}'" if made else f"by no run (stage: {lineage.get('stage', 'unknown')})"


def models(life: Life) -> list[str]:
    """Return the names of a life's models: stages first, in order."""
    put_all_back(life.root / "models")
    names = [path.parent.name for path in sorted((life.root / "models").glob("[!.]*/config.json"))]
    return [name for name in STAGES if name in names] + [name for name in names if name not in STAGES]
