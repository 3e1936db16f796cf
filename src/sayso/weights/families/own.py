"""Sayso's own family, for shapes that no other family can express. Only Sayso opens it.

Its config.json is that of a Llama; the entry `shape` has the settings that a Llama lacks.
"""

from dataclasses import asdict, fields
from typing import Any

from sayso.base.errors import UserError
from sayso.model import ModelConfig
from sayso.weights.families.family import Family, HubConfig
from sayso.weights.families.llama import ACTIVATIONS, LLAMA_NAMES, QK_NORM_NAMES, read_shared, write_shared

OWN_NAMES = (
    LLAMA_NAMES
    | QK_NORM_NAMES
    | {
        "positions": "model.positions",
        "ngrams.tables.N": "model.ngrams.N",
        "shift": "model.shift",
        "blocks.N.attention_post_norm": "model.layers.N.attention_output_layernorm",
        "blocks.N.mlp_post_norm": "model.layers.N.mlp_output_layernorm",
    }
)
DEFAULTS = {field.name: field.default for field in fields(ModelConfig)}
_SHAPE = (
    *("positions", "rope", "windows", "norm", "norm_place", "qk_norm", "biases", "attention_cap", "logit_cap"),
    *("embed_scale", "shift"),
)


def read_own(facts: HubConfig) -> ModelConfig:
    """Return the shape of a model of our own family."""
    shape: Any = facts.get("shape", {})
    if not isinstance(shape, dict) or not shape.keys() <= set(_SHAPE):
        raise UserError(f"The shape in a Sayso config.json must be an object with keys from {', '.join(_SHAPE)}.")
    ngrams = {"ngrams": facts.get("ngrams", ()), "ngram_rows": facts.get("ngram_rows", 0)}
    try:
        return ModelConfig(**read_shared(facts, ACTIVATIONS) | ngrams | shape)
    except TypeError as error:
        raise UserError(f"The shape in a Sayso config.json has a value of the wrong type ({error}).") from error


def write_own(config: ModelConfig) -> HubConfig:
    """Return the config.json of a model of our own family."""
    values = asdict(config)
    shape = {name: values[name] for name in _SHAPE if getattr(config, name) != DEFAULTS[name]}
    return (
        write_shared(config)
        | ({"ngrams": list(config.ngrams), "ngram_rows": config.ngram_rows} if config.ngrams else {})
        | ({"shape": shape} if shape else {})
    )


OWN = Family("sayso", "SaysoForCausalLM", OWN_NAMES, read_own, write_own)
