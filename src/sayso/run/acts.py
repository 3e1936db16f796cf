"""The table of acts: what each is called on the command line and in Python, and where it is.

Only the act that runs is imported, so that neither `sayso --help` nor `sayso.Life` loads torch. An act is
`act(options: Options) -> result`, where `Options` is a frozen dataclass.
"""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from typing import Any

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

    @property
    def method(self) -> str:
        """The name of the method of `sayso.Life`; `import` is a keyword of Python."""
        name = "_".join(self.words).replace("-", "_")
        return "import_model" if name == "import" else name

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


def option_helps(kind: type) -> dict[str, str]:
    """Return the line of help under each field of a class of options, those of parent classes included."""
    from docstring_parser import parse_from_object

    parsed = [parse_from_object(part).params for part in reversed(kind.__mro__) if is_dataclass(part)]
    return {line.arg_name: line.description or "" for lines in parsed for line in lines}
