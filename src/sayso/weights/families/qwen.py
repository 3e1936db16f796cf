"""Qwen2 (biases on queries, keys and values) and Qwen3 (a norm on every head), with windows in later layers.

Models trained from scratch with SwiGLU are Qwen3 without windows.
"""

from sayso.model import ModelConfig
from sayso.weights.families.family import Family, HubConfig, flag, integer, layer_count
from sayso.weights.families.llama import (
    LLAMA_NAMES,
    QK_NORM_NAMES,
    read_biases,
    read_shared,
    read_windows,
    write_shared,
    write_windows,
)


def _windows(facts: HubConfig) -> tuple[int, ...]:
    layers, first = layer_count(facts), integer(facts, "max_window_layers", 28)
    window = integer(facts, "sliding_window", 4096) if flag(facts, "use_sliding_window", default=False) else 0
    return read_windows(facts, window, [layer >= first for layer in range(layers)])


def read_qwen2(facts: HubConfig) -> ModelConfig:
    """Return the shape of a Qwen2."""
    read_biases(facts, attention=False)  # queries, keys and values always have one, without an entry
    return ModelConfig(**read_shared(facts), qk_norm="none", windows=_windows(facts), biases=("qkv",))


def read_qwen3(facts: HubConfig) -> ModelConfig:
    """Return the shape of a Qwen3."""
    return ModelConfig(**read_shared(facts), windows=_windows(facts), biases=read_biases(facts))


def write_qwen(config: ModelConfig) -> HubConfig:
    """Return the config.json of a Qwen2 or Qwen3."""
    return write_shared(config) | write_windows(config)


QWEN2 = Family("qwen2", "Qwen2ForCausalLM", LLAMA_NAMES, read_qwen2, write_qwen)
QWEN3 = Family("qwen3", "Qwen3ForCausalLM", LLAMA_NAMES | QK_NORM_NAMES, read_qwen3, write_qwen)
