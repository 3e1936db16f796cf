"""A table of vectors that are looked up by number."""

import torch
from torch import nn


def embedding(rows: int, width: int) -> nn.Embedding:
    """Return torch's embedding [rows, width] with random weights.

    On the meta device, where a model is made that is to be loaded, nothing is drawn: torch would take more than a
    second to import what draws nothing there.
    """
    if torch.get_default_device().type == "meta":
        return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)
    return nn.Embedding(rows, width)
