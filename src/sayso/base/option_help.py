"""The help of options: the docstrings under the fields of their dataclass."""

from dataclasses import is_dataclass


def option_helps(kind: type) -> dict[str, str]:
    """Return the docstring under each field of a class of options, those of parent classes included."""
    from docstring_parser import parse_from_object

    parsed = [parse_from_object(part).params for part in reversed(kind.__mro__) if is_dataclass(part)]
    return {line.arg_name: line.description or "" for lines in parsed for line in lines}
