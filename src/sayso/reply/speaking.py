"""The options of acts in which a model generates text, turned into a loaded model and its `Sampling`."""

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


def open_replier(options: GenerationOptions) -> tuple[Replier, Path, str]:
    """Load the model that is to speak; return it, its folder, and "" or a sentence that it is not the one asked for."""
    folder = newest_model(Life(options.life), options.model)
    device = pick_device(options.device)
    replier = Replier(*load_model(folder, device.kind))
    same = folder in (options.life / "models" / options.model, Path(options.model))
    return replier, folder, "" if same else f"There is no '{options.model}' model yet; '{folder.name}' speaks."
