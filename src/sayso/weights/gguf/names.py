"""Convert metadata and tensor names between GGUF and the Hugging Face layout.

llama.cpp uses the same tensor names in all families. Its Llama rotates adjacent dimensions of a head, the hub's the two
halves, so the rows of queries and keys are in a different order.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.weights.gguf.file import GGUF

_COMMON = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.N.attn_q": "model.layers.N.self_attn.q_proj",
    "blk.N.attn_k": "model.layers.N.self_attn.k_proj",
    "blk.N.attn_v": "model.layers.N.self_attn.v_proj",
    "blk.N.attn_output": "model.layers.N.self_attn.o_proj",
    "blk.N.ffn_gate": "model.layers.N.mlp.gate_proj",
    "blk.N.ffn_up": "model.layers.N.mlp.up_proj",
    "blk.N.ffn_down": "model.layers.N.mlp.down_proj",
}
_BEFORE = {
    "blk.N.attn_norm": "model.layers.N.input_layernorm",
    "blk.N.ffn_norm": "model.layers.N.post_attention_layernorm",
}
AFTER = {
    "blk.N.post_attention_norm": "model.layers.N.post_attention_layernorm",
    "blk.N.post_ffw_norm": "model.layers.N.post_feedforward_layernorm",
}
QK_NORM = {
    "blk.N.attn_q_norm": "model.layers.N.self_attn.q_norm",
    "blk.N.attn_k_norm": "model.layers.N.self_attn.k_norm",
}
_APERTUS = {
    "blk.N.attn_norm": "model.layers.N.attention_layernorm",
    "blk.N.ffn_norm": "model.layers.N.feedforward_layernorm",
}
XIELU = {"alpha_p": math.log(math.e - 1), "alpha_n": -100.0, "beta": 0.0, "eps": -1e-6}
"""Parameters for which Apertus' activation is squared ReLU: softplus(alpha_p) x^2 above 0; below 0, a function of x
times softplus(alpha_n), which is 0."""
_GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "blk.N.attn_norm": "transformer.h.N.ln_1",
    "blk.N.attn_qkv": "transformer.h.N.attn.c_attn",
    "blk.N.attn_output": "transformer.h.N.attn.c_proj",
    "blk.N.ffn_norm": "transformer.h.N.ln_2",
    "blk.N.ffn_up": "transformer.h.N.mlp.c_fc",
    "blk.N.ffn_down": "transformer.h.N.mlp.c_proj",
}
GGUF_FAMILIES = {
    "llama": _COMMON | _BEFORE,
    "qwen2": _COMMON | _BEFORE,
    "qwen3": _COMMON | _BEFORE | QK_NORM,
    "smollm3": _COMMON | _BEFORE,
    "olmo2": _COMMON | AFTER | QK_NORM,
    "gpt2": _GPT2,
    "apertus": {name: theirs for name, theirs in _COMMON.items() if "gate" not in name} | QK_NORM | _APERTUS,
}
HUB = {"mistral": "llama"}  # hub families that llama.cpp treats as another one
INTERLEAVED = {"llama": ("attn_q", "attn_k")}
_TRANSPOSED = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")  # GPT-2's matrices on the hub are inputs by outputs
FACTS = {
    "num_hidden_layers": "block_count",
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "sliding_window": "attention.sliding_window",
}
GPT2_FACTS = {
    "n_layer": "block_count",
    "n_positions": "context_length",
    "n_embd": "embedding_length",
    "n_inner": "feed_forward_length",
    "n_head": "attention.head_count",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
}
OPTIONAL = ("head_dim", "rope_theta", "sliding_window", "num_key_value_heads", "n_inner")
SCALINGS = ("linear", "yarn")
PLAIN_SCALING = ("rope.scaling.type", "rope.scaling.finetuned")
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
ROPE = {
    "factor": "rope.scaling.factor",
    "original_max_position_embeddings": "rope.scaling.original_context_length",
}


def hub_config(file: GGUF) -> dict[str, Any]:
    """Return the config.json of the model in a file.

    Raises `UserError` for an unsupported family or setting.
    """
    family = str(file.fact("general.architecture"))
    if family not in GGUF_FAMILIES:
        raise UserError(
            f"Sayso reads GGUF models of the families {', '.join(GGUF_FAMILIES)}; '{file.path}' has '{family}'."
            f"{nearest(family, GGUF_FAMILIES)}"
        )
    config: dict[str, Any] = {"model_type": family}
    for theirs, name in (GPT2_FACTS if family == "gpt2" else FACTS).items():
        if f"{family}.{name}" in file.facts or theirs not in OPTIONAL:
            config[theirs] = file.fact(f"{family}.{name}")
    if "token_embd.weight" not in file.tensors:
        raise UserError(f"'{file.path}' has no embedding (token_embd.weight): it is not a complete model.")
    config["vocab_size"] = file.tensors["token_embd.weight"].shape[0]
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    if family == "gpt2":
        return config | {"activation_function": "gelu_new"}
    size = config.get("head_dim", config["hidden_size"] // max(config["num_attention_heads"], 1))
    if file.facts.get(f"{family}.rope.dimension_count", size) != size:
        raise UserError(f"'{file.path}' rotates only part of each head, which Sayso does not support.")
    biased = "blk.0.attn_q.bias" in file.tensors
    if biased != (family == "qwen2"):
        raise UserError(f"'{file.path}' has {'a' if biased else 'no'} bias on queries, unlike {family} models.")
    if family == "apertus":
        config["hidden_act"] = _activation(file)
    theta = config.get("rope_theta", 10_000.0)
    config = {"hidden_act": "silu"} | config | {"rope_theta": theta, "rope_parameters": _rope(file, family, theta)}
    if family == "smollm3":
        config["no_rope_layer_interval"] = 4
    return config


def hub_state(file: GGUF, config: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a file in float32, under the hub's names and with its order of rows.

    Raises `UserError` for a tensor that the family does not have.
    """
    family = config["model_type"]
    state = {}
    for name in file.tensors:
        if name == "rope_freqs.weight":
            continue  # converted to settings by `hub_config`
        stem, _, end = name.rpartition(".")
        known = GGUF_FAMILIES[family].get(re.sub(r"\.\d+\.", ".N.", stem, count=1))
        if known is None or end not in ("weight", "bias"):
            raise UserError(f"A {family} model has no tensor '{name}'; '{file.path}' has another architecture.")
        number = re.search(r"\.(\d+)\.", stem)
        hub = f"{known.replace('.N.', number.group() if number else '.N.', 1)}.{end}"
        state[hub] = _to_hub(family, stem.rpartition(".")[2], end, file.tensor(name), config)
    return state


