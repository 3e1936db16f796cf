"""Run the syntax tree of a program in a scope: takes statements, returns what each defined or computed.

An error gets the place of the innermost part of the program that has it. Where each expression was written is kept, so
that an input without a value can be traced to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sayso.base.errors import UserError
from sayso.rasp.errors import Place, ProgramError
from sayso.rasp.expression import Expression, Selector, SOp, select
from sayso.rasp.interpreter import EvaluationError
from sayso.rasp.operations import at, choose, dict_key, evaluate, is_in, iterated, operate
from sayso.rasp.scope import Builtin, Function, Item, Scope, Source, described, the_one
from sayso.rasp.values import Value

if TYPE_CHECKING:
    from lark import Tree

DEEPEST_CALL = 20
MOST_DIGITS = 3000
UNARY = {"-": "negate", "+": "plus", "not": "not"}


@dataclass(frozen=True)
class Defined:
    """A name and what was assigned to it; "out" for an expression without a name."""

    name: str
    item: Item


@dataclass(frozen=True)
class Drawn:
    """An s-op to draw, on an input or on the example."""

    name: str
    item: SOp | Selector
    sequence: Item | None


@dataclass(frozen=True)
class Command:
    """A command to the console: set, show, examples, display, exit."""

    name: str
    subset: str | None = None
    """Only for "s-op" or "selector"."""
    rest: str = ""
    value: Item = None
    """What `set` sets."""


Result = Defined | Drawn | Command


@dataclass(frozen=True)
class Evaluation:
    """Where a part of a program runs."""

    scope: Scope
    source: Source
    load: Callable[[str, Scope], list[Result]]
    """Runs the file of a name and gives its names to a scope."""
    places: dict[Expression, Place]
    causal: bool = False
    depth: int = 0

    def statements(self, tree: "Tree[Any]") -> list[Result]:
        """Run statements in order."""
        return [result for statement in tree.children for result in self.placed(statement, self._statement)]

    def placed(self, tree: "Tree[Any]", action: "Callable[[Tree[Any]], Any]") -> Any:
        """Run an action on a part of the tree; give its errors a place."""
        try:
            return action(tree)
        except ProgramError:
            raise
        except EvaluationError as error:
            place = self.places.get(error.expression) or self.source.place(tree)
            raise ProgramError(str(error), place) from error
        except UserError as error:
            raise ProgramError(str(error), self.source.place(tree)) from error
        except RecursionError:
            raise ProgramError(
                "The program is nested too deeply; give its parts names.", self.source.place(tree)
            ) from None

    def item(self, tree: "Tree[Any]") -> Item:
        """Return the item of an expression."""
        item = self.placed(tree, lambda one: _ITEMS[one.data](self, *one.children))
        if isinstance(item, Expression) and tree.data != "name":
            self.places.setdefault(item, self.source.place(tree))
        return item

    def several(self, tree: "Tree[Any] | None") -> list[Item]:
        """Return the items of expressions between commas."""
        return [self.item(child) for child in tree.children] if tree else []

    def _statement(self, tree: "Tree[Any]") -> list[Result]:
        return _STATEMENTS[tree.data](self, *tree.children)

    def evaluated(self, tree: "Tree[Any]") -> list[Result]:
        """Run an expression on its own."""
        item = self.item(tree)
        name = str(tree.children[0]) if tree.data == "name" else "out"
        if name == "out":
            self.scope.items["out"] = item
        return [Defined(name, item)]

    def assigned(self, names: "Tree[Any]", several: "Tree[Any]") -> list[Result]:
        """Run an assignment to one or more names."""
        return self._bind([str(name) for name in names.children], the_one(self.several(several)))

    def drawn(self, tree: "Tree[Any]", sequence: "Tree[Any] | None") -> list[Result]:
        """Return what to draw."""
        item = self.item(tree)
        if not isinstance(item, SOp | Selector):
            raise UserError(f"draw needs an s-op or a selector; got {described(item)}.")
        name = str(tree.children[0]) if tree.data == "name" else "out"
        return [Drawn(name, item, self.item(sequence) if sequence else None)]

    def defined(self, name: str, names: "Tree[Any] | None", body: "Tree[Any]", results: "Tree[Any]") -> list[Result]:
        """Define a function."""
        arguments = tuple(str(one) for one in names.children) if names else ()
        function = Function(str(name), arguments, body, results, self.scope, self.source)
        self.scope.set(function.name, function)
        return [Defined(function.name, function)]

    def looped(self, names: "Tree[Any]", iterable: "Tree[Any]", body: "Tree[Any]") -> list[Result]:
        """Run a loop's statements for each item; it prints nothing."""
        for item in iterated(self.item(iterable)):
            self._bind([str(name) for name in names.children], item)
            self.statements(body)
        return []

    def listed(self, value: "Tree[Any]", names: "Tree[Any]", iterable: "Tree[Any]") -> list[Item]:
        """Return the list of a comprehension."""
        return [inner.item(value) for inner in self._each(names, iterable)]

    def keyed(self, pair: "Tree[Any]", names: "Tree[Any]", iterable: "Tree[Any]") -> dict[Value, Item]:
        """Return the dict of a comprehension."""
        return dict(inner.pair(pair) for inner in self._each(names, iterable))

    def pair(self, tree: "Tree[Any]") -> tuple[Value, Item]:
        """Return an entry of a dict."""
        key, value = (self.item(child) for child in tree.children)
        return self.placed(tree, lambda _: dict_key(key)), value

    def called(self, callee: "Tree[Any]", several: "Tree[Any] | None") -> Item:
        """Call a function, or run an s-op or a selector on an input."""
        function, arguments = self.item(callee), self.several(several)
        if isinstance(function, SOp | Selector):
            return evaluate(function, the_one(arguments), causal=self.causal)
        if isinstance(function, Builtin):
            _check_count(function.name, len(arguments), function.least, function.most)
            return function.call(*arguments)
        if not isinstance(function, Function):
            raise UserError(f"Only functions, s-ops and selectors can be called; got {described(function)}.")
        _check_count(function.name, len(arguments), len(function.arguments), len(function.arguments))
        if self.depth >= DEEPEST_CALL:
            raise UserError(f"Calls may be {DEEPEST_CALL} deep; {function.name} calls itself, or others that do.")
        scope = Scope(function.scope, function.scope.owner)
        inner = replace(self, scope=scope, source=function.source, depth=self.depth + 1)
        for name, item in zip(function.arguments, arguments, strict=True):
            scope.set(name, item)
        inner.statements(function.body)
        return the_one(inner.several(function.results))

    def _bind(self, names: list[str], item: Item) -> list[Result]:
        items = [item] if len(names) == 1 else item
        if not isinstance(items, list) or len(items) != len(names):
            got = f"{len(items)} values" if isinstance(items, list) else f"one value, {described(item)}"
            raise UserError(f"{len(names)} names need {len(names)} values; got {got}.")
        for name, one in zip(names, items, strict=True):
            self.scope.set(name, one)
        return [Defined(name, one) for name, one in zip(names, items, strict=True)]

    def _each(self, names: "Tree[Any]", iterable: "Tree[Any]") -> "list[Evaluation]":
        """Return an evaluation per item of a comprehension, whose names stay inside it."""
        inner = []
        for item in iterated(self.item(iterable)):
            inner.append(replace(self, scope=Scope(self.scope, self.scope.owner)))
            inner[-1]._bind([str(name) for name in names.children], item)
        return inner


