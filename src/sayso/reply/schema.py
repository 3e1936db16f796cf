"""Close the objects of a tool's schema: takes a JSON schema, returns it without undeclared properties.

JSON Schema allows further properties by default, and a small model invents them until its reply is cut.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_NAMED = ("properties", "patternProperties", "$defs", "definitions")  # keywords with schemas by name
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties")
_OPENS = ("additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames")
_MERGES = ("allOf", "if", "dependentSchemas")  # keywords with more properties of the same object
_CHOOSES = ("anyOf", "oneOf", "$ref")  # the same, but only next to `properties`


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a tool's arguments with `additionalProperties: false` in each object of `properties`.

    An object remains open if its schema has that keyword or a similar one, or requires undeclared properties; a nested
    one also without `properties`, which stands for any object. A schema that merges several into one is unchanged.
    """
    if any(_merges(part) for part in _parts(schema)):
        return dict(schema)
    chooses = any(name in schema for name in _CHOOSES)
    return dict(_closed(schema if chooses else {"properties": {}, **schema}))


def _closed(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    done = dict(schema)
    for name, value in schema.items():
        if name in _NAMED and isinstance(value, Mapping):
            done[name] = {key: _closed(part) for key, part in value.items()}
        elif name in _LISTED and isinstance(value, list | tuple):
            done[name] = [_closed(part) for part in value]
        elif name in _SINGLE:
            done[name] = _closed(value)
    return done | ({"additionalProperties": False} if _may_close(schema) else {})


def _may_close(schema: Mapping[str, Any]) -> bool:
    declared, required = schema.get("properties"), schema.get("required")
    if not isinstance(declared, Mapping) or any(name in schema for name in _OPENS):
        return False
    least = schema.get("minProperties", 0)
    enough = not isinstance(least, int) or least <= len(declared)
    return enough and (not isinstance(required, list | tuple) or all(name in declared for name in required))


def _merges(schema: Mapping[str, Any]) -> bool:
    return any(name in schema for name in _MERGES) or (
        "properties" in schema and any(name in schema for name in _CHOOSES)
    )


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and all schemas in it."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for name, value in schema.items():
        if name in _NAMED and isinstance(value, Mapping):
            inside = list(value.values())
        elif name in _LISTED and isinstance(value, list | tuple):
            inside = list(value)
        else:
            inside = [value] if name in _SINGLE else []
        for part in inside:
            yield from _parts(part)
