"""8-bit embedding and head, with one scale per row; if tied, they share their integers.

Every decoded token reads the whole head, so its size matters. compressed-tensors could express this, but its readers do
not support it: transformers finds no weight if an embedding is packed, and assumes the first group's bits for all
layers if it unpacks on load. So files store these weights in 16 bits, and they are quantized on load.
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
"""Name of the entry in config.json."""


def quantize_ends(model: Transformer, device: str) -> dict[str, Tensor]:
    """Quantize embedding and head for a device type; return the original weights in float16, by our names.

    Quantizing the returned weights gives the same integers. Raises `UserError` for weights that exceed float16.
    """
    originals = {}
    for name in (EMBED,) if model.config.tie_embeddings else (EMBED, HEAD):
        weight = model.get_parameter(f"{name}.weight").detach().to(device, torch.float16)
        if not weight.isfinite().all():
            raise UserError(
                "The embedding or head has weights that are not finite in float16; exclude it with --head 0."
            )
        originals[f"{name}.weight"] = weight
        layer = Head8(round_nearest(weight, Grid(8)))
        if name == EMBED:
            model.set_submodule(EMBED, Embedding8(layer.values, layer.scales))
        if name == HEAD or model.config.tie_embeddings:
            model.set_submodule(HEAD, layer)
    return originals


def has_quantized_ends(facts: dict[str, Any]) -> bool:
    """Whether a config.json requests an 8-bit embedding and head. Raises `UserError` for other than 8 bits."""
    bits = facts.get(BITS)
    if bits not in (None, 8):
        raise UserError(f"{BITS} in config.json must be 8; got {bits!r}.")
    return bits is not None
