"""The table of commands, and an act turned into a command when it is called.

The command line names an act by `module:function`; only the act that runs is imported, so that `sayso --help` loads
no torch. An act is `act(options: Options) -> result`, `Options` a frozen dataclass: its fields become the flags, the
strings under them the help. Acts need to know nothing of the command line.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from importlib import import_module
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

import cyclopts
from docstring_parser import parse_from_object

Act = Callable[[Any], object]


@dataclass(frozen=True)
class Command:
    """One command: its words on the command line, where its act is, and one line of help."""

    words: tuple[str, ...]
    module: str
    act: str
    help: str


COMMANDS = (
    Command(("demo",), "sayso.run.demo", "demo", "Live a whole small life, report it, and serve the page."),
    Command(("prepare",), "sayso.run.prepare", "prepare", "Clean, deduplicate and split text into documents."),
    Command(("tokenizer", "train"), "sayso.run.tokenizer", "train_tokenizer", "Train a tokenizer on the documents."),
    Command(("tokenizer", "compare"), "sayso.run.tokenizer", "compare", "Compare the kinds of tokenizer on a text."),
    Command(("pretrain",), "sayso.run.pretrain", "pretrain", "Train a base model on the documents."),
    Command(("finetune",), "sayso.run.finetune", "finetune", "Tune the base model on conversations."),
    Command(("align",), "sayso.run.align", "align", "Align the tuned model with comparisons and ratings."),
    Command(("evaluate",), "sayso.run.evaluate", "evaluate", "Score a model on held-out text and tasks."),
    Command(("chat",), "sayso.run.chat", "chat", "Talk to a model in the terminal."),
    Command(("generate",), "sayso.run.generate", "generate", "Continue a prompt."),
    Command(("serve",), "sayso.run.serve", "serve", "Serve the page and the OpenAI-compatible API."),
    Command(("gather",), "sayso.run.gather", "gather", "Turn people's ratings into training data."),
    Command(("verify",), "sayso.run.verify", "verify", "Prove that resuming and exporting change no number."),
    Command(("report",), "sayso.run.report", "report", "Write the life's story as one HTML file."),
)
GROUPS = {"tokenizer": "Train a tokenizer, or compare the kinds."}


def names() -> list[str]:
    """Return every command as it is typed."""
    return [" ".join(command.words) for command in COMMANDS]


def build_app(**settings: Any) -> cyclopts.App:
    """Return the command line with every command registered and none imported."""
    flags = cyclopts.Parameter(negative_iterable=())  # `--empty-sources` would be a second way to say nothing
    app = cyclopts.App(name="sayso", default_parameter=flags, suppress_keyboard_interrupt=False, **settings)
    parents: dict[tuple[str, ...], cyclopts.App] = {(): app}
    for order, command in enumerate(COMMANDS):
        *group, name = command.words
        if tuple(group) not in parents:
            parents[tuple(group)] = cyclopts.App(name=group[0], help=GROUPS[group[0]], sort_key=order)
            app.command(parents[tuple(group)])
        parents[tuple(group)].command(f"{__name__}:{_key(command)}", name=name, help=command.help, sort_key=order)
    return app


def as_command(act: Act) -> Act:
    """Return an act as a function that takes its options' fields one by one, which cyclopts turns into flags.

    Fields before `KW_ONLY` may be given by place too, all others only by name.
    """
    kind: Any = get_type_hints(act)["options"]
    types, helps = get_type_hints(kind), _helps(kind)
    flags = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY if field.kw_only else Parameter.POSITIONAL_OR_KEYWORD,
            annotation=Annotated[types[field.name], cyclopts.Parameter(help=helps.get(field.name))],
            default=_default(field),
        )
        for field in sorted(fields(kind), key=lambda field: bool(field.kw_only))
    ]
    signature = Signature(flags)

    def command(*given: Any, **named: Any) -> object:
        return act(kind(**signature.bind(*given, **named).arguments))

    command.__doc__ = act.__doc__
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return command


def _helps(kind: type) -> dict[str, str]:
    """Return the line of help under each field, those of parent classes too."""
    said = [parse_from_object(part).params for part in reversed(kind.__mro__) if is_dataclass(part)]
    return {line.arg_name: line.description or "" for lines in said for line in lines}


def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return Parameter.empty if field.default is MISSING else field.default


def __getattr__(key: str) -> Act:
    """Resolve `tokenizer_train` and the like: import the act's module now, and give the act as a command."""
    for command in COMMANDS:
        if _key(command) == key:
            return as_command(getattr(import_module(command.module), command.act))
    raise AttributeError(f"module {__name__!r} has no attribute {key!r}")


def _key(command: Command) -> str:
    return "_".join(command.words)
