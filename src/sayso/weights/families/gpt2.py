"""GPT-2: learned positions, layer norms, biases everywhere, an ungated MLP.

Its files fuse queries, keys and values into one layer, and store every matrix inside a block transposed (Conv1D), so
loading and saving copy the weights.
"""

import re

import torch

from sayso.model import ModelConfig
from sayso.weights.families.family import (
    Family,
    HubConfig,
    StateDict,
    flag,
    integer,
    layer_count,
    number,
    one_of,
    require_fields,
)
from sayso.weights.families.llama import write_shared

_NAMES = {
    "embed": "transformer.wte",
    "positions": "transformer.wpe",
    "norm": "transformer.ln_f",
    "unembed": "lm_head",
    "blocks.N.attention_norm": "transformer.h.N.ln_1",
    "blocks.N.attention.qkv": "transformer.h.N.attn.c_attn",
    "blocks.N.attention.out": "transformer.h.N.attn.c_proj",
    "blocks.N.mlp_norm": "transformer.h.N.ln_2",
    "blocks.N.mlp.up": "transformer.h.N.mlp.c_fc",
    "blocks.N.mlp.down": "transformer.h.N.mlp.c_proj",
}
_ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu"}
_PARTS = ("query", "key", "value")
_TRANSPOSED = ("attention.qkv.weight", "attention.out.weight", "mlp.up.weight", "mlp.down.weight")


def read_gpt2(facts: HubConfig) -> ModelConfig:
    """Return the shape of a GPT-2."""
    require_fields(facts, "scale_attn_weights", [True])
    require_fields(facts, "scale_attn_by_inverse_layer_idx", [False])
    require_fields(facts, "add_cross_attention", [False])
    heads, width = integer(facts, "n_head"), integer(facts, "n_embd")
    return ModelConfig(
        vocab_size=integer(facts, "vocab_size"),
        layers=layer_count(facts, "n_layer"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_size=width // max(heads, 1),
        mlp_width=integer(facts, "n_inner", 4 * width),
        mlp=one_of(facts, "activation_function", _ACTIVATIONS, "gelu_new"),
        context=integer(facts, "n_positions"),
        positions="learned",
        norm="layer",
        norm_eps=number(facts, "layer_norm_epsilon", 1e-5),
        qk_norm="none",
        biases=("qkv", "out", "mlp"),
        tie_embeddings=flag(facts, "tie_word_embeddings", default=True),
    )


def write_gpt2(config: ModelConfig) -> HubConfig:
    """Return the config.json of a GPT-2, under its own names and those of most other families."""
    others = ("vocab_size", "num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings")
    shared = write_shared(config)
    return {name: shared[name] for name in (*others, "tie_word_embeddings", "use_cache", "torch_dtype")} | {
        "n_layer": config.layers,
        "n_embd": config.width,
        "n_head": config.heads,
        "n_inner": config.mlp_width,
        "n_positions": config.context,
        "activation_function": shared["hidden_act"],
        "layer_norm_epsilon": config.norm_eps,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    }


def _pack(state: StateDict) -> StateDict:
    """Convert our weights to GPT-2's."""
    packed = {}
    for name, x in state.items():
        before, is_query, kind = name.rpartition(".query.")
        if is_query:
            packed[f"{before}.qkv.{kind}"] = torch.cat([state[f"{before}.{part}.{kind}"] for part in _PARTS])
        elif not any(f".{part}." in name for part in _PARTS):
            packed[name] = x
    return {name: x.T if name.endswith(_TRANSPOSED) else x for name, x in packed.items()}


def _unpack(state: StateDict) -> StateDict:
    """Convert GPT-2's weights to ours."""
    unpacked: StateDict = {}
    for name, x in state.items():
        ours = x.T.contiguous() if name.endswith(_TRANSPOSED) else x
        before, fused, kind = name.rpartition(".qkv.")
        if fused:
            unpacked |= {f"{before}.{part}.{kind}": x for part, x in zip(_PARTS, ours.chunk(3), strict=True)}
        else:
            unpacked[name] = ours
    return unpacked


MASKS = re.compile(r"transformer\.h\.\d+\.attn\.(masked_)?bias")
GPT2 = Family(
    "gpt2", "GPT2LMHeadModel", _NAMES, read_gpt2, write_gpt2, _pack, _unpack, "transformer.", MASKS, {"qkv": _PARTS}
)
