"""Rotary positions in a config.json: `rope_parameters` (transformers 5) and `rope_scaling` (older versions).

Not supported: scaling that changes the angles of keys already in a cache (dynamic, longrope), and partial rotation.
"""

import math
from typing import Any

from sayso.base.errors import UserError
from sayso.model.config import PLAIN, ModelConfig, Rope
from sayso.weights.families.family import HubConfig, integer, number

_KINDS = {"default": "none", "linear": "linear", "llama3": "llama3", "yarn": "yarn"}
_UNDERSTOOD = {
    *("rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings", "low_freq_factor"),
    *("high_freq_factor", "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate"),
}


def read_rope(facts: HubConfig, theta: float = 10_000.0) -> tuple[float, Rope]:
    """Return theta and the RoPE scaling; `theta` is the family's default, used if the config.json has none."""
    table = facts.get("rope_scaling") or facts.get("rope_parameters") or {}
    if not isinstance(table, dict):
        raise UserError(f"rope_parameters in config.json must be an object; got {table!r}.")
    base = number(table, "rope_theta", number(facts, "rope_theta", theta))
    kind = table.get("rope_type", table.get("type", "default"))
    if kind not in _KINDS:
        raise UserError(f"Sayso supports the rope types {', '.join(_KINDS)}; this config.json has {kind!r}.")
    beyond = [name for name, value in table.items() if value and name not in _UNDERSTOOD]
    if beyond or table.get("truncate") is False or number(facts, "partial_rotary_factor", 1.0) != 1:
        names = beyond or (["truncate"] if table.get("truncate") is False else ["partial_rotary_factor"])
        raise UserError(f"Sayso does not support {names[0]} in rope_parameters, which this config.json sets.")
    if kind == "default":
        return base, PLAIN
    if kind == "linear":
        return base, Rope("linear", number(table, "factor"))
    context = integer(facts, "max_position_embeddings")
    original = integer(table, "original_max_position_embeddings", context)
    original = integer(facts, "original_max_position_embeddings", original)
    if kind == "llama3":
        slow, fast = number(table, "low_freq_factor"), number(table, "high_freq_factor")
        return base, Rope("llama3", number(table, "factor"), original, slow, fast)
    factor = number(table, "factor", context / max(original, 1))
    slow, fast = number(table, "beta_slow", 1.0), number(table, "beta_fast", 32.0)
    return base, Rope("yarn", factor, original, slow, fast, _attention_factor(table, factor))


def _attention_factor(table: dict[str, Any], factor: float) -> float:
    """Return YaRN's factor of sines and cosines (Peng et al. 2023; DeepSeek-V2 for two mscales)."""

    def scale(mscale: float) -> float:
        return 0.1 * mscale * math.log(factor) + 1 if factor > 1 else 1.0

    if table.get("attention_factor") is not None:
        return number(table, "attention_factor")
    if table.get("mscale") and table.get("mscale_all_dim"):
        return scale(number(table, "mscale")) / scale(number(table, "mscale_all_dim"))
    return scale(1)


def write_rope(config: ModelConfig) -> HubConfig:
    """Return the entries of a config.json for the rotary positions of a shape, under new and old names."""
    rope, table = config.rope, {"rope_type": "default", "rope_theta": config.rope_theta}
    if rope.stretch != "none":
        table |= {"rope_type": rope.stretch, "factor": rope.factor}
    if rope.stretch == "llama3":
        table |= {"low_freq_factor": rope.slow, "high_freq_factor": rope.fast}
    if rope.stretch == "yarn":
        table |= {"beta_slow": rope.slow, "beta_fast": rope.fast, "attention_factor": rope.attention_factor}
    if rope.original:
        table["original_max_position_embeddings"] = rope.original
    old = {"rope_scaling": table} if rope.stretch != "none" else {}
    return {"rope_theta": config.rope_theta, "rope_parameters": table} | old