def _check_count(name: str, count: int, least: int, most: int) -> None:
    if not least <= count <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise UserError(f"{name} takes {wanted} argument{'' if most == 1 else 's'}; got {count}.")


def _short_enough(digits: str) -> str:
    if len(digits) > MOST_DIGITS:
        raise UserError(f"A number may have at most {MOST_DIGITS:,} digits; got {len(digits):,}.")
    return str(digits)


_STATEMENTS: dict[str, Callable[..., list[Result]]] = {
    "evaluate": Evaluation.evaluated,
    "assign": Evaluation.assigned,
    "load": lambda self, name: self.load(str(name)[1:-1], self.scope),
    "draw": Evaluation.drawn,
    "function": Evaluation.defined,
    "loop": Evaluation.looped,
}
_ITEMS: dict[str, Callable[..., Item]] = {
    "name": lambda self, name: self.scope.get(str(name)),
    "int": lambda _, digits: int(_short_enough(digits)),
    "float": lambda _, digits: Fraction(_short_enough(digits)),
    "string": lambda _, text: str(text)[1:-1],
    "list": Evaluation.several,
    "dict": lambda self, *pairs: dict(self.pair(pair) for pair in pairs if pair),
    "list_loop": Evaluation.listed,
    "dict_loop": Evaluation.keyed,
    "unary": lambda self, sign, one: operate(UNARY[str(sign)], self.item(one)),
    "binary": lambda self, left, sign, right: operate(str(sign), self.item(left), self.item(right)),
    "choose": lambda self, *parts: choose(*map(self.item, parts)),
    "contained": lambda self, left, right: is_in(self.item(left), self.item(right)),
    "index": lambda self, container, index: at(self.item(container), self.item(index)),
    "select": lambda self, key, query, sign: select(self.item(key), self.item(query), str(sign)),
    "call": Evaluation.called,
}
"""Name of a rule of the grammar -> the item that it stands for."""
