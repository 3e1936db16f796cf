"""What a taught model starts from: random weights, or those of the compiled program with noise."""

import torch

from sayso.model import ModelConfig, Transformer
from sayso.train.loop import State
from sayso.train.optimizers import Rates, make_optimizers

COMPILED_RATE = 1e-4
"""Learning rate from compiled weights, whose values are exact, and partly very large."""


def random_start(config: ModelConfig, seed: int, rate: float, device: str) -> State:
    """Return a random model of a shape, and its optimizers."""
    model = Transformer(config).initialize(torch.Generator().manual_seed(seed)).to(device)
    return State(model, make_optimizers(model, Rates().times(rate)))


@torch.no_grad()
def compiled_start(model: Transformer, noise: float, seed: int, rate: float) -> State:
    """Return a compiled model with Gaussian noise of a standard deviation on every weight, and its optimizer.

    That is AdamW with one small learning rate: compiled weights differ in size by many orders of magnitude.
    """
    generator = torch.Generator().manual_seed(seed)
    for weight in model.requires_grad_().parameters():
        weight.add_(noise * torch.randn(weight.shape, generator=generator).to(weight.device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=COMPILED_RATE * rate, betas=(0.9, 0.95), weight_decay=0.0)
    for group in optimizer.param_groups:
        group.update(name="compiled", peak=group["lr"])
    return State(model, [optimizer])
