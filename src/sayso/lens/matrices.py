"""The matrix of a linear layer of any kind: plain, adapted or quantized."""

import torch
from torch import Tensor, nn

from sayso.model.adapters import LoRALinear
from sayso.weights.quantize.layers import QuantizedLinear


def matrix(layer: nn.Module) -> Tensor:
    """Return the matrix W [out, in] of a layer: y = W x, without its bias and without rounding of its inputs."""
    if isinstance(layer, QuantizedLinear):
        device = next(layer.buffers()).device
        return layer.product(torch.eye(layer.in_features, device=device)).T
    assert isinstance(layer, nn.Linear)
    if isinstance(layer, LoRALinear) and layer.active:
        return layer.weight + layer.scale * (layer.b @ layer.a)
    return layer.weight
