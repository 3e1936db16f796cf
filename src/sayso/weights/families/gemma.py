"""Gemma 2 and 3, text only: norms before and after, GeGLU, scaled embeddings, soft caps, windows in most layers.

Their files store the gains of norms minus 1, so loading and saving copy the norms.
"""

from dataclasses import replace
from typing import Any

from sayso.model import ModelConfig
from sayso.weights.families.family import (
    Family,
    HubConfig,
    StateDict,
    integer,
    layer_count,
    number,
    require_fields,
)
from sayso.weights.families.llama import (
    LLAMA_NAMES,
    QK_NORM_NAMES,
    read_biases,
    read_shared,
    read_windows,
    write_shared,
    write_windows,
)
from sayso.weights.families.rope import write_rope

GEMMA_NAMES = LLAMA_NAMES | {
    "blocks.N.attention_post_norm": "model.layers.N.post_attention_layernorm",
    "blocks.N.mlp_norm": "model.layers.N.pre_feedforward_layernorm",
    "blocks.N.mlp_post_norm": "model.layers.N.post_feedforward_layernorm",
}
GEGLU = {"gelu_pytorch_tanh": "geglu"}
LOCAL_THETA = 10_000.0


def read_gemma2(facts: HubConfig) -> ModelConfig:
    """Return the shape of a Gemma 2: every other layer has a window."""
    caps = {"attention_cap": _cap(facts, "attn_logit_softcapping", 50.0)}
    return ModelConfig(**_read(facts, 2) | caps | {"logit_cap": _cap(facts, "final_logit_softcapping", 30.0)})


def read_gemma3(facts: HubConfig) -> ModelConfig:
    """Return the shape of a Gemma 3: five of six layers have a window, with a separate theta."""
    require_fields(facts, "attn_logit_softcapping", [None])
    tables = facts.get("rope_parameters") or {}
    nested = isinstance(tables, dict) and "full_attention" in tables
    local = (tables.get("sliding_attention") or {}) if nested else {}
    require_fields(local, "rope_type", ["default"])
    theta = number(local, "rope_theta", number(facts, "rope_local_base_freq", LOCAL_THETA))
    fields = _read(facts | {"rope_parameters": tables["full_attention"] if nested else tables}, 6, theta=1_000_000.0)
    if any(fields["windows"]):
        fields["rope"] = replace(fields["rope"], local_theta=theta)
    return ModelConfig(**fields | {"qk_norm": "head", "logit_cap": _cap(facts, "final_logit_softcapping", 0.0)})


def _read(facts: HubConfig, every: int, theta: float = 10_000.0) -> dict[str, Any]:
    """Return the fields that both families share; every `every`-th layer has no window."""
    shared = read_shared(facts | {"hidden_act": facts.get("hidden_activation")}, GEGLU, theta=theta, tied=True)
    require_fields(facts, "use_bidirectional_attention", [False])
    require_fields(facts, "query_pre_attn_scalar", [shared["head_size"]])  # scores are divided by its root
    every = max(integer(facts, "sliding_window_pattern", every), 1)
    sliding = [(layer + 1) % every != 0 for layer in range(layer_count(facts))]
    return shared | {
        "windows": read_windows(facts, integer(facts, "sliding_window", 4096), sliding),
        "norm_place": "both",
        "qk_norm": "none",
        "biases": read_biases(facts),
        "embed_scale": shared["width"] ** 0.5,
    }


def _cap(facts: HubConfig, name: str, default: float) -> float:
    """Return a soft cap: 0 (off) for null, the default if missing."""
    return 0.0 if name in facts and facts[name] is None else number(facts, name, default)


def write_gemma(config: ModelConfig) -> HubConfig:
    """Return the config.json of a Gemma 2."""
    return (
        write_shared(config)
        | {"layer_types": ["full_attention"] * config.layers}
        | write_windows(config)
        | {
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": config.head_size,
            "attn_logit_softcapping": config.attention_cap or None,
            "final_logit_softcapping": config.logit_cap or None,
        }
    )


def write_gemma3(config: ModelConfig) -> HubConfig:
    """Return the config.json of a Gemma 3."""
    local = config.rope.local_theta or LOCAL_THETA
    full = write_rope(config)["rope_parameters"]
    tables = {"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": local}}
    facts = write_gemma(config) | {"rope_parameters": tables, "rope_local_base_freq": local}
    return {name: value for name, value in facts.items() if name != "rope_scaling"}


def _shift_gains(state: StateDict, shift: float) -> StateDict:
    return {name: x + shift if name.endswith("norm.weight") else x for name, x in state.items()}


def _pack(state: StateDict) -> StateDict:
    """Convert our weights to Gemma's."""
    return _shift_gains(state, -1.0)


def _unpack(state: StateDict) -> StateDict:
    """Convert Gemma's weights to ours."""
    return _shift_gains(state, 1.0)


GEMMA2 = Family("gemma2", "Gemma2ForCausalLM", GEMMA_NAMES, read_gemma2, write_gemma, _pack, _unpack)
GEMMA3 = Family(
    "gemma3_text", "Gemma3ForCausalLM", GEMMA_NAMES | QK_NORM_NAMES, read_gemma3, write_gemma3, _pack, _unpack
)
