"""The table of acts: what each is called on the command line and in Python, and where it is.

Only the act that runs is imported, so that neither `sayso --help` nor `sayso.Life` loads torch. An act is
`act(options: Options) -> result`, where `Options` is a frozen dataclass.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
    then: str | None = None
    """Another one, which comes after it."""
    act: str | None = None
    """The act's function where it is not called like the command; "module.function" where the module is not either."""
    trains: bool = False
    """Whether its process updates weights step after step."""

    @property
    def words(self) -> list[str]:
        """The words on the command line."""
        return self.name.split()

    @property
    def places(self) -> tuple[str, ...]:
        """The options that may be given by their place, in this order."""
        return tuple(name for name in (self.place, self.then) if name is not None)

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
    Command("merge", "Merge a LoRA adapter into its base model, or average two models."),
    Command("quantize", "Quantize a model to 8 or 4 bits and measure the loss in quality.", place="model"),
    Command("export", "Export a model as a GGUF file for llama.cpp.", place="model"),
    Command("train-status", "Show the progress of a training run, once or live.", place="run"),
    Command("evaluate", "Evaluate a model on held-out text and tasks.", place="model"),
    Command("compare", "Compare models on the items that they all answered.", place="models"),
    Command("judge", "Let a judge compare the replies of two models.", place="models"),
    Command("arena", "Rank models by people's choices between their replies."),
    Command("leaderboard", "Show every score of a life's models, and export them."),
    Command("chat", "Chat with a model in the terminal."),
    Command("generate", "Generate text from a prompt.", place="prompt"),
    Command("serve", "Serve the web page and the OpenAI-compatible API."),
    Command("page", "Serve the web page over any server with OpenAI's API."),
    Command("promote", "Let an alias name a model that has passed its gate.", place="candidate"),
    Command("rollback", "Let an alias name the model before again.", place="alias", act="promote.rollback"),
    Command("aliases", "Show which model each alias named, and since when.", act="promote.list_aliases"),
    Command("keys add", "Make a key for the servers of a store.", place="name"),
    Command("keys list", "Show who has a key.", act="list_keys"),
    Command("keys revoke", "Revoke a key.", place="name"),
    Command("keys rotate", "Replace a key by a new one.", place="name"),
    Command("flags scan", "Let detectors of misbehaviour look at new replies.", act="scan_flags"),
    Command("flags list", "List the flags of detectors.", act="list_flags"),
    Command("flags show", "Show a flag and its conversation.", place="flag", act="show_flag"),
    Command("flags mark", "Mark flags as real, false or fixed.", place="marks", act="mark_flags"),
    Command("gather", "Turn collected ratings into training data."),
    Command("store export", "Export the whole store to a file.", place="to", act="export_store"),
    Command("store import", "Import an exported store.", place="file", act="import_store"),
    Command("store prompts", "Add a list of prompts for people to answer.", place="file", act="add_prompts"),
    Command("forget", "Remove a person's data, or old data, from the store."),
    Command("cycle", "Gather, train, evaluate and promote the next model, once or on a schedule.", trains=True),
    Command("verify", "Verify that resuming and exporting reproduce the same numbers."),
    Command("report", "Write a report on all stages as one HTML file."),
    Command("xray", "Write a page that shows why a model's next token came.", place="model", then="text"),
    Command("compress", "Compress a file with a model, without loss.", place="file"),
    Command("decompress", "Decompress a file.", place="file", act="compress.decompress"),
    Command("plan", "Plan a training run from a budget of time, money or FLOPs."),
    Command(
        "law perplexity",
        "Measure what prediction is worth on a text.",
        place="text",
        then="models",
        act="law_perplexity.perplexity",
    ),
    Command("law gemm", "Measure this machine, and predict a model's speed on it.", place="model", act="law_gemm.gemm"),
    Command("law fit", "Fit a scaling law to training runs.", place="runs"),
    Command(
        "law sweep",
        "Predict the loss of a larger training run from small ones, and check it.",
        act="law_sweep.sweep",
        trains=True,
    ),
    Command(
        "law attention",
        "Rebuild one attention head by hand.",
        place="model",
        then="text",
        act="law_attention.attention",
    ),
    Command("rasp", "Run RASP programs, whose operations are parts of a transformer.", place="file"),
    Command("rasp compile", "Compile a RASP program into a model.", place="file", act="rasp_weights.compile_rasp"),
    Command(
        "rasp teach",
        "Train a model on what a RASP program computes.",
        place="file",
        act="rasp_teach.teach",
        trains=True,
    ),
    Command("rasp run", "Run a compiled RASP program.", place="model", act="rasp_weights.run_rasp"),
)
