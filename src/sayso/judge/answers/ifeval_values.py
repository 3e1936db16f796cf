"""The values of IFEval's instructions, such as a number of words: what they may be, and how numbers are compared."""

from collections.abc import Callable, Mapping
from typing import Any

from sayso.judge.answers.language import LANGUAGES

Values = Mapping[str, Any]
RELATIONS = ("at least", "less than")


def holds(count: int, relation: str, bound: int) -> bool:
    """Return whether a count is at least, or less than, a bound."""
    return count >= bound if relation == "at least" else count < bound


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_text, value))


Kind = tuple[str, Callable[[object], bool], tuple[str, ...]]
NUMBER: Kind = ("a number, 0 or more", _is_number, ())
TEXT: Kind = ("a text", _is_text, ())
TEXTS: Kind = ("a list of texts", _is_texts, ())
LETTER: Kind = ("one character", lambda value: _is_text(value) and len(str(value)) == 1, ())
RELATION: Kind = ("'at least' or 'less than'", lambda value: value in RELATIONS, RELATIONS)
LANGUAGE: Kind = ("a language code such as 'de'", lambda value: value in LANGUAGES, tuple(LANGUAGES))
"""Each kind of value: in words, the check, and the known values if they are few."""
