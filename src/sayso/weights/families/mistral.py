"""Mistral: a Llama without biases, with an optional window in all layers."""

from sayso.base.errors import UserError
from sayso.model import ModelConfig
from sayso.weights.families.family import Family, HubConfig, integer
from sayso.weights.families.llama import LLAMA_NAMES, read_biases, read_shared, write_shared


def read_mistral(facts: HubConfig) -> ModelConfig:
    """Return the shape of a Mistral."""
    if facts.get("layer_types"):
        raise UserError("Sayso supports Mistral models with one window for all layers; this one has layer_types.")
    windows = (integer(facts, "sliding_window", 0),)
    return ModelConfig(
        **read_shared(facts), qk_norm="none", windows=windows, biases=read_biases(facts, attention=False)
    )


def write_mistral(config: ModelConfig) -> HubConfig:
    """Return the config.json of a Mistral."""
    return write_shared(config) | {"sliding_window": config.windows[0] if config.windows else None}


MISTRAL = Family("mistral", "MistralForCausalLM", LLAMA_NAMES, read_mistral, write_mistral)
