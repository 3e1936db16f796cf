<<<<<<< HEAD
"""The table of acts as a command line: each act becomes a command when it is called.

The fields of an act's options become the flags, and the strings under them the help. Acts know nothing of it.
=======
"""The table of commands, and the conversion of an act to a command when it is called.

Only the requested act is imported, so that `sayso --help` does not load torch. An act is `act(options: Options) ->
result`, `Options` a frozen dataclass: its fields become the flags, the strings under them the help.
>>>>>>> v-en2
"""

from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from functools import cache
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

import cyclopts

from sayso.base.ranges import numbers_of
from sayso.run.acts import COMMANDS, Act, Command, option_helps

<<<<<<< HEAD
# `--empty-sources` would be a second way to say nothing
=======
Act = Callable[[Any], object]


@dataclass(frozen=True)
class Command:
    """One command as typed; `sayso x` runs the act `x` of `sayso.run.x`, and `sayso x y` the act `y` there."""

    name: str
    help: str
    place: str | None = None
    """The option that may also be given by position, without its flag."""
    act: str | None = None
    """The act's function if its name differs from the command; "module.function" if the module's name differs too."""
    trains: bool = False
    """Whether it trains, that is, updates weights step after step."""

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
    Command("demo", "Run a complete small life, write its report, and serve the page.", trains=True),
    Command("prepare", "Clean, deduplicate and split text into documents.", place="sources"),
    Command("import", "Import a third-party model into the life.", place="source", act="import_model.import_model"),
    Command("tokenizer train", "Train a tokenizer on the documents.", act="train_tokenizer"),
    Command("tokenizer compare", "Compare kinds of tokenizers on a text.", place="text"),
    Command("pretrain", "Train a base model on the documents.", trains=True),
    Command("finetune", "Finetune the base model on conversations.", trains=True),
    Command("reward", "Train a reward model on comparisons and ratings.", trains=True),
    Command("align", "Align the tuned model with comparisons and ratings.", trains=True),
    Command("improve", "Improve a model by training it on its own correct replies.", trains=True),
    Command("selfplay", "Improve a model at tic-tac-toe by self-play.", trains=True),
    Command("puzzles", "Generate puzzles with checkable answers to train on.", place="puzzle"),
    Command("reinforce", "Train a model by reinforcement learning.", place="prompts", trains=True),
    Command("merge", "Merge an adapter into the model it was trained on."),
    Command("quantize", "Quantize a model to 8 or 4 bits, and measure the effect.", place="model"),
    Command("export", "Export a model to one GGUF file for llama.cpp.", place="model"),
    Command("train-status", "Show the status of a training run, once or live.", place="run"),
    Command("evaluate", "Score a model on held-out text and tasks."),
    Command("chat", "Chat with a model in the terminal."),
    Command("generate", "Continue a prompt.", place="prompt"),
    Command("serve", "Serve the page and the OpenAI-compatible API."),
    Command("gather", "Convert ratings to training data."),
    Command("verify", "Verify that resuming and exporting change no numbers."),
    Command("report", "Write the life's report as one HTML file."),
)
# `--empty-sources` would be redundant
>>>>>>> v-en2
FLAGS = cyclopts.Parameter(negative_iterable=(), consume_multiple=True)
GROUPS = {"tokenizer": "Train a tokenizer, or compare kinds of tokenizers."}


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
    """Return an act as a function that takes its options' fields as parameters, which cyclopts turns into flags.

    The field `place` comes first and may be given by position; all others only by name, those of parent classes last.
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
<<<<<<< HEAD
    """Return what cyclopts is told of each field: its help, with its range, and how a whole number is read."""
    helps, numbers = option_helps(kind), {name: (number, limits) for name, number, limits in numbers_of(kind)}
=======
    """Return the cyclopts parameter of each field: its help, with its range, and how an integer is parsed."""
    helps, numbers = _helps(kind), {name: (number, limits) for name, number, limits in numbers_of(kind)}
>>>>>>> v-en2
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
            raise ValueError(f'"{token.value}" is not an integer.')
    return cyclopts.convert(kind, tokens)


<<<<<<< HEAD
=======
def _helps(kind: type) -> dict[str, str]:
    """Return the help of each field, including those of parent classes."""
    said = [parse_from_object(part).params for part in reversed(kind.__mro__) if is_dataclass(part)]
    return {line.arg_name: line.description or "" for lines in said for line in lines}


>>>>>>> v-en2
def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return Parameter.empty if field.default is MISSING else field.default


def __getattr__(key: str) -> Act:
    """Resolve `tokenizer_train` and the like: import the act's module, and return the act as a command."""
    for command in COMMANDS:
        if _key(command) == key:
            return as_command(command.load(), command.place)
    raise AttributeError(f"module {__name__!r} has no attribute {key!r}")


def _key(command: Command) -> str:
    return command.name.replace(" ", "_").replace("-", "_")
