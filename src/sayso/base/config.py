"""Configs between a frozen dataclass, a TOML file and plain data.

A config is a flat frozen dataclass; the resolved config is written next to its run, so that the run can be
described and repeated. `None` means "derive it" and is omitted from the file; `0` means "off".
"""

import json
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from sayso.base.errors import UserError, nearest
from sayso.base.files import write_atomic

Config = TypeVar("Config")


def plain(config: Any) -> dict[str, Any]:
    """Return a config dataclass as JSON-ready data: paths become strings, tuples become lists."""
    return {name: _plain_value(value) for name, value in asdict(config).items()}


def to_toml(config: Any) -> str:
    """Return a flat config dataclass as TOML text, one line per field that is set."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in plain(config).items() if value is not None)


def save_config(config: Any, path: Path) -> None:
    """Write a config as TOML, atomically."""
    write_atomic(path, to_toml(config))


def from_toml(kind: type[Config], path: Path) -> Config:
    """Read a config dataclass from a TOML file; an unknown name is a `UserError` that suggests the nearest."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"There is no config file '{path}'.") from error
    except ValueError as error:  # of TOML, or bytes that are not UTF-8
        raise UserError(f"'{path}' is not valid TOML: {error}.") from error
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise UserError(f"'{path}' sets '{name}', which {kind.__name__} does not have.{nearest(name, known)}")
    typed = {name: _typed(value, str(known[name].type)) for name, value in values.items()}
    return kind(**typed)


def _plain_value(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain_value(item) for item in value]
    return value


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _typed(value: Any, annotation: str) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if "Path" in annotation and isinstance(value, str) else value
