"""Options of the acts that generate text, turned into a loaded model and its `Sampling`."""

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
    """Options of an act that generates text."""

    life: Path = Path("life")
    """Folder of the life."""
    model: str = "aligned"
    """Model of the life, or path of a model folder. The default falls back to the latest stage that exists."""
    temperature: Weight = 0.8
    """Sampling temperature; 0 = greedy decoding."""
    top_k: Count = 0
    """Sample only from the k most likely tokens; 0 = off."""
    top_p: Mass = 1.0
    """Sample only from the most likely tokens with this total probability (nucleus sampling); 1 = off."""
    min_p: Share = 0.0
    """Sample only from tokens at least this fraction as likely as the most likely token; 0 = off."""
    typical_p: Mass = 1.0
    """Sample only from the most typical tokens with this total probability (typical sampling); 1 = off."""
    xtc_probability: Share = 0.0
    """Probability of excluding all tokens above 10 % except the least likely of them (XTC); 0 = off."""
    repetition_penalty: Scale = 1.0
    """Repetition penalty; values above 1 make tokens that already occurred less likely; 1 = off."""
    presence_penalty: Finite = 0.0
    """Subtracted from the logit of each token that already occurs in the reply; 0 = off."""
    frequency_penalty: Finite = 0.0
    """Subtracted from a token's logit for each of its occurrences in the reply; 0 = off."""
    dry_multiplier: Weight = 0.0
    """Penalty on tokens that would extend a repeated sequence, growing with its length (DRY); 0 = off."""
    min_tokens: Count = 0
    """Minimum number of tokens before a reply may end; 0 = off."""
    max_tokens: Positive = 200
    """Maximum number of tokens per reply."""
    seed: Seed | None = None
    """Random seed; the same seed gives the same text. Default: random."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""

    def sampling(self, stop: tuple[str, ...] = ()) -> Sampling:
        """Return the options as a validated `Sampling`."""
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
    """Return the sampling with DRY's default sequence breakers as token ids of this tokenizer, if DRY is on."""
    dry = sampling.repeats
    return replace(sampling, dry=replace(dry, breakers=breaker_ids(tokenizer))) if dry else sampling


def open_replier(options: GenerationOptions) -> tuple[Replier, Path, str]:
    """Load the model; return it, its folder, and a note if it is not the requested one, else ""."""
    folder = newest_model(Life(options.life), options.model)
    device = pick_device(options.device)
    replier = Replier(*load_model(folder, device.kind))
    same = folder in (options.life / "models" / options.model, Path(options.model))
    return replier, folder, "" if same else f"There is no '{options.model}' model yet; using '{folder.name}'."
