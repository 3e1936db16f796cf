"""SmolLM3: a Llama in which some layers, usually every fourth, have no positions (NoPE)."""

from dataclasses import replace
from typing import Any

from sayso.base.errors import UserError
from sayso.model import ModelConfig
from sayso.weights.families.family import Family, HubConfig, flag, integer
from sayso.weights.families.llama import (
    LLAMA_NAMES,
    read_biases,
    read_shared,
    read_windows,
    write_shared,
    write_windows,
)


def read_smollm3(facts: HubConfig) -> ModelConfig:
    """Return the shape of a SmolLM3."""
    fields: dict[str, Any] = read_shared(facts, theta=2_000_000.0, tied=True)
    layers, every = fields["layers"], max(integer(facts, "no_rope_layer_interval", 4), 1)
    rotary = facts.get("no_rope_layers") or [int((layer + 1) % every != 0) for layer in range(layers)]
    if not isinstance(rotary, list) or len(rotary) < layers or any(x not in (0, 1) for x in rotary):
        raise UserError(f"no_rope_layers in config.json must list 0 or 1 for each layer; got {rotary!r}.")
    nope = tuple(layer for layer in range(layers) if not rotary[layer])
    fields["rope"] = replace(fields["rope"], nope_layers=nope)
    window = integer(facts, "sliding_window", 0) if flag(facts, "use_sliding_window", default=False) else 0
    windows = read_windows(facts, window, [layer in nope for layer in range(layers)])
    return ModelConfig(**fields, qk_norm="none", windows=windows, biases=read_biases(facts, mlp=True))


def write_smollm3(config: ModelConfig) -> HubConfig:
    """Return the config.json of a SmolLM3."""
    rotary = [int(layer not in config.rope.nope_layers) for layer in range(config.layers)]
    return write_shared(config) | write_windows(config) | {"no_rope_layers": rotary}


SMOLLM3 = Family("smollm3", "SmolLM3ForCausalLM", LLAMA_NAMES, read_smollm3, write_smollm3)
