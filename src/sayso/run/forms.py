"""The acts that the page may start: their options as the fields of a form, and a filled form as a command line.

The fields come from the dataclass of the act's options, as the flags of the command line do, and every value is checked
by it. Options that name code, an address, a key or a place outside of the life are left out.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sayso.base.errors import UserError, nearest
from sayso.base.life import Life
from sayso.base.log import events_of
from sayso.base.option_help import option_helps
from sayso.base.option_values import value_of
from sayso.base.ranges import numbers_of
from sayso.run.acts import COMMANDS, Command
from sayso.serve.jobs import JobCommand
from sayso.token.tokenizer import is_text

ACTS = (
    *("prepare", "tokenizer train", "pretrain", "finetune", "reward", "align", "evaluate", "judge", "compare"),
    *("gather", "cycle", "quantize", "export", "promote", "verify", "report"),
)
"""What may be started from the page, in the order of the form."""
LEFT_OUT = frozenset(
    ("life", "store", "key", "endpoint", "judge", "detector", "mirror", "gold", "allow_code", "every", "when")
)
"""Options that the page cannot set: the life's own, code, addresses and keys, and endless schedules."""
LEFT_OUT_OF = {"export": ("to",)}
_FIRST = ("name", "parent", "model", "models", "candidate", "minutes", "steps", "epochs", "depth")


class Forms:
    """The forms of a life's acts."""

    def __init__(self, life: Life) -> None:
        self.life = life

    def every(self) -> list[dict[str, Any]]:
        """Return every act that may be started, with its fields, JSON-ready."""
        return [
            {"act": name, "help": _command(name).help, "fields": [_described(name, one) for one in _offered(name)]}
            for name in ACTS
        ]

    def begin(self, act: str, values: Mapping[str, Any]) -> JobCommand:
        """Return the command of an act with some options; all others have their defaults.

        Raises `UserError` for an unknown act, an unknown option, and an invalid value.
        """
        if act not in ACTS:
            raise UserError(f"An act must be one of {', '.join(ACTS)}; got '{act}'.{nearest(act, ACTS)}")
        known = [field.name for field in _offered(act)]
        for name in values:
            if name not in known:
                raise UserError(f"'{act}' has no option '{name}' here.{nearest(name, known)}")
        return self._command(act, values)

    def resume(self, run: str) -> JobCommand:
        """Return the command that resumes an interrupted run with its own options.

        Raises `UserError` if it does not train, or has ended.
        """
        folder = self.life.run(run)
        if not (folder / "plan.json").is_file() or not (folder / "config.toml").is_file():
            raise UserError(f"'{run}' cannot be resumed: only a run that trains can; start its act again.")
        events = events_of(folder / "run.jsonl")
        act, config = str(events[0].get("act")), tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
        if events[-1]["event"] == "end":
            raise UserError(f"'{run}' has ended, so there is nothing to resume.")
        if act not in ACTS or run != f"{act}-{config.get('name')}":
            raise UserError(f"'{run}' is a part of another run; start that act again, and it goes on where it was.")
        return self._command(act, {name: value for name, value in config.items() if name not in ("life", "restart")})

    def _command(self, act: str, values: Mapping[str, Any]) -> JobCommand:
        kind = _options(act)
        hints = get_type_hints(kind, include_extras=True)
        by_name = {field.name: field for field in fields(kind)}
        missing = [name for name, field in by_name.items() if _default(field) is MISSING and name not in values]
        if missing:
            raise UserError(f"'{act}' needs the option '{missing[0]}'.")
        for value in _texts(values):
            if "\0" in value or not is_text(value):
                raise UserError("A text must be valid UTF-8 without null characters.")
        given = {name: value_of(name, hints[name], value) for name, value in values.items()}
        if act == "export":
            given["to"] = self._export_to(given)
        options = kind(**given, life=self.life.root.absolute())
        words = [word for name in ("life", *given) for word in _flags(by_name[name], getattr(options, name))]
        name = getattr(options, "name", None)
        if name:
            self.life.model(name)  # checks the name
        return JobCommand(act, (*act.split(), *words), f"{act}-{name}" if name else None)

    def _export_to(self, given: Mapping[str, Any]) -> Path:
        """Return the file that an export writes: in the life's folder `exports`."""
        model, form = (given.get(name, _default_of("export", name)) for name in ("model", "format"))
        return self.life.root.absolute() / "exports" / f"{self.life.model(model).name}-{form}.gguf"


def _texts(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield all texts in some values."""
    for value in values.values():
        yield from (part for part in (value if isinstance(value, list | tuple) else [value]) if isinstance(part, str))


def _flags(field: Field[Any], value: Any) -> list[str]:
    """Return the arguments that set an option; none if it has its default."""
    default = _default(field)
    if default is not MISSING and value == default:
        return []
    flag = field.name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, tuple):
        if not value:
            raise UserError(f"'{field.name}' must have at least one value; omit it for its default.")
        return [f"--{flag}={part}" for part in value]
    if value is None:
        raise UserError(f"'{field.name}' must have a value; omit it for its default.")
    return [f"--{flag}={value!r}" if isinstance(value, float) else f"--{flag}={value}"]


def _described(act: str, field: Field[Any]) -> dict[str, Any]:
    """Return a field of a form, JSON-ready."""
    kind = _options(act)
    hint, default = get_type_hints(kind)[field.name], _default(field)
    number, limits = next(((one, limits) for name, one, limits in numbers_of(kind) if name == field.name), (None, None))
    parts = [part for part in (get_args(hint) if NoneType in get_args(hint) else (hint,)) if part is not NoneType]
    choices = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    several = any(get_origin(part) is tuple for part in parts)
    mixed = number is not None and any(part in (str, Path) for part in parts)
    kinds = {
        "list": several,
        "switch": bool in parts,
        "choice": choices,
        "mixed": mixed,
        "number": number,
        "text": True,
    }
    shown = None if default is MISSING else list(default) if isinstance(default, tuple) else default
    return {
        "name": field.name,
        "kind": next(name for name, holds in kinds.items() if holds),
        "help": option_helps(kind).get(field.name, "") + (f" Range: {limits}." if limits else ""),
        "default": str(shown) if isinstance(shown, Path) else shown,
        "required": default is MISSING,
        "choices": choices,
        "whole": number is int,
        "first": field.name in _FIRST or default is MISSING,
    }


@cache
def _offered(act: str) -> tuple[Field[Any], ...]:
    """Return the options of an act that a form has: the usual ones first, those of parent classes last."""
    kind = _options(act)
    found = [one for one in fields(kind) if one.name not in LEFT_OUT and one.name not in LEFT_OUT_OF.get(act, ())]
    own = kind.__annotations__
    return tuple(sorted(found, key=lambda one: (one.name not in _FIRST, one.name not in own)))


def _options(act: str) -> Any:
    return get_type_hints(_command(act).load())["options"]


def _command(act: str) -> Command:
    return next(command for command in COMMANDS if command.name == act)


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _default_of(act: str, name: str) -> Any:
    return _default(next(field for field in fields(_options(act)) if field.name == name))
