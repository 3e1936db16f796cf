"""Sources of a command's settings: flags, then the environment, then a TOML file, then the defaults.

`SAYSO_PRETRAIN_DEPTH=4` sets `--depth` of `pretrain`, `SAYSO_LIFE=tom` sets `--life` of every command. A TOML file is
either the flat `config.toml` of a run, or has one table per command (`[pretrain]`, `[tokenizer.train]`).
"""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts

from sayso.base.errors import UserError
from sayso.run.acts import COMMANDS

FLAG, PREFIX = "--config", "SAYSO_"


def valid(tokens: Sequence[str]) -> Sequence[str]:
    """Return the arguments. Raises `UserError` if one, or a setting in the environment, is not valid UTF-8."""
    for word in tokens:
        if not _is_text(word):
            shown = word.encode("utf-8", "backslashreplace").decode()
            raise UserError(f"Arguments must be valid UTF-8; got '{shown}'. Rename the file, or correct the text.")
    for name, value in os.environ.items():
        if name.startswith(PREFIX) and not _is_text(value):
            raise UserError(f"Settings must be valid UTF-8; the environment variable {name} is not; correct it.")
    return tokens


def _is_text(word: str) -> bool:
    """Whether an argument has no lone surrogate, which is how Python represents bytes that are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def split_config(tokens: Sequence[str]) -> tuple[list[str], Path | None]:
    """Remove `--config FILE` from the command line; return the other arguments and the file."""
    rest, path = [], None
    words = iter(tokens)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == FLAG or word.startswith(f"{FLAG}="):
            value = word.partition("=")[2] or next(words, None)
            if value is None:
                raise UserError(f"{FLAG} must be followed by a TOML file, such as life/runs/pretrain-base/config.toml.")
            path = Path(value)
        else:
            rest.append(word)
    return rest, path


def sources(path: Path | None) -> list[Any]:
    """Return the sources below the flags, highest precedence first."""
    environment = [
        cyclopts.config.Env(PREFIX),
        cyclopts.config.Env(PREFIX, command=False, show=False),
    ]
    return environment + ([ConfigFile(path)] if path else [])


class ConfigFile:
    """A TOML file as a source of settings; cyclopts calls it with the words of the command and its arguments."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise UserError(f"{FLAG} must name a TOML file; there is no file '{path}'.") from error
        except ValueError as error:
            raise UserError(f"'{path}' is not valid TOML ({error}); fix that line.") from error

    def __call__(self, app: cyclopts.App, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection) -> None:
        """Set the arguments that the flags and the environment did not set."""
        values = self.values
        known = {command.words[0] for command in COMMANDS} | {*commands[:1]}
        if not known & {name for name, value in values.items() if isinstance(value, dict)}:  # flat: for this command
            for word in reversed(commands):
                values = {word: values}
        elif unknown := sorted(values.keys() - known):
            raise UserError(
                f"'{self.path}' must have one table per command; there is no command '{unknown[0]}'. "
                "Put each setting in the table of its command."
            )
        cyclopts.config.Dict(values, source=str(self.path))(app, commands, arguments)
