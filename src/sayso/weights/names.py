"""Our weights by the Hugging Face names, and our config as theirs: a table and two functions for each family.

A model of ours with a swiglu MLP is a Qwen3 (rotary, QK-norm, grouped heads, pre-norm RMS); with relu2 it is an Apertus
with that activation, the family with QK-norm and an MLP without a gate. Both open in `transformers` as they are. One
with n-gram embeddings is of our own family, which Sayso alone opens.
"""

import re
from typing import Any

from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.model import ModelConfig

QWEN3 = {
    "embed.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "unembed.weight": "lm_head.weight",
    "blocks.N.attention.query.weight": "model.layers.N.self_attn.q_proj.weight",
    "blocks.N.attention.key.weight": "model.layers.N.self_attn.k_proj.weight",
    "blocks.N.attention.value.weight": "model.layers.N.self_attn.v_proj.weight",
    "blocks.N.attention.out.weight": "model.layers.N.self_attn.o_proj.weight",
    "blocks.N.attention.query_norm.weight": "model.layers.N.self_attn.q_norm.weight",
    "blocks.N.attention.key_norm.weight": "model.layers.N.self_attn.k_norm.weight",
    "blocks.N.attention_norm.weight": "model.layers.N.input_layernorm.weight",
    "blocks.N.mlp_norm.weight": "model.layers.N.post_attention_layernorm.weight",
    "blocks.N.mlp.gate.weight": "model.layers.N.mlp.gate_proj.weight",
    "blocks.N.mlp.up.weight": "model.layers.N.mlp.up_proj.weight",
    "blocks.N.mlp.down.weight": "model.layers.N.mlp.down_proj.weight",
}
APERTUS = QWEN3 | {
    "blocks.N.attention_norm.weight": "model.layers.N.attention_layernorm.weight",
    "blocks.N.mlp_norm.weight": "model.layers.N.feedforward_layernorm.weight",
}
OWN = "sayso"
FAMILIES = {"qwen3": QWEN3, "apertus": APERTUS, OWN: QWEN3 | {"ngrams.tables.N.weight": "model.ngrams.N.weight"}}
ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "apertus": "ApertusForCausalLM", OWN: "SaysoForCausalLM"}
ACTIVATIONS = {"silu": "swiglu", "relu2": "relu2"}
MLPS = {"qwen3": ("swiglu",), "apertus": ("relu2",), OWN: ("swiglu", "relu2")}


def to_hub(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights under the names of their family; a tied head is left out, as the hub does."""
    table = FAMILIES[_family(config)]
    skip = {"unembed.weight"} if config.tie_embeddings else set()
    return {_rename(name, table): weight.contiguous() for name, weight in state.items() if name not in skip}


def hub_name(name: str, config: ModelConfig) -> str:
    """Return the family's name of a weight of ours."""
    return _rename(name, FAMILIES[_family(config)])


def from_hub(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights under our names; the inverse of `to_hub`."""
    table = {theirs: ours for ours, theirs in FAMILIES[_family(config)].items()}
    renamed = {_rename(name, table): weight for name, weight in state.items()}
    if config.tie_embeddings:
        renamed["unembed.weight"] = renamed["embed.weight"]
    return renamed


def to_hub_config(config: ModelConfig) -> dict[str, Any]:
    """Return the family's config.json for a shape of ours."""
    family = _family(config)
    return {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "intermediate_size": config.mlp_width,
        "hidden_act": next(name for name, mlp in ACTIVATIONS.items() if mlp == config.mlp),
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": False,
        "mlp_bias": False,
        "use_cache": True,
        "torch_dtype": "float32",
    } | ({"ngrams": list(config.ngrams), "ngram_rows": config.ngram_rows} if family == OWN else {})


def from_hub_config(config: dict[str, Any]) -> ModelConfig:
    """Return our shape for a family's config.json; an unknown family is a `UserError`."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise UserError(
            f"Sayso opens the model types {', '.join(FAMILIES)}; this folder's config.json says '{family}'."
            + nearest(family, FAMILIES)
        )
    mlp = ACTIVATIONS.get(config["hidden_act"])
    if mlp not in MLPS[family]:
        usual = next(name for name in ACTIVATIONS if ACTIVATIONS[name] in MLPS[family])
        raise UserError(f"A {family} model here has hidden_act '{usual}'; got '{config['hidden_act']}'.")
    heads, width = config["num_attention_heads"], config["hidden_size"]
    rope = config.get("rope_parameters") or config
    return ModelConfig(
        vocab_size=config["vocab_size"],
        layers=config["num_hidden_layers"],
        width=width,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or width // heads,
        mlp_width=config["intermediate_size"],
        mlp=mlp,
        context=config["max_position_embeddings"],
        rope_theta=float(rope["rope_theta"]),
        norm_eps=config["rms_norm_eps"],
        tie_embeddings=config["tie_word_embeddings"],
        ngrams=tuple(config.get("ngrams", ())),
        ngram_rows=config.get("ngram_rows", 0),
    )


def _family(config: ModelConfig) -> str:
    if config.ngrams:
        return OWN
    return "qwen3" if config.mlp == "swiglu" else "apertus"


def _rename(name: str, table: dict[str, str]) -> str:
    number = re.search(r"\.(\d+)\.", name)
    if number is None:
        return table[name]
    return table[name.replace(number.group(), ".N.", 1)].replace(".N.", number.group(), 1)
