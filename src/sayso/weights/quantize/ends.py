"""Embedding and head in 8 bits by row: one tensor of whole numbers where the two are tied.

A head is read whole for every token that is decoded. compressed-tensors could say this, but what reads it could not:
transformers finds no weight where an embedding is packed, and takes all layers for the first group's bits where it
unpacks as it loads. So a file holds these weights in 16 bits, for anyone, and they are rounded as they are opened.
"""

from typing import Any

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.weights.quantize.integers import Grid, nearest
from sayso.weights.quantize.layers import Embedding8, Head8

EMBED, HEAD = "embed", "unembed"
BITS = "head_bits"
"""The entry of a config.json that says so."""


def round_ends(model: Transformer, device: str) -> dict[str, Tensor]:
    """Round embedding and head, for a kind of device; return what they were rounded from, in 16 bits, by our names.

    What is returned gives the same whole numbers again. Raises `UserError` for weights that 16 bits cannot hold.
    """
    held = {}
    for name in (EMBED,) if model.config.tie_embeddings else (EMBED, HEAD):
        weight = model.get_parameter(f"{name}.weight").detach().to(device, torch.float16)
        if not weight.isfinite().all():
            raise UserError("The embedding or head has weights beyond 65,504, or none at all; leave it by --head 0.")
        held[f"{name}.weight"] = weight
        layer = Head8(nearest(weight, Grid(8)))
        if name == EMBED:
            model.set_submodule(EMBED, Embedding8(layer.values, layer.scales))
        if name == HEAD or model.config.tie_embeddings:
            model.set_submodule(HEAD, layer)
    return held


def rounds_ends(facts: dict[str, Any]) -> bool:
    """Whether a config.json says that embedding and head are rounded; to other bits than 8 is a `UserError`."""
    bits = facts.get(BITS)
    if bits not in (None, 8):
        raise UserError(f"Sayso opens models with embedding and head in 8 bits; {BITS} is {bits!r} here.")
    return bits is not None
