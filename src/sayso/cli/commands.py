"""The table of commands, and an act turned into a command when it is called.

Only the act that runs is imported, so that `sayso --help` loads no torch. An act is `act(options: Options) -> result`,
`Options` a frozen dataclass: its fields become the flags, the strings under them the help. Acts know nothing of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import cyclopts
from docstring_parser import parse_from_object

from sayso.base.ranges import numbers_of

Act = Callable[[Any], object]


@dataclass(frozen=True)
class Command:
    """One command as it is typed; `sayso x` runs the act `x` of `sayso.run.x`, and `sayso x y` the act `y` there."""

    name: str
    help: str
    place: str | None = None
    """The option that may also be given by its place, without its flag."""
    act: str | None = None
    """The act's function where it is not called like the command; "module.function" where the module is not either."""
    trains: bool = False
    """Whether its process updates weights step after step."""

    @property
    def words(self) -> list[str]:
        """The words on the command line."""
        return self.name.split()

    def load(self) -> Act:
        """Import the act."""
        module, _, name = (self.act or self.words[-1]).replace("-", "_").rpartition(".")
        act: Act = getattr(import_module(f"sayso.run.{module or self.words[0].replace('-', '_')}"), name)
        return act


COMMANDS = (
    Command("demo", "Live a whole small life, report it, and serve the page.", trains=True),
    Command("prepare", "Clean, deduplicate and split text into documents.", place="sources"),
    Command("import", "Bring a model of another maker into the life.", place="source", act="import_model.import_model"),
    Command("tokenizer train", "Train a tokenizer on the documents.", act="train_tokenizer"),
    Command("tokenizer compare", "Compare the kinds of tokenizer on a text.", place="text"),
    Command("pretrain", "Train a base model on the documents.", trains=True),
    Command("finetune", "Tune the base model on conversations.", trains=True),
    Command("reward", "Train a model that scores replies, from comparisons and ratings.", trains=True),
    Command("align", "Align the tuned model with comparisons and ratings.", trains=True),
    Command("improve", "Let a model get better by those of its own replies that are right.", trains=True),
    Command("selfplay", "Let a model get better at tic-tac-toe by playing it.", trains=True),
    Command("puzzles", "Write puzzles that a program can check, to practise on.", place="puzzle"),
    Command("reinforce", "Let a model practise on prompts whose replies are rewarded.", place="prompts", trains=True),
    Command("merge", "Fold an adapter into the model it was trained on."),
    Command("quantize", "Quantise a model to 8 or 4 bits, and measure what that costs.", place="model"),
    Command("export", "Write a model as one GGUF file, which llama.cpp runs.", place="model"),
    Command("train-status", "Show how a training run stands, once or live.", place="run"),
    Command("evaluate", "Score a model on held-out text and tasks."),
    Command("chat", "Talk to a model in the terminal."),
    Command("generate", "Continue a prompt.", place="prompt"),
    Command("serve", "Serve the page and the OpenAI-compatible API."),
    Command("gather", "Turn people's ratings into training data."),
    Command("verify", "Prove that resuming and exporting change no number."),
    Command("report", "Write the life's story as one HTML file."),
)
# `--empty-sources` would be a second way to say nothing
FLAGS = cyclopts.Parameter(negative_iterable=(), consume_multiple=True)
GROUPS = {"tokenizer": "Train a tokenizer, or compare the kinds."}


def build_app(**settings: Any) -> cyclopts.App:
    """Return the command line with every command registered and none imported."""
    app = cyclopts.App(name="sayso", default_parameter=FLAGS, suppress_keyboard_interrupt=False, **settings)
    parents: dict[tuple[str, ...], cyclopts.App] = {(): app}
    for order, command in enumerate(COMMANDS):
        *group, name = command.words
        if tuple(group) not in parents:
            parents[tuple(group)] = cyclopts.App(name=group[0], help=GROUPS[group[0]], sort_key=order)
            app.command(parents[tuple(group)])
        parents[tuple(group)].command(f"{__name__}:{_key(command)}", name=name, help=command.help, sort_key=order)
    return app


def as_command(act: Act, place: str | None = None) -> Act:
    """Return an act as a function that takes its options' fields one by one, which cyclopts turns into flags.

    The field `place` comes first and may be given by place too, all others only by name, those of parent classes last.
    """
    kind: Any = get_type_hints(act)["options"]
    types, told, own = get_type_hints(kind), _parameters(kind), kind.__annotations__
    flags = [
        Parameter(
            field.name,
            Parameter.POSITIONAL_OR_KEYWORD if field.name == place else Parameter.KEYWORD_ONLY,
            annotation=Annotated[types[field.name], told[field.name]],
            default=_default(field),
        )
        for field in sorted(fields(kind), key=lambda field: (field.name != place, field.name not in own))
    ]
    signature = Signature(flags)

    def command(*given: Any, **named: Any) -> object:
        return act(kind(**signature.bind(*given, **named).arguments))

    command.__doc__ = act.__doc__
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return command


@cache
def _parameters(kind: type) -> dict[str, cyclopts.Parameter]:
    """Return what cyclopts is told of each field: its help, with its range, and how numbers and paths are read."""
    helps, numbers = _helps(kind), {name: (number, limits) for name, number, limits in numbers_of(kind)}
    types = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        number, limits = numbers.get(field.name, (None, None))
        text = helps.get(field.name, "") + (f" Range: {limits}." if limits else "")
        hint = types[field.name]
        converter = _whole if number is int else _path if Path in (hint, *get_args(hint)) else None
        found[field.name] = cyclopts.Parameter(help=text, converter=converter)
    return found


def _whole(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert words to whole numbers; cyclopts alone would round 1.5 to 2."""
    for token in tokens:
        if "." in token.value and not float(token.value).is_integer():
            raise ValueError(f'"{token.value}" is not a whole number.')
    return cyclopts.convert(kind, tokens)


def _path(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert words to paths; cyclopts alone would take an empty one for the current folder."""
    if not all(token.value for token in tokens):
        raise ValueError('a path must not be empty; for the current folder, write ".".')
    return cyclopts.convert(kind, tokens)


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
            return as_command(command.load(), command.place)
    raise AttributeError(f"module {__name__!r} has no attribute {key!r}")


def _key(command: Command) -> str:
    return command.name.replace(" ", "_").replace("-", "_")
