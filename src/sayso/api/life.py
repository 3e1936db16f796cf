"""`sayso.Life`: a life in a notebook.

    life = sayso.Life("life")
    base = life.pretrain(minutes=3)
    life.load("base").generate("Once")

Every act is a method, and its models open by name.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sayso.api.acts import Acts
from sayso.base.errors import UserError
from sayso.base.life import Life as Folders

if TYPE_CHECKING:
    from sayso.api.model import Model


class Life(Acts):
    """A life by its folder, which the first act makes. The acts are those of the command line."""

    def __init__(self, root: str | Path = "life") -> None:
        self.root = Path(root)
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"A life is a folder; '{self.root}' is a file: choose another path.")

    def __repr__(self) -> str:
        return f"<sayso.Life '{self.root}': {', '.join(self.models()) or 'no models'}>"

    def models(self) -> list[str]:
        """Return the names of the life's models, the stages first and in their order."""
        from sayso.weights.models import models

        return models(Folders(self.root))

    def load(self, name: str = "aligned", *, adapter: str | Path | None = None, device: str | None = None) -> "Model":
        """Open a model of this life, as `sayso.load` does."""
        from sayso.api.model import load

        return load(name, life=self.root, adapter=adapter, device=device)
