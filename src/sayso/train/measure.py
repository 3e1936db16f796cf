"""How fast this machine trains a shape: a few real steps on throwaway weights.

A budget in minutes is turned into steps with it, once, before a run begins.
"""

import statistics
import time

import torch

from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.loop import half_precision
from sayso.train.optimizers import Rates, make_optimizers

STEPS, SECONDS = 4, 4.0  # at least so many, for at least so long; the first is warm-up, the median of the rest counts


def seconds_per_step(
    config: ModelConfig, rows: int, row_tokens: int, device: str = "cpu", trained: float = 1.0
) -> float:
    """Return the seconds of one update with `rows` rows of `row_tokens`, of which a share `trained` has targets."""
    generator = torch.Generator().manual_seed(0)
    model = Transformer(config).initialise(generator).to(device)
    optimizers = make_optimizers(model, Rates())
    ids = torch.randint(config.vocab_size, (rows, row_tokens), generator=generator).to(device)
    untrained = torch.rand(ids.shape, generator=generator).to(device) >= trained
    untrained[0, 0] = False
    targets = ids.masked_fill(untrained, -100)
    documents = torch.zeros_like(ids)
    times: list[float] = []
    while len(times) < STEPS or sum(times) < SECONDS:
        began = time.perf_counter()
        with half_precision(ids.device):
            loss, count = next_token_loss(model, ids, targets, documents)
        (loss / count).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
