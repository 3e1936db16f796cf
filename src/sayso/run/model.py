"""Which model speaks, and how: a life and a name become a model folder, flags become `Sampling`.

Shared by the acts that let a model talk. A name is a model of the life (`base`, `tuned`, `aligned`, or one's own) or
the path of a model folder.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sayso.base.device import pick_device
from sayso.base.errors import UserError, nearest
from sayso.base.files import read_json
from sayso.base.life import STAGES, Life
from sayso.base.ranges import Count, Finite, Mass, Options, Positive, Scale, Seed, Share, Weight
from sayso.reply.conversation import Replier
from sayso.sample.dry import breaker_ids
from sayso.sample.sampling import Dry, Sampling
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import load_model


@dataclass(frozen=True, kw_only=True)
class Speaking(Options):
    """The flags of an act in which a model talks."""

    life: Path = Path("life")
    """The life's folder."""
    model: str = "aligned"
    """A model of the life or the path of a model folder; without an aligned one the newest earlier stage speaks."""
    temperature: Weight = 0.8
    """Below 1 safer, above 1 bolder, 0 always the likeliest token."""
    top_k: Count = 0
    """Pick among the k likeliest tokens; 0 = off."""
    top_p: Mass = 1.0
    """Pick among the likeliest tokens that together have this probability; 1 = off."""
    min_p: Share = 0.0
    """Pick among tokens at least this fraction as likely as the likeliest; 0 = off."""
    typical_p: Mass = 1.0
    """Pick among the tokens nearest the expected surprise that together have this probability; 1 = off."""
    xtc_probability: Share = 0.0
    """How often the likeliest tokens but the last with 10 % or more are left out (XTC); 0 = off."""
    repetition_penalty: Scale = 1.0
    """Above 1 makes what was said already less likely; 1 = off."""
    presence_penalty: Finite = 0.0
    """Taken from the logit of every token that the reply has already; 0 = off."""
    frequency_penalty: Finite = 0.0
    """Taken from a token's logit as often as the reply has it already; 0 = off."""
    dry_multiplier: Weight = 0.0
    """Above 0 makes tokens that would go on with a repeat less likely, the more the longer it is (DRY); 0 = off."""
    min_tokens: Count = 0
    """A reply does not end of itself before so many tokens; 0 = off."""
    max_tokens: Positive = 200
    """Most tokens of a reply."""
    seed: Seed | None = None
    """Same seed, same text; another text each time when not given."""
    device: str | None = None
    """cpu, cuda or mps; the best one here when not given."""

    def sampling(self, stop: tuple[str, ...] = ()) -> Sampling:
        """Return the flags as `Sampling`, checked."""
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            typical_p=self.typical_p,
            xtc_probability=self.xtc_probability,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            dry=Dry(self.dry_multiplier) if self.dry_multiplier else None,
            min_tokens=self.min_tokens,
            max_tokens=self.max_tokens,
            seed=self.seed,
            stop=stop,
        )


def with_breakers(sampling: Sampling, tokenizer: Tokenizer) -> Sampling:
    """Return the sampling with DRY, where it is on, stopping at the usual breakers, in the ids of this tokenizer."""
    dry = sampling.repeats
    return replace(sampling, dry=replace(dry, breakers=breaker_ids(tokenizer))) if dry else sampling


def resolve_model(life: Life, name: str) -> Path:
    """Return the folder of a model: of the life's model of that name, or the path itself.

    Raises `UserError` that offers the nearest name, or the command to run when the life has no model yet.
    """
    for folder in (life.model(name), Path(name)):
        if (folder / "config.json").is_file():
            return folder
    known = models(life)
    if known:
        raise UserError(
            f"A model is one of {', '.join(known)} in '{life.root}', or the path of a model folder; got '{name}'."
            f"{nearest(name, known)}"
        )
    command = f"sayso pretrain --life {life.root}" if life.root.is_dir() else "sayso demo"
    raise UserError(f"There is no model '{name}', and the life '{life.root}' has none yet: make one with '{command}'.")


def newest_model(life: Life, name: str) -> Path:
    """Return the model's folder; when `name` is a stage that is not there yet, the newest stage before it.

    Raises `UserError` as `resolve_model` does.
    """
    if name in STAGES and not (Path(name) / "config.json").is_file():
        known = models(life)
        for stage in reversed(STAGES[: STAGES.index(name) + 1]):
            if stage in known:
                return life.model(stage)
    return resolve_model(life, name)


def is_made(folder: Path, lineage: dict[str, Any]) -> bool:
    """Whether a model of this lineage is there already; `UserError` where another one has its place."""
    if not folder.exists():
        return False
    found = read_json(folder / "sayso.json") if (folder / "sayso.json").exists() else {}
    if any(found.get(key) != value for key, value in lineage.items()):
        raise UserError(f"There is another model '{folder.name}' in this life; choose another --name.")
    return True


def models(life: Life) -> list[str]:
    """Return the names of a life's models, the stages first and in their order."""
    names = [path.parent.name for path in sorted((life.root / "models").glob("*/config.json"))]
    return [name for name in STAGES if name in names] + [name for name in names if name not in STAGES]


def open_replier(options: Speaking) -> tuple[Replier, Path, str]:
    """Load the model that is to speak; return it, its folder, and "" or a sentence that it is not the one asked for."""
    folder = newest_model(Life(options.life), options.model)
    device = pick_device(options.device)
    replier = Replier(*load_model(folder, device.kind))
    same = folder in (Life(options.life).model(options.model), Path(options.model))
    return replier, folder, "" if same else f"There is no '{options.model}' model yet; '{folder.name}' speaks."
