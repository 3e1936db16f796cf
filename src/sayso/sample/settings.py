"""The sampling settings, declared once: name, type, range, default, help, and control on the web page.

`Sampling`, the flags of `sayso generate` and `sayso chat`, the fields of the HTTP API and the page's controls follow
from `SamplingSettings`. A setting added here appears in all of them; on the page only with a `Control`.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from sayso.base.option_help import option_helps
from sayso.base.ranges import HUGE, Count, Finite, Mass, Positive, Range, Scale, Seed, Share, Weight, numbers_of


@dataclass(frozen=True)
class Control:
    """A setting's control on the web page: a slider up to `most`, or a number box without it."""

    label: str
    help: str = ""
    most: float | None = None
    step: float = 1


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """The settings that are one number each. The help ends with the value at which a setting is off."""

    temperature: Annotated[
        Weight,
        Control(
            "Temperature",
            "Lower values are more predictable, higher values more varied. At 0 it always picks the likeliest token.",
            most=2,
            step=0.05,
        ),
    ] = 0.8
    """Sampling temperature; 0 = greedy decoding."""
    top_k: Count = 0  # Fan et al. 2018
    """Sample only from the k most likely tokens; 0 = off."""
    top_p: Mass = 1.0  # Holtzman et al. 2020
    """Sample only from the most likely tokens with this total probability (nucleus sampling); 1 = off."""
    min_p: Share = 0.0  # Nguyen et al. 2024
    """Sample only from tokens at least this fraction as likely as the most likely token; 0 = off."""
    typical_p: Mass = 1.0  # Meister et al. 2022
    """Sample only from the most typical tokens with this total probability (typical sampling); 1 = off."""
    xtc_probability: Share = 0.0  # p-e-w 2024
    """Probability of excluding all tokens above the XTC threshold except the least likely of them; 0 = off."""
    xtc_threshold: Mass = 0.1
    """Minimum probability of a token that XTC may exclude; above 0.5 = off, since no two tokens have it."""
    repetition_penalty: Scale = 1.0  # Keskar et al. 2019
    """Repetition penalty; values above 1 make tokens that already occurred less likely; 1 = off."""
    presence_penalty: Finite = 0.0  # OpenAI's definition, as of the next one
    """Subtracted from the logit of each token that already occurs in the reply; 0 = off."""
    frequency_penalty: Finite = 0.0
    """Subtracted from a token's logit for each of its occurrences in the reply; 0 = off."""
    dry_multiplier: Weight = 0.0  # p-e-w 2024; the names are llama.cpp's
    """Penalty on tokens that would extend a repeated sequence, growing with its length (DRY); 0 = off."""
    dry_base: Annotated[float, Range(1, HUGE)] = 1.75
    """Factor of the DRY penalty for each further token of the repeated sequence."""
    dry_allowed_length: Positive = 2
    """Shortest repeated sequence, in tokens, whose extension DRY penalizes."""
    dry_penalty_last_n: Count = 0
    """Number of last tokens that DRY searches for repeated sequences; 0 = all."""
    min_tokens: Count = 0
    """Minimum number of tokens before a reply may end; 0 = off."""
    max_tokens: Annotated[Positive, Control("Longest reply, in tokens")] = 200
    """Maximum number of tokens per reply."""
    seed: Seed | None = None
    """Random seed; the same seed gives the same text. Default: random."""


@dataclass(frozen=True)
class Setting:
    """One declared setting; `kind` is int or float."""

    name: str
    kind: type
    limits: Range
    default: Any
    help: str
    control: Control | None


@cache
def declared(kind: type = SamplingSettings) -> tuple[Setting, ...]:
    """Return the settings of `SamplingSettings`, or of a class derived from it, in their order."""
    hints, helps = get_type_hints(kind, include_extras=True), option_helps(kind)
    numbers = {name: (number, limits) for name, number, limits in numbers_of(kind) if limits}
    return tuple(
        Setting(field.name, *numbers[field.name], field.default, helps[field.name], _control(hints[field.name]))
        for field in fields(kind)
    )


def _control(hint: Any) -> Control | None:
    return next((extra for extra in get_args(hint) if isinstance(extra, Control)), None)
