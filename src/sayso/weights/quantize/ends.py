"""Embedding and head in 8 bits by row: one tensor of integers if the two are tied.

The whole head is read for every decoded token. compressed-tensors could express this, but its readers do not support
it: transformers finds no weight if an embedding is packed, and assumes the first group's bits for all layers if it
unpacks on load. So a file holds these weights in 16 bits, readable by all, and they are rounded on load.
"""

from typing import Any

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.weights.quantize.integers import Grid, round_nearest
from sayso.weights.quantize.layers import Embedding8, Head8

EMBED, HEAD = "embed", "unembed"
BITS = "head_bits"
"""The entry of a config.json that says so."""


def round_ends(model: Transformer, device: str) -> dict[str, Tensor]:
    """Round embedding and head, for a kind of device; return what they were rounded from, in 16 bits, by our names.

    Quantizing the result gives the same integers. Raises `UserError` for weights that 16 bits cannot hold.
    """
    held = {}
    for name in (EMBED,) if model.config.tie_embeddings else (EMBED, HEAD):
        weight = model.get_parameter(f"{name}.weight").detach().to(device, torch.float16)
        if not weight.isfinite().all():
            raise UserError("The embedding or head is empty or has weights beyond 65,504; exclude it with --head 0.")
        held[f"{name}.weight"] = weight
        layer = Head8(round_nearest(weight, Grid(8)))
        if name == EMBED:
            model.set_submodule(EMBED, Embedding8(layer.values, layer.scales))
        if name == HEAD or model.config.tie_embeddings:
            model.set_submodule(HEAD, layer)
    return held


def rounds_ends(facts: dict[str, Any]) -> bool:
    """Whether a config.json says that embedding and head are rounded; to other bits than 8 is a `UserError`."""
    bits = facts.get(BITS)
    if bits not in (None, 8):
        raise UserError(f"{BITS} in config.json must be 8; got {bits!r}.")
    return bits is not None
