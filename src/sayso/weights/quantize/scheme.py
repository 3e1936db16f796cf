"""The quantization scheme of a model, and its `quantization_config` in compressed-tensors format (vLLM and others).

pack-quantized   weights only: `weight_packed` int32 [R, C bits/32], `weight_scale` [R, G], `weight_shape`, and
                 `weight_zero_point` int32 [R bits/32, G] unless symmetric
int-quantized    weights and inputs: `weight` int8 [R, C], `weight_scale` [R, 1]

Embedding and head are not part of it: they are stored in 16 bits and quantized on load.
"""

from dataclasses import dataclass
from typing import Any

from sayso.base.errors import UserError
from sayso.weights.quantize.integers import Grid

_Facts = dict[str, Any]
GROUP = 64
METHOD, INT, PACKED = "compressed-tensors", "int-quantized", "pack-quantized"


@dataclass(frozen=True)
class Scheme:
    """Settings of a quantized model. Raises `UserError` for an unsupported combination."""

    grid: Grid
    """Grid of the blocks' weights."""
    inputs8: bool = False
    """Whether inputs of the blocks' layers are quantized to 8 bits."""
    ends8: bool = False
    """Whether embedding and head are quantized to 8 bits."""

    def __post_init__(self) -> None:
        if self.inputs8 and self.grid.bits != 8:
            raise UserError("8-bit inputs require 8-bit weights; omit --inputs, or use --bits 8.")
        if self.grid.bits == 8 and (self.grid.group or not self.grid.symmetric):
            raise UserError("8-bit weights use one symmetric scale per row; omit --group.")

    @property
    def form(self) -> str:
        """Layout of the tensors, by its name in compressed-tensors."""
        return INT if self.inputs8 else PACKED

    def write(self) -> _Facts:
        """Return the `quantization_config` of a config.json."""
        shared = {"type": "int", "observer_kwargs": {}}
        weights = shared | {
            "num_bits": self.grid.bits,
            "symmetric": self.grid.symmetric,
            "strategy": "group" if self.grid.group else "channel",
            "group_size": self.grid.group or None,
            "dynamic": False,
        }
        inputs = shared | {"num_bits": 8, "symmetric": True, "strategy": "token", "dynamic": True}
        group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs if self.inputs8 else None}
        return {
            "quant_method": METHOD,
            "format": self.form,
            "quantization_status": "compressed",
            "config_groups": {"group_0": group},
            "ignore": ["lm_head"],
        }


def usual_scheme(bits: int, group: int | None = None, *, inputs8: bool = False, ends8: bool = True) -> Scheme:
    """Return the scheme for 8 or 4 bits: one symmetric scale per row, or zero points and groups of 64.

    `group` overrides the group size. Raises `UserError` for a combination that is not supported.
    """
    default = GROUP if bits == 4 else 0
    return Scheme(Grid(bits, default if group is None else group, symmetric=bits == 8), inputs8, ends8)


def read_scheme(facts: Any) -> Scheme:
    """Return the scheme of a `quantization_config`. Raises `UserError` for unsupported settings."""
    if not isinstance(facts, dict) or facts.get("quant_method") != METHOD:
        kind = facts.get("quant_method") if isinstance(facts, dict) else facts
        raise UserError(f"Sayso supports models quantized with {METHOD}; this one has quant_method {kind!r}.")
    groups = facts.get("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        raise UserError("Sayso supports quantized models with one config group; this one has several.")
    (group,) = groups.values()
    weights, inputs = _part(group, "weights"), _part(group, "input_activations")
    grid = Grid(
        weights.get("num_bits", 0),
        weights.get("group_size") or 0 if weights.get("strategy") == "group" else 0,
        bool(weights.get("symmetric", True)),
    )
    scheme = Scheme(grid, bool(inputs))
    (kind,) = scheme.write()["config_groups"].values()
    for name, theirs, ours in (("weights", weights, kind["weights"]), ("inputs", inputs, kind["input_activations"])):
        for key in ("type", "strategy", "dynamic"):
            if theirs and theirs.get(key, ours[key]) != ours[key]:
                raise UserError(f"Sayso supports {name} with {key} {ours[key]!r}; this model has {theirs[key]!r}.")
    if facts.get("format") != scheme.form:
        raise UserError(f"Sayso supports this quantization in the format {scheme.form}; got {facts.get('format')!r}.")
    return scheme


def _part(group: Any, name: str) -> _Facts:
    part = group.get(name) if isinstance(group, dict) else None
    if part is not None and not isinstance(part, dict):
        raise UserError(f"{name} in quantization_config must be an object; got {part!r}.")
    return part or {}
