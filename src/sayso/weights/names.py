"""Our weights by the Hugging Face names, and our config as theirs: which family a shape is, and back.

Models trained from scratch with a swiglu MLP are saved as Qwen3 (rotary, QK-norm, grouped heads, pre-norm RMS); those
with relu2 as Apertus with that activation. A shape is saved as the first family whose config.json can express it.
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
"""Entries of a config.json that change what weights mean, whatever the family."""


def family_of(config: ModelConfig, *, apart: bool = False) -> Family:
    """Return the family that a shape is saved as; `apart`, the first that has a name for each of its linear layers."""
    return next(family for family in _FAMILIES if _says(family, config) and not (apart and family.fused))


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
    """Return the weights under the names of their family; a tied head is omitted, as on the hub."""
    return family_of(config).to_hub(state, config)


def from_hub(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights under our names; the inverse of `to_hub`."""
    return family_of(config).from_hub(state, config)


def hub_layers(names: Iterable[str], config: ModelConfig) -> dict[str, str]:
    """Return the names of layers of ours in the first family that names each."""
    family = family_of(config, apart=True)
    return {name: family.layer(name) for name in names}


def to_hub_config(config: ModelConfig, *, apart: bool = False) -> dict[str, Any]:
    """Return the family's config.json for a shape of ours; `apart` as for `family_of`."""
    family = family_of(config, apart=apart)
    return {"architectures": [family.architecture], "model_type": family.model_type} | family.write(config)


def from_hub_config(facts: dict[str, Any]) -> ModelConfig:
    """Return our shape for a family's config.json; raises `UserError` for settings that are not supported."""
    return family_in(facts).read(facts)


def _says(family: Family, config: ModelConfig) -> bool:
    try:
        return family.read(family.write(config)) == config
    except UserError:
        return False