def gguf_name(family: str, name: str) -> str:
    """Return the GGUF name of a tensor, given its name on the hub."""
    table = {theirs: ours for ours, theirs in GGUF_FAMILIES[HUB.get(family, family)].items()}
    stem, _, end = name.rpartition(".")
    number = re.search(r"\.(\d+)\.", stem)
    known = table[re.sub(r"\.\d+\.", ".N.", stem, count=1)]
    return f"{known.replace('.N.', number.group() if number else '.N.', 1)}.{end}"


def gguf_tensor(family: str, name: str, x: Tensor, config: dict[str, Any]) -> Tensor:
    """Convert a tensor from the hub's layout to that of GGUF, where it is called `name`."""
    part = name.rpartition(".")[0].rpartition(".")[2]
    if part in INTERLEAVED.get(HUB.get(family, family), ()):
        heads = config["num_attention_heads" if part == "attn_q" else "num_key_value_heads"]
        return x.view(heads, 2, -1, *x.shape[1:]).transpose(1, 2).reshape(x.shape)
    return x.T.contiguous() if family == "gpt2" and part in _TRANSPOSED and name.endswith("weight") else x


def halves(x: Tensor, heads: int) -> Tensor:
    """Reorder rows of queries or keys [H * D, ...] so that rotated pairs, which were adjacent, are D/2 apart."""
    return x.view(heads, -1, 2, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def _to_hub(family: str, part: str, end: str, x: Tensor, config: dict[str, Any]) -> Tensor:
    if part in INTERLEAVED.get(family, ()):
        heads = config["num_attention_heads"]
        heads = heads if part == "attn_q" else config.get("num_key_value_heads", heads)
        if heads < 1 or len(x) % (2 * heads):
            raise UserError(f"The {len(x)} rows of '{part}' cannot be split into {heads} heads of an even size.")
        return halves(x, heads)
    return x.T.contiguous() if family == "gpt2" and part in _TRANSPOSED and end == "weight" else x


def _activation(file: GGUF) -> str:
    """Return the activation of an Apertus: squared ReLU if its parameters amount to that."""
    found = {name: file.facts.get(f"xielu.{name}") for name in XIELU}
    values = {name: value if isinstance(value, list) else [value] for name, value in found.items()}
    squared = all(
        isinstance(one, float) and math.isclose(one, XIELU[name], rel_tol=1e-5)
        for name, per_layer in values.items()
        for one in per_layer
    )
    return "relu2" if squared else "xielu"


def _rope(file: GGUF, family: str, theta: float) -> dict[str, Any]:
    """Return the `rope_parameters` of the model in a file."""
    kind = file.facts.get(f"{family}.rope.scaling.type", "none")
    plain = {"rope_type": "default", "rope_theta": theta}
    if "rope_freqs.weight" in file.tensors:
        return plain | _llama3(file, theta)
    if kind == "none":
        return plain
    if kind not in SCALINGS:
        raise UserError(f"RoPE scaling in GGUF must be one of {', '.join(SCALINGS)}; '{file.path}' has '{kind}'.")
    settings = [name for name in file.facts if name.startswith(f"{family}.rope.scaling.")]
    beyond = [name for name in settings if name.removeprefix(f"{family}.") not in (*ROPE.values(), *PLAIN_SCALING)]
    if beyond:
        raise UserError(
            f"'{file.path}' sets '{beyond[0]}', which Sayso does not support; import the model's folder from the hub."
        )
    known = {hub: file.facts[f"{family}.{name}"] for hub, name in ROPE.items() if f"{family}.{name}" in file.facts}
    return plain | {"rope_type": kind} | known


def _llama3(file: GGUF, theta: float) -> dict[str, Any]:
    """Return the RoPE scaling of Llama 3.1 and later, which a file stores as one factor per frequency."""
    factors = file.tensor("rope_freqs.weight")
    frequencies = theta ** -(torch.arange(len(factors)) / len(factors)) / math.tau
    rotations = _LLAMA3["original_max_position_embeddings"] * frequencies
    slow, fast, factor = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"], float(f"{factors.max():.6g}")
    kept = ((rotations - slow) / (fast - slow)).clamp(0, 1)
    if not torch.allclose(factors, 1 / (kept + (1 - kept) / factor), rtol=1e-3):
        raise UserError(f"'{file.path}' has RoPE frequency factors other than those of Llama 3.")
    return {"rope_type": "llama3", "factor": factor, **_LLAMA3}
