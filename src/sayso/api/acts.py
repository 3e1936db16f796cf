"""The acts as methods with keyword arguments: the base class of `sayso.Life`.

A method takes the fields of its act's options, where lists and strings may be passed for tuples and paths, and returns
the act's result. An act is imported on the first use of its method. `acts.pyi`, generated from the same options, has
the signatures for editors and type checkers.
"""

import inspect
from dataclasses import MISSING, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from sayso.base.errors import UserError, nearest
from sayso.base.option_help import option_helps
from sayso.base.option_values import value_of
from sayso.run.acts import COMMANDS, Act, Command

_METHODS = {command.method: command for command in COMMANDS}


class Acts:
    """Every act as a method; `root` is the folder of the life."""

    root: Path

    def __getattr__(self, name: str) -> "_Method":
        if name not in _METHODS:
            raise AttributeError(f"A life has no act '{name}'.{nearest(name, _METHODS)}")
        return _Method(_METHODS[name], self.root)

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *_METHODS])


class _Method:
    """An act bound to a life."""

    def __init__(self, command: Command, root: Path) -> None:
        self.command, self.root = command, root
        self.__name__ = command.method

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """Description of the act and its arguments, for `help` and editors."""
        kind = self._act[1]
        helps = option_helps(kind)
        lines = [f"    {field.name}: {helps.get(field.name, '')}" for field in fields(kind) if field.name != "life"]
        return "\n".join([self.command.help, "", "Args:", *lines]) if lines else self.command.help

    def __repr__(self) -> str:
        return f"<act '{self.__name__}' of life '{self.root}': {self.command.help}>"

    def __call__(self, *positional: Any, **named: Any) -> Any:
        """Run the act. Raises `UserError` for an unknown keyword, an invalid value, and the errors of the act."""
        act, kind = self._act
        hints = get_type_hints(kind, include_extras=True)
        known = {field.name: field for field in fields(kind) if field.name != "life"}
        named = self._by_name(positional, named)
        for name in named:
            if name not in known:
                raise UserError(
                    f"{self.__name__}() has no argument '{name}'.{nearest(name, known)} "
                    f"The arguments are {', '.join(sorted(known))}."
                )
        missing = [field.name for field in known.values() if _is_required(field) and field.name not in named]
        if missing:
            raise UserError(f"{self.__name__}() needs the argument '{missing[0]}'.")
        values = {name: value_of(name, hints[name], value) for name, value in named.items()}
        return act(kind(**values, life=self.root))

    @property
    def __signature__(self) -> inspect.Signature:
        """Signature of the act, for `help` and editors."""
        act, kind = self._act
        hints = get_type_hints(kind)
        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD
                if field.name in self.command.places
                else inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if _is_required(field) else field.default,
                annotation=hints[field.name],
            )
            for field in sorted(fields(kind), key=lambda field: [field.name != name for name in self.command.places])
            if field.name != "life"
        ]
        return inspect.Signature(parameters, return_annotation=get_type_hints(act).get("return", Any))

    @cached_property
    def _act(self) -> tuple[Act, Any]:
        act = self.command.load()
        return act, get_type_hints(act)["options"]

    def _by_name(self, positional: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """Return all arguments by name."""
        places = self.command.places
        if len(positional) > len(places):
            rule = f"only {' and '.join(map(repr, places))} may be positional" if places else "none may be positional"
            raise UserError(f"{self.__name__}() takes keyword arguments; {rule}.")
        given = dict(zip(places, positional, strict=False))
        if twice := [name for name in given if name in named]:
            raise UserError(f"{self.__name__}() got '{twice[0]}' twice, by position and by keyword.")
        return given | named


def _is_required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
