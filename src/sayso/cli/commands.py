"""Build the command line from the table of acts: each act becomes a command when it is called.

The fields of an act's options become the flags, and the strings under them the help. Acts do not depend on this.
"""

from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from functools import cache
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import cyclopts

from sayso.base.option_help import option_helps
from sayso.base.ranges import numbers_of
from sayso.run.acts import COMMANDS, Act, Command

# `--empty-sources` would be redundant
FLAGS = cyclopts.Parameter(negative_iterable=(), consume_multiple=True)
_GROUPS = {
    "tokenizer": "Train a tokenizer, or compare kinds of tokenizers.",
    "flags": "Detect misbehaviour in replies, and confirm or reject what was found.",
    "store": "Export or import the store.",
    "law": "The numbers of the field: perplexity, attention by hand, scaling laws, the roofline.",
    "keys": "Make, list, revoke and replace the keys that the servers of a store admit.",
}


def build_app(words: Sequence[str] = (), **settings: Any) -> cyclopts.App:
    """Return the command line with every command registered and none imported.

    A command that has others inside it, such as `rasp`, is imported if `words` begin with it.
    """
    app = cyclopts.App(name="sayso", default_parameter=FLAGS, suppress_keyboard_interrupt=False, **settings)
    parents: dict[tuple[str, ...], cyclopts.App] = {(): app}
    for order, command in enumerate(COMMANDS):
        *group, name = command.words
        if any(one.words[:-1] == command.words for one in COMMANDS):
            parents[tuple(command.words)] = inner = cyclopts.App(name=name, help=command.help, sort_key=order)
            parents[tuple(group)].command(inner)
            if list(words[: len(command.words)]) == command.words:
                inner.default(as_command(command.load(), *command.places))
            continue
        if tuple(group) not in parents:
            parents[tuple(group)] = cyclopts.App(name=group[0], help=_GROUPS[group[0]], sort_key=order)
            app.command(parents[tuple(group)])
        parents[tuple(group)].command(f"{__name__}:{_key(command)}", name=name, help=command.help, sort_key=order)
    return app


def as_command(act: Act, *places: str) -> Act:
    """Return an act as a function that takes its options' fields one by one, which cyclopts turns into flags.

    The fields in `places` come first and may also be positional; all others are keyword-only, those of parent classes
    last.
    """
    kind: Any = get_type_hints(act)["options"]
    types, parameters, own = get_type_hints(kind), _parameters(kind), kind.__annotations__
    flags = [
        Parameter(
            field.name,
            Parameter.POSITIONAL_OR_KEYWORD if field.name in places else Parameter.KEYWORD_ONLY,
            annotation=Annotated[types[field.name], parameters[field.name]],
            default=_default(field),
        )
        for field in sorted(fields(kind), key=lambda field: (_rank(field.name, places), field.name not in own))
    ]
    signature = Signature(flags)

    def command(*arguments: Any, **named: Any) -> object:
        return act(kind(**signature.bind(*arguments, **named).arguments))

    command.__doc__ = act.__doc__
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return command


def _rank(name: str, places: tuple[str, ...]) -> int:
    """Return where a field stands among the positional ones; all others come after them."""
    return places.index(name) if name in places else len(places)


@cache
def _parameters(kind: type) -> dict[str, cyclopts.Parameter]:
    """Return the cyclopts parameter of each field: its help, with its range, and how numbers and paths are parsed."""
    helps, numbers = option_helps(kind), {name: (number, limits) for name, number, limits in numbers_of(kind)}
    types = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        number, limits = numbers.get(field.name, (None, None))
        text = helps.get(field.name, "") + (f" Range: {limits}." if limits else "")
        hint = types[field.name]
        converter = _integers if number is int else _paths if Path in (hint, *get_args(hint)) else None
        found[field.name] = cyclopts.Parameter(help=text, converter=converter)
    return found


def _integers(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert arguments to integers; cyclopts alone would round 1.5 to 2."""
    for token in tokens:
        if "." in token.value and not float(token.value).is_integer():
            raise ValueError(f'"{token.value}" is not an integer.')
    return cyclopts.convert(kind, tokens)


def _paths(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert arguments to paths; cyclopts alone would take an empty one for the current folder."""
    if not all(token.value for token in tokens):
        raise ValueError('a path must not be empty; for the current folder, write ".".')
    return cyclopts.convert(kind, tokens)


def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return Parameter.empty if field.default is MISSING else field.default


def __getattr__(key: str) -> Act:
    """Resolve a command's key, such as `tokenizer_train`: import the act's module and return the act as a command."""
    for command in COMMANDS:
        if _key(command) == key:
            return as_command(command.load(), *command.places)
    raise AttributeError(f"module {__name__!r} has no attribute {key!r}")


def _key(command: Command) -> str:
    return command.name.replace(" ", "_").replace("-", "_")
