"""Where a command's settings come from: flags, over the environment, over a TOML file, over the defaults.

`SAYSO_PRETRAIN_DEPTH=4` sets `--depth` of `pretrain`, `SAYSO_LIFE=tom` sets `--life` of every command. A TOML file is
either the flat `config.toml` that a run left, or one table a command (`[pretrain]`, `[tokenizer.train]`).
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts

from sayso.base.errors import UserError

FLAG = "--config"


def split_config(tokens: Sequence[str]) -> tuple[list[str], Path | None]:
    """Take `--config FILE` out of the words on the command line; return the other words and the file."""
    rest, path = [], None
    words = iter(tokens)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == FLAG or word.startswith(f"{FLAG}="):
            value = word.partition("=")[2] or next(words, None)
            if value is None:
                raise UserError(f"{FLAG} needs a TOML file after it, such as life/runs/pretrain-base/config.toml.")
            path = Path(value)
        else:
            rest.append(word)
    return rest, path


def sources(path: Path | None) -> list[Any]:
    """Return the sources below the flags, the strongest first."""
    environment = [
        cyclopts.config.Env("SAYSO_"),
        cyclopts.config.Env("SAYSO_", command=False, show=False),
    ]
    return environment + ([File(path)] if path else [])


class File:
    """A TOML file as a source of settings; cyclopts calls it with the command's words and its arguments."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise UserError(f"{FLAG} takes a TOML file; there is no file '{path}'.") from error
        except ValueError as error:
            raise UserError(f"'{path}' is not valid TOML ({error}); mend that line.") from error

    def __call__(self, app: cyclopts.App, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection) -> None:
        """Set the arguments that the flags and the environment left open."""
        values = self.values
        if not any(isinstance(value, dict) for value in values.values()):  # flat: meant for the command that is called
            for word in reversed(commands):
                values = {word: values}
        cyclopts.config.Dict(values, source=str(self.path))(app, commands, arguments)
