"""Options of `sayso cycle`: how it trains, what it evaluates and requires, and when it begins."""

from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from sayso.align.pairs.preference import LossName
from sayso.base.config import plain
from sayso.base.errors import UserError
from sayso.base.ranges import (
    Amount,
    Count,
    Epochs,
    Minutes,
    Options,
    PartOf,
    Positive,
    Processes,
    Questions,
    Range,
    Repeats,
    Scale,
    SecondShare,
    Seed,
    Share,
)

_FREE = ("every", "when", "cycles", "restart", "device", "processes", "key", "life", "store")
"""Options that may differ when a cycle is resumed: they change nothing of what it ends with, but by rounding."""
_PATHS = ("gate", "data", "eval_texts")


@dataclass(frozen=True)
class CycleTraining(Options):
    """Options of the two trainings of a cycle."""

    _: KW_ONLY
    epochs: Epochs = 1.0
    """Passes over the conversations of the fine-tuning."""
    minutes: Minutes | None = None
    """Time budget of the fine-tuning in minutes, instead of --epochs."""
    rate: Scale | None = None
    """Multiplier on the pre-training learning rates in the fine-tuning. Default: 0.03, with --lora-rank 0.5."""
    loss: LossName = "dpo"
    """Loss function of the alignment: dpo, ipo, orpo or simpo on pairs, or kto on single ratings as well."""
    align_epochs: Epochs = 1.0
    """Passes over the comparisons of the alignment."""
    align_rate: Scale | None = None
    """Multiplier on the pre-training learning rates in the alignment. Default: 0.05 for dpo, else 0.3."""
    beta: Scale | None = None
    """Strength of the alignment's KL constraint; larger values keep the model closer. Default: that of sayso align."""
    tasks: Amount = 0
    """Small-world tasks whose right replies are preferred to wrong ones, beside people's pairs; 0 = none."""
    parent_share: PartOf = 0.0
    """Share of the parent's weights in the average with the trained ones, which is the candidate; 0 = not averaged."""
    replay: SecondShare = 0.2
    """Share of prepared documents in every batch against forgetting; 0 = none."""
    feedback_weight: Repeats = 4
    """Number of times each conversation and pair of the feedback is repeated."""
    feedback_share: Share = 0.5
    """Least share of the feedback among the conversations of the fine-tuning; 0 = all prepared ones are used."""
    lora_rank: Annotated[int, Range(1, 65_536)] | None = None
    """Train a LoRA adapter of this rank in both trainings. Default: train all weights."""
    lora_alpha: Scale | None = None
    """LoRA alpha: the adapter's output is scaled by alpha / rank. Default: 32."""
    lora_targets: tuple[str, ...] = ()
    """Layers to adapt in each block, such as query value. Default: all linear layers."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    processes: Processes | None = None
    """Single-threaded processes that share a batch on a CPU. Default: one per core if each gets a row."""
    seed: Seed = 0
    """Random seed."""


@dataclass(frozen=True)
class Cycle(CycleTraining):
    """Options of `sayso cycle`."""

    _: KW_ONLY
    to: str = "stable"
    """Alias whose model is the parent of the new one, and that is to name the new one."""
    every: str | None = None
    """Begin a cycle this long after the last one began, such as 12h, 1d or 1w, until stopped."""
    when: str | None = None
    """Begin a cycle when there are that many new ratings, such as '200 ratings', until stopped."""
    cycles: Positive | None = None
    """Stop after this number of cycles. Default: one, and with --every or --when no limit."""
    restart: bool = False
    """Leave an unfinished cycle as it is, and begin another one."""
    eval_texts: tuple[Path, ...] = ()
    """Files or folders of evaluation texts, which no gathered row may share 13 words in a row with."""
    program: tuple[str, ...] = ()
    """Programs that check replies, file.py:function, whose verdicts are gathered as rewards."""
    gate: Path | None = None
    """TOML file with requirements that differ from the defaults."""
    detector: tuple[str, ...] = ()
    """Detectors of your own beside the built-in ones: file.py:function, or 'judge: QUESTION'."""
    endpoint: str | None = None
    """Address of a server with OpenAI's API whose model answers such questions."""
    judge: str | None = None
    """Name of that model."""
    key: str | None = None
    """Key of the server. Default: the environment variable SAYSO_ENDPOINT_KEY."""
    suites: tuple[str, ...] = ()
    """Suites that both models are evaluated on, such as behaviour or small."""
    data: Path | None = None
    """Folder of the suites' files."""
    n: Questions = 60
    """Questions per small-world task family; 0 = none."""
    text_bytes: Positive = 100_000
    """Approximate amount of held-out text of each kind, in bytes."""
    baseline_bytes: Count = 64_000_000
    """Approximate maximum of training text for the baselines, in bytes; 0 = all."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the ratings and aliases, a path or an address. Default: that of the life."""

    @property
    def kept(self) -> dict[str, Any]:
        """The options that an interrupted cycle goes on with, JSON-ready."""
        return {name: value for name, value in plain(self).items() if name not in _FREE}

    def check(self) -> None:
        """Raise `UserError` for options that need another one."""
        if self.data is not None and not self.suites:
            raise UserError("--data requires --suites, such as --suites behaviour.")
        for name in ("lora_alpha", "lora_targets"):
            if getattr(self, name) and self.lora_rank is None:
                raise UserError(f"--{name.replace('_', '-')} requires --lora-rank, such as --lora-rank 16.")


def as_kept(kept: dict[str, Any]) -> dict[str, Any]:
    """Return options of `Cycle.kept` as the fields of `Cycle`."""
    return {name: _field(name, value) for name, value in kept.items()}


def as_typed(values: dict[str, Any]) -> str:
    """Return those of some options that are not the defaults, as they are typed; "the defaults" if none is."""
    defaults = {field.name: field.default for field in fields(Cycle)}
    chosen = {name: value for name, value in values.items() if _field(name, value) != defaults[name]}
    words = (f"--{name.replace('_', '-')} {_words(value)}" for name, value in chosen.items())
    return " ".join(words) or "the defaults"


def _field(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(Path(one) if name in _PATHS else one for one in value)
    return Path(value) if name in _PATHS and value is not None else value


def _words(value: Any) -> str:
    """Return a value as it is typed; words with spaces are quoted."""
    if isinstance(value, list):
        return " ".join(map(_words, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"'{text}'" if " " in text else text
