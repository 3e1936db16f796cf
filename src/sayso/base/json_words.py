"""JSON values in messages, in JSON's own words: true, null, "a text", an object; never Python's.

Takes a value that a client sent or a file holds; returns the text that an error shows of it.
"""

import json
from collections.abc import Sequence
from typing import Any

MOST_SHOWN = 80  # characters of a value in a message


def json_kind(value: Any) -> str:
    """Return what a value is in JSON: "a string", "an object", "null", "true"."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds = ((str, "a string"), (int | float, "a number"), (list | tuple, "an array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "an object")


def json_shown(value: Any) -> str:
    """Return a value as JSON on one line, cut to `MOST_SHOWN` characters; its kind if it nests too deeply."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):  # also a number of thousands of digits
        return json_kind(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def either_of(words: Sequence[str], last: str = "or") -> str:
    """Return a list in words: "a", "a or b", "a, b or c"."""
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)
