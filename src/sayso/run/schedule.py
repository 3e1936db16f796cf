"""When a cycle is due: takes times such as 12h, numbers of ratings, and the state of the last cycle."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sayso.base.errors import UserError

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def due(state: Mapping[str, Any] | None, now: float, ratings: int, every: float | None, count: int | None) -> bool:
    """Whether a cycle is to begin, given the last one, the time in seconds and the number of ratings in the store.

    With both, there must be enough ratings when the time has come. The first cycle waits for ratings only.
    """
    began = datetime.fromisoformat(state["began"]).timestamp() if state else -float("inf")
    known = int(state["ratings"]) if state else 0
    return (every is None or now >= began + every) and (count is None or ratings - known >= count)


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of a time such as 90m, 12h, 1d or 1w. Raises `UserError` for another text."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhdw])\w*\s*", text)
    if not found or not float(found[1]):
        raise UserError(f"--every must be a time such as 90m, 12h, 1d or 1w; got '{text}'.")
    return float(found[1]) * _UNITS[found[2]]


def ratings_of(text: str | None) -> int | None:
    """Return the number in "200 ratings". Raises `UserError` for another text."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,9})\s+ratings?\s*", text)
    if not found or not int(found[1]):
        raise UserError(f"--when must be a number of ratings such as '200 ratings'; got '{text}'.")
    return int(found[1])
