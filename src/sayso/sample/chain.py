"""Length of the longest chain of references in a JSON schema or grammar.

A grammar compiler follows references by recursion, one level each, and may run out of stack or time on a long
chain. A reference back to something that is being followed (recursion in the grammar) ends a chain.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

# The beginning of a rule in Lark ("name:", "?name:", "name.2{a,b}:", "name[lazy]:") or in GBNF ("name ::=").
_RULE = re.compile(
    r"^[ \t]*+[?!]?([\w-]++)[ \t]*+(?:\.-?\d++)?[ \t]*+(?:\{[^}\n]*+\})?[ \t]*+(?:\[[^\]\n]*+\])?\s*+:", re.MULTILINE
)
_NAME = re.compile(r"[\w-]+")


def longest_chain(edges: Mapping[Any, Sequence[Any]]) -> int:
    """Return the number of nodes on the longest path of a graph, visited in the order of its nodes."""
    lengths: dict[Any, int] = {}
    for root in edges:
        if root in lengths:
            continue
        lengths[root] = 1
        path: list[tuple[Any, Iterator[Any]]] = [(root, iter(edges[root]))]
        while path:
            node, following = path[-1]
            child = next((child for child in following if child not in lengths), None)
            if child is not None:
                lengths[child] = 1
                path.append((child, iter(edges[child])))
                continue
            path.pop()
            lengths[node] = 1 + max((lengths[child] for child in edges[node] if child != node), default=0)
    return max(lengths.values(), default=0)


def schema_chain(schema: Mapping[str, Any]) -> int:
    """Return the maximum number of successive `$ref` in a schema; references to other documents are ignored."""
    targets: dict[str, Any] = {}
    edges: dict[int, list[int]] = {}
    pending: list[Any] = [schema]
    while pending:
        place = pending.pop()
        if id(place) in edges:
            continue
        found = [targets.setdefault(reference, _resolved(schema, reference)) for reference in _references(place)]
        found = [target for target in found if isinstance(target, Mapping | list)]
        edges[id(place)] = [id(target) for target in found]
        pending += found
    return longest_chain(edges) - 1


def rule_chain(source: str) -> int:
    """Return the maximum number of successive rules in a grammar in Lark or GBNF."""
    heads = list(_RULE.finditer(source))
    names = {head[1] for head in heads}
    edges: dict[str, dict[str, None]] = {}
    ends = [*(head.start() for head in heads), len(source)][1:]
    for head, end in zip(heads, ends, strict=False):
        body = _NAME.findall(source, head.end(), end)
        edges.setdefault(head[1], {}).update(dict.fromkeys(name for name in body if name in names))
    return longest_chain({name: list(following) for name, following in edges.items()})


def _references(place: Any) -> Iterable[str]:
    """Return the `$ref` inside a value, including those in nested values."""
    found: dict[str, None] = {}
    pending = [place]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            if isinstance(part.get("$ref"), str):
                found[part["$ref"]] = None
            pending += part.values()
        elif isinstance(part, list | tuple):
            pending += part
    return found


def _resolved(schema: Mapping[str, Any], reference: str) -> Any:
    """Return the target of a JSON pointer in a fragment, None for anything else."""
    if not reference.startswith("#"):
        return None
    place: Any = schema
    for part in unquote(reference[1:]).split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, Mapping):
            place = place.get(part)
        elif isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            place = place[int(part)]
        else:
            return None
    return place
