"""Llama (also SmolLM2 and others of that model type), and the parts of config.json that later families share.

Rotary positions, RMS norms before attention and MLP, SwiGLU, grouped-query attention.
"""

from collections.abc import Sequence
from typing import Any

from sayso.base.errors import UserError
from sayso.model import ModelConfig
from sayso.weights.families.family import (
    Family,
    HubConfig,
    flag,
    integer,
    layer_count,
    number,
    one_of,
    require_fields,
)
from sayso.weights.families.rope import read_rope, write_rope

LLAMA_NAMES = {
    "embed": "model.embed_tokens",
    "norm": "model.norm",
    "unembed": "lm_head",
    "blocks.N.attention.query": "model.layers.N.self_attn.q_proj",
    "blocks.N.attention.key": "model.layers.N.self_attn.k_proj",
    "blocks.N.attention.value": "model.layers.N.self_attn.v_proj",
    "blocks.N.attention.out": "model.layers.N.self_attn.o_proj",
    "blocks.N.attention_norm": "model.layers.N.input_layernorm",
    "blocks.N.mlp_norm": "model.layers.N.post_attention_layernorm",
    "blocks.N.mlp.gate": "model.layers.N.mlp.gate_proj",
    "blocks.N.mlp.up": "model.layers.N.mlp.up_proj",
    "blocks.N.mlp.down": "model.layers.N.mlp.down_proj",
}
QK_NORM_NAMES = {
    "blocks.N.attention.query_norm": "model.layers.N.self_attn.q_norm",
    "blocks.N.attention.key_norm": "model.layers.N.self_attn.k_norm",
}
ACTIVATIONS = {"silu": "swiglu", "gelu_pytorch_tanh": "geglu", "gelu_new": "gelu", "relu": "relu", "relu2": "relu2"}
SILU = {"silu": "swiglu", "swish": "swiglu"}
FULL, SLIDING = "full_attention", "sliding_attention"


def read_shared(
    facts: HubConfig, acts: dict[str, str] = SILU, *, theta: float = 10_000.0, eps: float = 1e-6, tied: bool = False
) -> dict[str, Any]:
    """Return the fields of a shape from the entries that these families share, with the family's defaults."""
    heads, width = integer(facts, "num_attention_heads"), integer(facts, "hidden_size")
    base, rope = read_rope(facts, theta)
    return {
        "vocab_size": integer(facts, "vocab_size"),
        "layers": layer_count(facts),
        "width": width,
        "heads": heads,
        "kv_heads": integer(facts, "num_key_value_heads", heads),
        "head_size": integer(facts, "head_dim", width // max(heads, 1)),
        "mlp_width": integer(facts, "intermediate_size"),
        "mlp": one_of(facts, "hidden_act", acts, next(iter(acts))),
        "context": integer(facts, "max_position_embeddings"),
        "rope_theta": base,
        "rope": rope,
        "norm_eps": number(facts, "rms_norm_eps", eps),
        "tie_embeddings": flag(facts, "tie_word_embeddings", default=tied),
    }


def write_shared(config: ModelConfig) -> HubConfig:
    """Return the entries of a config.json that these families share."""
    return {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "intermediate_size": config.mlp_width,
        "hidden_act": next(name for name, mlp in ACTIVATIONS.items() if mlp == config.mlp),
        "max_position_embeddings": config.context,
        **write_rope(config),
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": {"qkv", "out"} <= set(config.biases),
        "mlp_bias": "mlp" in config.biases,
        "use_cache": True,
        "torch_dtype": "float32",
    }


def read_biases(facts: HubConfig, *, attention: bool = True, mlp: bool = False) -> tuple[str, ...]:
    """Return the layers with a bias. Raises `UserError` for biases that the family does not have."""
    for name, known in (("attention_bias", attention), ("mlp_bias", mlp)):
        if not known:
            require_fields(facts, name, [False])
    attention_biases = ("qkv", "out") if flag(facts, "attention_bias", default=False) else ()
    return (*attention_biases, *(("mlp",) if flag(facts, "mlp_bias", default=False) else ()))


def read_windows(facts: HubConfig, window: int, sliding: Sequence[bool]) -> tuple[int, ...]:
    """Return the window of each layer: by `layer_types` if the config.json has them, else by `sliding`."""
    types = facts.get("layer_types")
    if types is not None:
        if not isinstance(types, list) or len(types) != len(sliding) or any(x not in (FULL, SLIDING) for x in types):
            raise UserError(f"layer_types in config.json must list {FULL} or {SLIDING} for each layer; got {types!r}.")
        sliding = [x == SLIDING for x in types]
        if any(sliding) and not window:
            raise UserError(f"A config.json with {SLIDING} in layer_types needs a sliding_window; this one has none.")
    return tuple(window if slides else 0 for slides in sliding)


def write_windows(config: ModelConfig) -> HubConfig:
    """Return the entries of a config.json for windows of one size; {} for a shape without windows."""
    if not config.windows:
        return {}
    types = [SLIDING if window else FULL for window in config.layer_windows]
    return {"use_sliding_window": True, "sliding_window": max(config.windows), "layer_types": types}


def read_llama(facts: HubConfig) -> ModelConfig:
    """Return the shape of a Llama."""
    return ModelConfig(**read_shared(facts), qk_norm="none", biases=read_biases(facts, mlp=True))


LLAMA = Family("llama", "LlamaForCausalLM", LLAMA_NAMES, read_llama, write_shared)
