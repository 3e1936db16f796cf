"""Whether a value fits a JSON schema: takes both, returns what does not fit.

The keywords that tools use; others, such as `$ref` and `format`, restrict nothing here.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": (int, float),
}


def mismatch(value: Any, schema: Any, at: str = "arguments") -> str | None:
    """Return the first thing in a value that its schema does not allow, in a few words; None if it fits."""
    return next(_mismatches(value, schema, at), None)


def _mismatches(value: Any, schema: Any, at: str) -> Iterator[str]:
    if schema is False:
        yield f"{at} is not allowed"
    if not isinstance(schema, Mapping):
        return
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{at} must be of type {' or '.join(kinds)}"
        return
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield f"{at} is none of the allowed values"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{at} is not the only allowed value"
    yield from _of_kind(value, schema, at)
    yield from _combined(value, schema, at)


def _of_kind(value: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    """Yield what the keywords for the type of the value do not allow."""
    if isinstance(value, dict):
        yield from _of_object(value, schema, at)
    elif isinstance(value, list):
        yield from _size(len(value), schema, ("minItems", "maxItems"), at)
        for place, one in enumerate(value):
            yield from _mismatches(one, schema.get("items"), f"{at}[{place}]")
    elif isinstance(value, str):
        yield from _size(len(value), schema, ("minLength", "maxLength"), at)
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{at} does not match its pattern"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _size(value, schema, ("minimum", "maximum"), at)
        if not schema.get("exclusiveMinimum", -math.inf) < value < schema.get("exclusiveMaximum", math.inf):
            yield f"{at} is out of range"


def _of_object(value: Mapping[str, Any], schema: Mapping[str, Any], at: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{at} lacks '{name}'"
    for name, one in value.items():
        if name in known:
            yield from _mismatches(one, known[name], f"{at}.{name}")
        elif not any(re.search(pattern, name) for pattern in schema.get("patternProperties", {})):
            yield from _mismatches(one, schema.get("additionalProperties"), f"{at}.{name}")


def _combined(value: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    for part in schema.get("allOf", []):
        yield from _mismatches(value, part, at)
    for name in ("anyOf", "oneOf"):
        if name in schema:
            fitting = sum(mismatch(value, part, at) is None for part in schema[name])
            if not fitting or (name == "oneOf" and fitting > 1):
                yield f"{at} fits none of the choices" if not fitting else f"{at} fits more than one of the choices"


def _size(size: float, schema: Mapping[str, Any], names: tuple[str, str], at: str) -> Iterator[str]:
    least, most = (schema.get(name) for name in names)
    if (least is not None and size < least) or (most is not None and size > most):
        yield f"{at} is out of range"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, object))


def _same(value: Any, other: Any) -> bool:
    """Whether two values are equal as JSON, where true is not 1."""
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_same(one, other[key]) for key, one in value.items())
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    return bool(value == other)
