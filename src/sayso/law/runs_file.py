"""Runs from a file: CSV with a header, or JSON lines; takes a path, returns `Runs`.

A row has its parameters, its loss, and its tokens or its training FLOPs, from which D = C / 6 N follows. Columns are
recognized by their usual names, whatever their capitals.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sayso.base.errors import UserError
from sayso.law.scaling import Runs

NAMES = {
    "parameters": ("parameters", "params", "n", "model size", "model_size", "size"),
    "tokens": ("tokens", "d", "training tokens", "training_tokens"),
    "compute": ("flops", "flop", "c", "compute", "training flop", "training flops", "training_flops"),
    "loss": ("loss", "l", "final loss", "final_loss", "held_out_loss"),
}


def read_runs(path: Path) -> Runs:
    """Return the runs of a file. Raises `UserError`, with the file and line, for a row that is none."""
    rows: list[tuple[float, float, float]] = []
    for line, row in _rows(path):
        values = {name.strip().lower(): value for name, value in row.items() if name is not None}
        size, loss = _number(path, line, values, "parameters"), _number(path, line, values, "loss")
        if any(name in values for name in NAMES["tokens"]):
            tokens = _number(path, line, values, "tokens")
        else:
            tokens = _number(path, line, values, "compute") / (6 * size)
        rows.append((size, tokens, loss))
    if not rows:
        raise UserError(f"'{path}' has no runs; write one in each line, after a header such as parameters,tokens,loss.")
    return Runs(*np.array(rows).T)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"There is no file '{path}'.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read as text: {error}.") from error
    if path.suffix.lower() in (".jsonl", ".json") or text.lstrip().startswith("{"):
        for line, row in enumerate(text.splitlines(), 1):
            if row.strip():
                try:
                    found = json.loads(row)
                except (ValueError, RecursionError) as error:  # also of a number with too many digits
                    raise UserError(f"'{path}' line {line} is not JSON: {error}.") from error
                if not isinstance(found, dict):
                    raise UserError(f"'{path}' line {line} must be an object; got {row.strip()[:60]}.")
                yield line, found
    else:
        reader = csv.DictReader(text.splitlines())
        try:
            for entry in reader:
                yield reader.line_num, entry
        except csv.Error as error:
            raise UserError(f"'{path}' line {reader.line_num} is not CSV: {error}.") from error


def _number(path: Path, line: int, values: Mapping[str, Any], what: str) -> float:
    name = next((name for name in NAMES[what] if name in values), None)
    if name is None:
        wanted = "tokens or flops" if what == "compute" else what
        raise UserError(f"'{path}' line {line} has no {wanted}; its columns are {', '.join(values) or 'empty'}.")
    try:
        number = float(values[name])
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not (np.isfinite(number) and number > 0):
        raise UserError(f"'{path}' line {line}: {name} must be a positive number; got {values[name]!r}.")
    return number
