"""The table of commands; builds the command line and turns an act into a command when it is invoked.

Only the invoked act is imported, so `sayso --help` does not load torch. An act is `act(options: Options) -> result`,
where `Options` is a frozen dataclass: its fields become flags, the strings below them their help. Acts do not depend
on the command line.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

import cyclopts
from docstring_parser import parse_from_object

from sayso.base.ranges import numbers_of

Act = Callable[[Any], object]


@dataclass(frozen=True)
class Command:
    """One command: `sayso x` runs the act `x` of `sayso.run.x`, and `sayso x y` runs the act `y` of the same module."""

    name: str
    help: str
    place: str | None = None
    """The option that may also be given as a positional argument."""
    act: str | None = None
    """Name of the act's function if it differs from the command's; "module.function" if the module differs too."""
    trains: bool = False
    """Whether the command trains a model."""

    @property
    def words(self) -> list[str]:
        """Words of the command on the command line."""
        return self.name.split()

    def load(self) -> Act:
        """Import the act."""
        module, _, name = (self.act or self.words[-1]).replace("-", "_").rpartition(".")
        act: Act = getattr(import_module(f"sayso.run.{module or self.words[0].replace('-', '_')}"), name)
        return act


COMMANDS = (
    Command("demo", "Run every stage on a small model, write the report, and serve the web page.", trains=True),
    Command("prepare", "Clean, deduplicate, and split text into documents and conversations.", place="sources"),
    Command("import", "Import a third-party model.", place="source", act="import_model.import_model"),
    Command("tokenizer train", "Train a tokenizer on the prepared text.", act="train_tokenizer"),
    Command("tokenizer compare", "Compare kinds of tokenizers on held-out text.", place="text"),
    Command("pretrain", "Train a base model on the prepared text.", trains=True),
    Command("finetune", "Fine-tune a model on conversations.", trains=True),
    Command("reward", "Train a reward model on comparisons and ratings.", trains=True),
    Command("align", "Train a model on preferences (DPO, IPO, KTO, ORPO, SimPO).", trains=True),
    Command("improve", "Train a model on its own verified replies, in rounds.", trains=True),
    Command("selfplay", "Train a model to play tic-tac-toe by self-play.", trains=True),
    Command("puzzles", "Generate puzzles with verifiable answers.", place="puzzle"),
    Command(
        "reinforce", "Train a model with reinforcement learning (GRPO, PPO, and others).", place="prompts", trains=True
    ),
    Command("merge", "Merge a LoRA adapter into its base model."),
    Command("quantize", "Quantize a model to 8 or 4 bits and measure the loss in quality.", place="model"),
    Command("export", "Export a model as a GGUF file for llama.cpp.", place="model"),
    Command("train-status", "Show the progress of a training run, once or live.", place="run"),
    Command("evaluate", "Evaluate a model on held-out text and tasks."),
    Command("chat", "Chat with a model in the terminal."),
    Command("generate", "Generate text from a prompt.", place="prompt"),
    Command("serve", "Serve the web page and the OpenAI-compatible API."),
    Command("gather", "Turn collected ratings into training data."),
    Command("verify", "Verify that resuming and exporting reproduce the same numbers."),
    Command("report", "Write a report on all stages as one HTML file."),
)
# `--empty-sources` would be a second way to pass nothing
FLAGS = cyclopts.Parameter(negative_iterable=(), consume_multiple=True)
GROUPS = {"tokenizer": "Train or compare tokenizers."}


def build_app(**settings: Any) -> cyclopts.App:
    """Return the command line with all commands registered and no act imported."""
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
    """Wrap an act in a function with one parameter per option, which cyclopts turns into flags.

    The field `place` comes first and may be positional; all others are keyword-only, inherited fields last.
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
    """Return the cyclopts parameter of each field: its help, including its range, and its integer converter."""
    helps, numbers = _helps(kind), {name: (number, limits) for name, number, limits in numbers_of(kind)}
    found = {}
    for field in fields(kind):
        number, limits = numbers.get(field.name, (None, None))
        text = helps.get(field.name, "") + (f" Range: {limits}." if limits else "")
        found[field.name] = cyclopts.Parameter(help=text, converter=_whole if number is int else None)
    return found


def _whole(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert words to integers; cyclopts alone would round 1.5 to 2."""
    for token in tokens:
        if "." in token.value and not float(token.value).is_integer():
            raise ValueError(f'"{token.value}" is not a whole number.')
    return cyclopts.convert(kind, tokens)


def _helps(kind: type) -> dict[str, str]:
    """Return the help of each field, including inherited ones."""
    said = [parse_from_object(part).params for part in reversed(kind.__mro__) if is_dataclass(part)]
    return {line.arg_name: line.description or "" for lines in said for line in lines}


def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return Parameter.empty if field.default is MISSING else field.default


def __getattr__(key: str) -> Act:
    """Resolve names such as `tokenizer_train`: import the act's module and return the act as a command."""
    for command in COMMANDS:
        if _key(command) == key:
            return as_command(command.load(), command.place)
    raise AttributeError(f"module {__name__!r} has no attribute {key!r}")


def _key(command: Command) -> str:
    return command.name.replace(" ", "_").replace("-", "_")
