"""Write configs as TOML files and as plain data.

A config is a flat frozen dataclass; the resolved config is written into its run, so that the run can be described
and repeated. `None` means "derive it" and is omitted from the file; `0` means "off".
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from sayso.base.files import write_atomic


def plain(config: Any) -> dict[str, Any]:
    """Return a config dataclass as JSON-ready data: paths become strings, tuples become lists."""
    return {name: _plain_value(value) for name, value in asdict(config).items()}


def as_recorded(config: dict[str, Any], stored: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain config as an earlier version stored the same one, without options that it did not have.

    If the two differ in more than options that have their default now, `config` is returned as it is. So what was made
    before there was an option is still recognized as made.
    """
    earlier = {key: x for key, x in config.items() if key in stored or key not in defaults or x != defaults[key]}
    return earlier if earlier == stored else config


def defaults_of(kind: Any) -> dict[str, Any]:
    """Return the defaults of a config dataclass as plain data, of those fields that have one."""
    return {field.name: _plain_value(field.default) for field in fields(kind) if field.default is not MISSING}


def save_config(config: Any, path: Path) -> None:
    """Write a flat config dataclass as TOML, one line per field that is set, atomically."""
    lines = (f"{name} = {_toml_value(value)}\n" for name, value in plain(config).items() if value is not None)
    write_atomic(path, "".join(lines))


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
