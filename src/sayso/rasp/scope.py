"""Names of a program and what they stand for: a chain of scopes, from a function's outwards to the language's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from sayso.base.errors import UserError, nearest
from sayso.rasp.errors import Place
from sayso.rasp.expression import Selector, SOp
from sayso.rasp.values import Value, shown

if TYPE_CHECKING:
    from lark import Tree

RESERVED = {
    *("if", "else", "not", "and", "or", "out", "def", "return", "range", "for", "in", "zip", "len", "get", "select"),
    *("aggregate", "aggregate_max", "aggregate_min", "round", "indicator", "draw", "load", "True", "False", "None"),
    *("tokens_asis", "tokens_str", "tokens_int", "tokens_float", "tokens_bool", "indices"),
}
"""Names that no program may assign to."""


@dataclass(frozen=True)
class Source:
    """A program's text, for messages."""

    name: str
    text: str
    before: int = 0
    """Number of lines before the text."""

    def place(self, tree: "Tree[Any]") -> Place:
        """Return where a part of the syntax tree begins."""
        lines = self.text.split("\n")
        line, column = (1, 1) if tree.meta.empty else (tree.meta.line, tree.meta.column)
        return Place(self.name, line, column, lines[min(max(line - self.before, 1), len(lines)) - 1].rstrip("\r"))


@dataclass(frozen=True, eq=False, repr=False)
class Function:
    """A function of a program."""

    name: str
    arguments: tuple[str, ...]
    body: "Tree[Any]"
    results: "Tree[Any]"
    scope: "Scope"
    source: Source


@dataclass(frozen=True, eq=False, repr=False)
class Builtin:
    """A function of the language; `call` gets the arguments."""

    name: str
    least: int
    most: int
    call: Callable[..., "Item"]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An s-op or a selector on one input."""

    sequence: tuple[Value, ...]
    values: tuple[Value, ...] | None
    rows: tuple[tuple[bool, ...], ...] | None = None


Item = Union[Value, list["Item"], dict[Value, "Item"], SOp, Selector, Function, Builtin, Evaluated]  # noqa: UP007  # forward references


@dataclass(eq=False, repr=False)
class Scope:
    """Names and their items; `parent` is asked for others."""

    parent: "Scope | None" = None
    owner: str = "console"
    items: dict[str, Item] = field(default_factory=dict)

    def get(self, name: str) -> Item:
        """Return the item of a name. Raises `UserError` with the nearest one if there is none."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.items:
                return scope.items[name]
            scope = scope.parent
        raise UserError(f"There is no name '{name}'.{nearest(name, self.names())}")

    def set(self, name: str, item: Item) -> None:
        """Assign to a name. Raises `UserError` for one of the language's own."""
        if name in RESERVED:
            raise UserError(f"'{name}' is a word of the language; assign to another name.")
        self.items[name] = item

    def names(self) -> list[str]:
        """Return every name that can be used here."""
        return [*self.items, *(self.parent.names() if self.parent else ())]


def described(item: Item) -> str:
    """Return an item as a message quotes it."""
    if isinstance(item, list):
        return f"[{', '.join(map(described, item[:8]))}{', ...' if len(item) > 8 else ''}]"
    if isinstance(item, dict):
        return "a dict"
    if isinstance(item, Function | Builtin):
        return f"the function {item.name}"
    if isinstance(item, Evaluated):
        return "the values of an s-op on an input"
    return str(item) if isinstance(item, SOp | Selector) else shown(item)


def the_one(items: Sequence[Item]) -> Item:
    """Return the only item, or several as a list."""
    return items[0] if len(items) == 1 else list(items)
