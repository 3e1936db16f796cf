"""The layout of a life, the folder that holds everything about a model.

Takes the life's root and names; returns the path of each part. Nothing here reads or writes, except that a folder is
restored if its replacement was killed halfway. A name becomes one component of a path, so it is checked here,
whether it comes from a flag, the environment, a TOML file or Python.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.replace import put_back

STAGES = ("base", "tuned", "aligned")
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
LONGEST_NAME = 100  # of a name chosen by the user; names of runs and temporary files are a little longer
SIGNS = (
    *("runs/*/config.toml", "runs/*/plan.json", "models/*/sayso.json"),
    *("data/*/manifest.json", "tokenizer/trained.json"),
)
"""Files that commands write into a life; any of them identifies one."""


def is_life(folder: Path) -> bool:
    """Whether a folder is a life, that is, a command has written something into it."""
    return any(next(folder.glob(sign), None) for sign in SIGNS)


@dataclass(frozen=True)
class Life:
    """The folders and files of one life, by name."""

    root: Path

    def data(self, name: str) -> Path:
        """Return the folder of a prepared dataset: `text`, `chat`, `pairs`, `feedback`."""
        return put_back(self.root / "data" / _checked(name))

    def model(self, name: str) -> Path:
        """Return the folder of a model: `base`, `tuned`, `aligned`, or a name chosen by the user.

        Raises `UserError` for an invalid name.
        """
        return put_back(self.root / "models" / _checked(name))

    def run(self, name: str) -> Path:
        """Return the folder of a run, ACT or ACT-NAME: its resolved config, its log and its checkpoints."""
        act, dash, rest = name.partition("-")
        return self.root / "runs" / f"{_checked(act)}{dash}{_checked(rest) if dash else ''}"

    @property
    def tokenizer(self) -> Path:
        """The folder of the life's tokenizer."""
        return put_back(self.root / "tokenizer")

    @property
    def store(self) -> Path:
        """The database of conversations and ratings."""
        return self.root / "store.sqlite"

    @property
    def report(self) -> Path:
        """The life's report as one standalone page."""
        return self.root / "report.html"

    @property
    def report_json(self) -> Path:
        """The numbers of the report, for programs."""
        return self.root / "report.json"


def _checked(name: str) -> str:
    """Return a name that is valid as a path component, or raise `UserError`."""
    if not NAME_PATTERN.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UserError(
            f"A name must consist of letters, digits, '.', '_' and '-', begin with a letter, a digit or '_', and have "
            f"at most {LONGEST_NAME} characters; got '{name[: LONGEST_NAME + 1]}'."
        )
    return name


def name_from(text: str) -> str:
    """Return a valid name made from any text, such as a file's name: invalid characters become dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[: LONGEST_NAME - 20] or "model"
