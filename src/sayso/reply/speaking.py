"""Options of the acts that generate text, turned into a loaded model and its `Sampling`."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from sayso.base.device import pick_device
from sayso.base.life import Life
from sayso.base.ranges import Options
from sayso.reply.conversation import Replier
from sayso.sample.dry import breaker_ids
from sayso.sample.sampling import Sampling
from sayso.sample.settings import SamplingSettings
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import load_model
from sayso.weights.models import newest_model


@dataclass(frozen=True, kw_only=True)
class _LifeOptions(Options):
    """The options that come before the sampling settings."""

    life: Path = Path("life")
    """Folder of the life."""
    model: str = "aligned"
    """Model of the life, or path of a model folder. The default falls back to the latest stage that exists."""


@dataclass(frozen=True, kw_only=True)
class GenerationOptions(SamplingSettings, _LifeOptions):
    """Options of an act that generates text."""

    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""

    def sampling(self, stop: tuple[str, ...] = ()) -> Sampling:
        """Return the options as a validated `Sampling`."""
        settings = {field.name: getattr(self, field.name) for field in fields(SamplingSettings)}
        return Sampling(**settings, stop=stop)


def with_breakers(sampling: Sampling, tokenizer: Tokenizer) -> Sampling:
    """Return the sampling with DRY's default sequence breakers as token ids of this tokenizer, if DRY is on."""
    return replace(sampling, dry_breakers=breaker_ids(tokenizer)) if sampling.dry_multiplier else sampling


def open_replier(options: GenerationOptions) -> tuple[Replier, Path, str]:
    """Load the model; return it, its folder, and a note if it is not the requested one, else ""."""
    folder = newest_model(Life(options.life), options.model)
    device = pick_device(options.device)
    replier = Replier(*load_model(folder, device.kind))
    same = folder in (options.life / "models" / options.model, Path(options.model))
    return replier, folder, "" if same else f"There is no '{options.model}' model yet; using '{folder.name}'."
