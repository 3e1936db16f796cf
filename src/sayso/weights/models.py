"""The models of a life by name: a life and a name in, the path of a model folder out.

A name is a model of the life (`base`, `tuned`, `aligned`, or a name of the user's) or the path of a model folder.
"""

from pathlib import Path
from typing import Any

from sayso.base.errors import UserError, nearest
from sayso.base.files import read_json
from sayso.base.life import STAGES, Life


def resolve_model(life: Life, name: str) -> Path:
    """Return the folder of a model: of the life's model of that name, or the path itself.

    Raises `UserError` that offers the nearest name, or the command to run when the life has no model yet.
    """
    for folder in (life.model(name), Path(name)):
        if (folder / "config.json").is_file():
            return folder
    known = models(life)
    if known:
        raise UserError(
            f"A model is one of {', '.join(known)} in '{life.root}', or the path of a model folder; got '{name}'."
            f"{nearest(name, known)}"
        )
    command = f"sayso pretrain --life {life.root}" if life.root.is_dir() else "sayso demo"
    raise UserError(f"There is no model '{name}', and the life '{life.root}' has none yet: make one with '{command}'.")


def newest_model(life: Life, name: str) -> Path:
    """Return the model's folder; when `name` is a stage that is not there yet, the newest stage before it.

    Raises `UserError` as `resolve_model` does.
    """
    if name in STAGES and not (Path(name) / "config.json").is_file():
        known = models(life)
        for stage in reversed(STAGES[: STAGES.index(name) + 1]):
            if stage in known:
                return life.model(stage)
    return resolve_model(life, name)


def is_made(folder: Path, lineage: dict[str, Any]) -> bool:
    """Whether a model of this lineage is there already; `UserError` where another one has its place."""
    if not folder.exists():
        return False
    found = read_json(folder / "sayso.json") if (folder / "sayso.json").exists() else {}
    if any(found.get(key) != value for key, value in lineage.items()):
        raise UserError(f"There is another model '{folder.name}' in this life; choose another --name.")
    return True


def models(life: Life) -> list[str]:
    """Return the names of a life's models, the stages first and in their order."""
    names = [path.parent.name for path in sorted((life.root / "models").glob("*/config.json"))]
    return [name for name in STAGES if name in names] + [name for name in names if name not in STAGES]
