"""Where things lie in a life, the one folder that holds everything of a model.

Takes the life's root; gives the path of each part. Nothing here reads or writes a file.
"""

from dataclasses import dataclass
from pathlib import Path

STAGES = ("base", "tuned", "aligned")
SIGNS = (
    *("runs/*/config.toml", "runs/*/plan.json", "models/*/sayso.json"),
    *("data/*/manifest.json", "tokenizer/trained.json"),
)
"""Files that acts leave in a life, and by which it is known."""


def is_life(folder: Path) -> bool:
    """Whether an act has left something in a folder as its life."""
    return any(next(folder.glob(sign), None) for sign in SIGNS)


@dataclass(frozen=True)
class Life:
    """The folders and files of one life, by name."""

    root: Path

    def data(self, name: str) -> Path:
        """The folder of one prepared data set: `text`, `chat`, `pairs`, `feedback`."""
        return self.root / "data" / name

    def model(self, name: str) -> Path:
        """The folder of one model: `base`, `tuned`, `aligned`, or a name of the user's."""
        return self.root / "models" / name

    def run(self, name: str) -> Path:
        """The folder of one run: its resolved config, its log and its checkpoints."""
        return self.root / "runs" / name

    @property
    def tokenizer(self) -> Path:
        """The folder of the life's tokenizer."""
        return self.root / "tokenizer"

    @property
    def store(self) -> Path:
        """The database of conversations and ratings."""
        return self.root / "store.sqlite"

    @property
    def report(self) -> Path:
        """The life's story as one standalone page."""
        return self.root / "report.html"

    @property
    def report_json(self) -> Path:
        """The same story's numbers, for programs."""
        return self.root / "report.json"
