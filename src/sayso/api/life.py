"""`sayso.Life`: a life, whose methods include every act.

    life = sayso.Life("life")
    base = life.pretrain(minutes=3)
    life.load("base").generate("Once")

The life's models are opened by name.
"""

from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sayso.api.acts import Acts
from sayso.base.errors import UserError
from sayso.base.life import Life as Folders
from sayso.base.log import act_log
from sayso.run.acts import COMMANDS

if TYPE_CHECKING:
    from sayso.api.model import Model

Result = TypeVar("Result")
_PLAIN = (str, int, float, bool, Path, type(None))
ACT_NAMES = {command.words[0] for command in COMMANDS}


class Life(Acts):
    """A life in the folder `root`, which the first act creates. Its methods include every act of the command line."""

    def __init__(self, root: str | Path = "life") -> None:
        self.root = Path(root)
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"A life is a folder; '{self.root}' is a file: choose another path.")

    def __repr__(self) -> str:
        return f"<sayso.Life '{self.root}': {', '.join(self.models()) or 'no models'}>"

    def models(self) -> list[str]:
        """Return the names of the life's models: stages first, in order."""
        from sayso.weights.models import models

        return models(Folders(self.root))

    def load(self, name: str = "aligned", *, adapter: str | Path | None = None, device: str | None = None) -> "Model":
        """Open a model of this life, as `sayso.load` does."""
        from sayso.api.model import load

        return load(name, life=self.root, adapter=adapter, device=device)

    def run(self, act: Callable[..., Result], *, name: str = "", **options: Any) -> Result:
        """Call `act(life, **options)` and log it as the run `ACT-NAME` of this life; return its result.

        The run records the options, the time, the memory, and the result if it is a number, a string, or a dictionary
        or list of them. Raises `UserError` for a function with the name of an act, or one that is not valid for a run.
        """
        act_name = getattr(act, "__name__", type(act).__name__)
        if act_name in ACT_NAMES:
            raise UserError(f"A custom act must not have the name of a built-in act; got '{act_name}': rename it.")
        values = {key: _recorded(value) for key, value in options.items()}
        config = make_dataclass(act_name if act_name.isidentifier() else "Options", list(values), frozen=True)(**values)
        with act_log(Folders(self.root), act_name, name, config) as log:
            result = act(self, **options)
            if _is_plain(result) and result is not None:
                log.write("result", value=result)
        return result


def _recorded(value: Any) -> Any:
    """Return an option in a form that a run's config can store; other objects become their repr."""
    if isinstance(value, tuple | list):
        return [_recorded(part) for part in value]
    return value if isinstance(value, _PLAIN) else repr(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    return all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, str | int | float | None)
