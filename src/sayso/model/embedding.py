"""Embedding tables."""

import torch
from torch import nn


def embedding(rows: int, width: int) -> nn.Embedding:
    """Return an `nn.Embedding` [rows, width] with random weights.

    On the meta device, used for models about to be loaded, initialization is skipped: PyTorch would import modules for
    more than a second to draw nothing.
    """
    if torch.get_default_device().type == "meta":
        return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)
    return nn.Embedding(rows, width)
