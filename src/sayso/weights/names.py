"""Convert weights and config between Sayso's names and those of Hugging Face model families.

A shape is saved as the first family whose config.json can express it. Models trained from scratch with a swiglu MLP
become Qwen3 (rotary positions, QK-norm, grouped-query attention, RMS pre-norm), those with relu2 Apertus.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.model import ModelConfig
from sayso.weights.families.apertus import APERTUS
from sayso.weights.families.family import Family
from sayso.weights.families.gemma import GEMMA2, GEMMA3
from sayso.weights.families.gpt2 import GPT2
from sayso.weights.families.llama import LLAMA
from sayso.weights.families.mistral import MISTRAL
from sayso.weights.families.olmo2 import OLMO2
from sayso.weights.families.own import OWN
from sayso.weights.families.qwen import QWEN2, QWEN3
from sayso.weights.families.smollm3 import SMOLLM3

_FAMILIES = (QWEN3, APERTUS, LLAMA, MISTRAL, QWEN2, SMOLLM3, OLMO2, GPT2, GEMMA2, GEMMA3, OWN)
BEYOND = ("num_experts", "num_local_experts", "n_routed_experts", "vision_config", "auto_map")
"""Entries of a config.json for unsupported architectures, in any family."""


def family_of(config: ModelConfig, *, unfused: bool = False) -> Family:
    """Return the family that a shape is saved as; with `unfused`, the first without fused linear layers."""
    return next(family for family in _FAMILIES if _expresses(family, config) and not (unfused and family.fused))


def family_in(facts: Any) -> Family:
    """Return the family of a config.json; raises `UserError` for an unknown family or an unsupported feature."""
    if not isinstance(facts, dict):
        raise UserError("A config.json must be a JSON object; this one is not.")
    kind = str(facts.get("model_type"))
    known = {family.model_type: family for family in _FAMILIES}
    if kind not in known:
        raise UserError(
            f"Sayso supports the model types {', '.join(known)}; this config.json has '{kind}'." + nearest(kind, known)
        )
    for name in BEYOND:
        if facts.get(name):
            raise UserError(f"Sayso does not support models with {name} (mixtures of experts, vision or custom code).")
    return known[kind]


def to_hub(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights under the family's names; a tied head is omitted, as on the hub."""
    return family_of(config).to_hub(state, config)


def from_hub(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights under our names; the inverse of `to_hub`."""
    return family_of(config).from_hub(state, config)


def hub_layers(names: Iterable[str], config: ModelConfig) -> dict[str, str]:
    """Map our layer names to those of the first family without fused layers."""
    family = family_of(config, unfused=True)
    return {name: family.layer(name) for name in names}


def to_hub_config(config: ModelConfig, *, unfused: bool = False) -> dict[str, Any]:
    """Return the family's config.json for a shape; `unfused` as in `family_of`."""
    family = family_of(config, unfused=unfused)
    return {"architectures": [family.architecture], "model_type": family.model_type} | family.write(config)


def from_hub_config(facts: dict[str, Any]) -> ModelConfig:
    """Return the shape in a family's config.json. Raises `UserError` for unsupported settings."""
    return family_in(facts).read(facts)


def _expresses(family: Family, config: ModelConfig) -> bool:
    try:
        return family.read(family.write(config)) == config
    except UserError:
        return False
