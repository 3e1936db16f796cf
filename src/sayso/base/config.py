"""Write configs as TOML files and as plain data.

A config is a flat frozen dataclass; the resolved config is written into its run, so that the run can be described
and repeated. `None` means "derive it" and is omitted from the file; `0` means "off".
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sayso.base.files import write_atomic


def plain(config: Any) -> dict[str, Any]:
    """Return a config dataclass as JSON-ready data: paths become strings, tuples become lists."""
    return {name: _plain_value(value) for name, value in asdict(config).items()}


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
