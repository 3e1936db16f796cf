"""What is wrong with a body, from pydantic's problems: one sentence in JSON's words, OpenAI's code, and the field.

A field is named by its path in the client's body, in OpenAI's notation: `messages[0].content`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sayso.base.json_words import either_of, json_kind, json_shown

MOST_ECHOED = 200  # characters of a client's text that an error may repeat
_TYPES = {
    "string_type": "a string", "int_type": "an integer", "int_from_float": "an integer", "int_parsing": "an integer",
    "int_parsing_size": "an integer", "float_type": "a number", "bool_type": "true or false", "list_type": "an array",
    "dict_type": "an object", "model_type": "an object", "model_attributes_type": "an object",
}  # fmt: skip
"""pydantic's problems with the type of a value, and the type that the field must have."""
_RULES = {
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "literal_error": "must be {expected}",
    "too_short": "must not be empty",  # every least length is 1
    "too_long": "must have at most {max_length} items",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "missing": "is required",
    "extra_forbidden": "is not a parameter of this request",
}
_SHAPES = {"str": "string", "constrained-str": "string", "int": "integer", "constrained-int": "integer"}
"""The types of a union, by pydantic's label."""

Problem = Mapping[str, Any]
Path = tuple[Any, ...]


def first_problem(problems: Sequence[Problem], body: Any) -> tuple[str, str, str | None]:
    """Return the first problem of a body: a sentence, OpenAI's code, and the path of the field."""
    problem, path, rule = _clearest(problems, body)
    where = joined(path)
    if problem["type"] == "json_invalid":
        return "The body must be JSON.", "invalid_json", None
    if problem["type"] == "missing" and not where:
        return "The request needs a JSON body; got an empty one.", "invalid_json", None
    if problem["type"] == "refused":
        found = problem["ctx"]
        name, text = str(found["param"]), found["text"]
        where = under(where, name)
        if text.startswith(f"'{name}'"):
            text = f"'{where}'{text[len(name) + 2 :]}"
        return text, found["code"], where or None
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        where = under(where, problem["ctx"]["discriminator"].strip("'"))
        tags = problem["ctx"].get("expected_tags", "").replace("'", '"').split(", ")
        return f"'{where}' {f'must be {either_of(tags)}' if tags != [''] else 'is required'}.", "invalid_value", where
    subject = f"'{where}'" if where else "The body"
    code = "unknown_parameter" if problem["type"] == "extra_forbidden" else "invalid_value"
    return f"{subject} {rule}{_got(problem)}.", code, where or None


def joined(path: Sequence[Any]) -> str:
    """Return a path in OpenAI's notation, `messages[0].content`."""
    name = ""
    for part in path:
        name = under(name, f"[{part}]" if isinstance(part, int) else str(part))
    return clip(name)


def under(where: str, name: str) -> str:
    """Return the path of a field inside another one; a name such as `[0].type` is that of an array's item."""
    return where + name if name.startswith("[") or not where or not name else f"{where}.{name}"


def clip(text: str) -> str:
    """Return a client's text cut to the length that an error may repeat."""
    return text if len(text) <= MOST_ECHOED else f"{text[: MOST_ECHOED - 3]}..."


def _clearest(problems: Sequence[Problem], body: Any) -> tuple[Problem, Path, str]:
    """Return the problem to report, the path of its field in the client's body, and the rule that it breaks.

    A value that fits none of the types of a field is a problem for each of them: reported is the type that fits
    furthest, or all of them if none fits better.
    """
    places = [(*_place(problem, body), problem) for problem in problems]
    path, _, first = places[0]
    of_types: dict[Path, tuple[Path, Problem]] = {}
    for place, kind, problem in places:
        if kind is not None and place[:1] == path[:1]:
            of_types.setdefault(kind, (place, problem))
    if len(of_types) < 2:
        return first, path, _rule(first)
    furthest = max((place for place, _ in of_types.values()), key=lambda place: [len(place), *map(str, place)])
    best = {kind: problem for kind, (place, problem) in of_types.items() if place == furthest}
    for problem in best.values():
        if problem["type"] not in _TYPES:  # the value has this type, but breaks another rule
            return problem, furthest, _rule(problem)
    problem = next(iter(best.values()))
    shapes = [_shape(kind, len(furthest)) or _TYPES[one["type"]] for kind, one in best.items()]
    return problem, furthest, f"must be {either_of(list(dict.fromkeys(shapes)))}"


def _place(problem: Problem, body: Any) -> tuple[Path, Path | None]:
    """Return the path of a problem's field as the client sent it, and the type among several that it is about.

    pydantic's location also names the type that was tried; such parts are not in the body.
    """
    source, *parts = problem["loc"] or ("body",)
    if source != "body" or body is None:
        return tuple(part for part in problem["loc"] if part not in ("body", "path", "query")), None
    path: list[Any] = []
    kind, value = None, body
    for place, part in enumerate(parts):
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            path.append(part)
            value = value[part]
        elif problem["type"] == "missing" and place == len(parts) - 1:
            path.append(part)
        elif kind is None:
            kind = tuple(parts[: place + 1])
    return tuple(path), kind


def _shape(kind: Path, depth: int) -> str:
    """Return the part of a type that a value of this depth must have: "an array of strings"; "" if it has no name.

    `kind` ends with pydantic's label of the type, such as `list[list[int]]`.
    """
    label = str(kind[-1])
    for _ in range(depth - (len(kind) - 1)):
        label = label.removeprefix("list[").removesuffix("]")
    arrays, item = label.count("list["), re.sub(r"^(list\[)+|\]+$", "", label)
    if item.startswith("dict["):
        item = "dict"
    name = {**_SHAPES, "dict": "object", "any": ""}.get(item)
    if name is None or not arrays + len(name):
        return ""
    words = ["array"] * arrays + ([name] if name else [])
    first = f"an {words[0]}" if words[0][0] in "aio" else f"a {words[0]}"
    return " of ".join([first, *(f"{word}s" for word in words[1:])])


def _rule(problem: Problem) -> str:
    """Return the rule that a value breaks, to follow the name of its field: "must be a string"."""
    kind, found = problem["type"], problem.get("ctx") or {}
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    if kind not in _RULES:
        return str(problem["msg"]).removesuffix(".")
    found = {name: f"{value:g}" if isinstance(value, float) else value for name, value in found.items()}
    return _RULES[kind].format(**found).replace("'", '"')


def _got(problem: Problem) -> str:
    """Return what was sent instead, where it helps."""
    value = problem.get("input")
    if problem["type"] in ("rule", "missing", "extra_forbidden", "too_short", "string_too_short"):
        return ""
    if problem["type"] in ("too_long", "string_too_long"):
        return f"; got {(problem.get('ctx') or {}).get('actual_length') or len(value or '')}"
    return f"; got {json_kind(value) if isinstance(value, dict | list) and value else json_shown(value)}"
