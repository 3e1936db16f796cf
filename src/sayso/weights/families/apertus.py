"""Apertus with squared ReLU: the family of models trained from scratch with an ungated MLP.

Apertus itself has another activation (xIELU), which is not supported.
"""

from sayso.model import ModelConfig
from sayso.weights.families.family import Family, HubConfig
from sayso.weights.families.llama import LLAMA_NAMES, QK_NORM_NAMES, read_biases, read_shared, write_shared

APERTUS_NAMES = {
    name: theirs for name, theirs in (LLAMA_NAMES | QK_NORM_NAMES).items() if name != "blocks.N.mlp.gate"
} | {
    "blocks.N.attention_norm": "model.layers.N.attention_layernorm",
    "blocks.N.mlp_norm": "model.layers.N.feedforward_layernorm",
}


def read_apertus(facts: HubConfig) -> ModelConfig:
    """Return the shape of an Apertus."""
    fields = read_shared({"hidden_act": "xielu"} | facts, {"relu2": "relu2"}, theta=12_000_000.0, eps=1e-5)
    return ModelConfig(**fields, biases=read_biases(facts))


APERTUS = Family("apertus", "ApertusForCausalLM", APERTUS_NAMES, read_apertus, write_shared)
