"""Options of commands that generate text, resolved to a loaded model and its `Sampling`."""

from dataclasses import dataclass, replace
from pathlib import Path

from sayso.base.device import pick_device
from sayso.base.life import Life
from sayso.base.ranges import Count, Finite, Mass, Options, Positive, Scale, Seed, Share, Weight
from sayso.reply.conversation import Replier
from sayso.sample.dry import breaker_ids
from sayso.sample.sampling import Dry, Sampling
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import load_model
from sayso.weights.models import newest_model


@dataclass(frozen=True, kw_only=True)
class GenerationOptions(Options):
    """Options of a command that generates text."""

    life: Path = Path("life")
    """Folder of the life."""
    model: str = "aligned"
    """Model name or path of a model folder; if a named model does not exist yet, the newest earlier stage is used."""
    temperature: Weight = 0.8
    """Sampling temperature: lower is more predictable, higher more varied, 0 greedy."""
    top_k: Count = 0
    """Sample from the k likeliest tokens; 0 = off."""
    top_p: Mass = 1.0
    """Sample from the likeliest tokens that together reach this probability (nucleus); 1 = off."""
    min_p: Share = 0.0
    """Sample from tokens at least this fraction as likely as the likeliest; 0 = off."""
    typical_p: Mass = 1.0
    """Sample from the locally typical tokens that together reach this probability; 1 = off."""
    xtc_probability: Share = 0.0
    """Probability of excluding all top choices but the least likely one with 10 % or more (XTC); 0 = off."""
    repetition_penalty: Scale = 1.0
    """Repetition penalty: values above 1 make tokens already used less likely; 1 = off."""
    presence_penalty: Finite = 0.0
    """Presence penalty: subtracted from the logit of every token already in the reply; 0 = off."""
    frequency_penalty: Finite = 0.0
    """Frequency penalty: subtracted from a token's logit for each of its occurrences in the reply; 0 = off."""
    dry_multiplier: Weight = 0.0
    """DRY multiplier: makes tokens that would continue a repetition less likely, more so the longer it is; 0 = off."""
    min_tokens: Count = 0
    """Minimum number of tokens before a reply may end; 0 = off."""
    max_tokens: Positive = 200
    """Maximum number of tokens of a reply."""
    seed: Seed | None = None
    """Random seed: the same seed gives the same text; default: random."""
    device: str | None = None
    """cpu, cuda or mps; default: the best available."""

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
    """Return the sampling with DRY, if enabled, with the usual sequence breakers as ids of this tokenizer."""
    dry = sampling.repeats
    return replace(sampling, dry=replace(dry, breakers=breaker_ids(tokenizer))) if dry else sampling


def open_replier(options: GenerationOptions) -> tuple[Replier, Path, str]:
    """Load the requested model; return it, its folder, and "" or a sentence saying that another model is used."""
    folder = newest_model(Life(options.life), options.model)
    device = pick_device(options.device)
    replier = Replier(*load_model(folder, device.kind))
    same = folder in (options.life / "models" / options.model, Path(options.model))
    return replier, folder, "" if same else f"There is no '{options.model}' model yet; using '{folder.name}'."
