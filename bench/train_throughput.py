"""Training: tokens a second of whole updates, ours against `transformers`, same weights, shape, batch and context.

Ours is the loop that every stage uses, with its processes, and Muon and AdamW; the peer is a plain loop over fused
AdamW on as many threads. The details hold forward and backward alone in one process each, how far the two losses and
the gradients of the embedding differ, and which share of a large matrix product's speed ours reaches.
"""

import tempfile
from pathlib import Path

import torch
import transformers

from bench.generate import SHAPE, SMALL, both_open
from bench.harness import pair, race, result
from sayso.base.device import pick_device
from sayso.batch.batch import Batch
from sayso.loss.next_token import next_token_loss
from sayso.model import Transformer
from sayso.train.loop import State, train
from sayso.train.measure import matmul_peak
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

ROWS, CONTEXT, STEPS = 8, 512, 3
TOKENS = ROWS * CONTEXT


def main() -> None:
    """Race two shapes, the smaller one first."""
    device = pick_device("cpu")
    figures = {name: raced(shape, device.threads) for name, shape in (("small", SMALL), ("large", SHAPE))}
    small = figures.pop("small")
    result(
        "train_throughput", "tokens/s", *small.pop("update"), peer_name=f"transformers {transformers.__version__}",
        rows=ROWS, context=CONTEXT, threads=device.threads, torch=torch.__version__, small=small, **figures,
    )  # fmt: skip


def raced(shape: dict[str, int], processes: int) -> dict[str, object]:
    """Return the speeds of whole updates and of gradients, and how far the two agree."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = both_open(Path(folder) / "model", shape)
    ours.train()
    theirs.train()
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, ours.config.vocab_size, (ROWS, CONTEXT + 1), generator=generator)
    losses = our_gradient(ours, ids), their_gradient(theirs, ids)
    gradients = ours.embed.weight.grad, theirs.get_input_embeddings().weight.grad
    difference = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    gradient = race(lambda: our_gradient(ours, ids) and TOKENS, lambda: their_gradient(theirs, ids) and TOKENS)
    theirs_optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-3, fused=True)
    state = State(ours, make_optimizers(ours, Rates()))
    peak = matmul_peak("cpu")
    update = race(
        lambda: our_updates(state, ids, processes), lambda: their_updates(theirs, theirs_optimizer, ids), label="update"
    )
    return {
        "update": update if shape is SMALL else pair(update),
        "gradient": pair(gradient),
        "shape": shape,
        "losses": [round(loss, 5) for loss in losses],
        "relative_gradient_difference": float(difference),
        "share_of_peak": round(update[0] * ours.config.flops_per_token(CONTEXT) / peak, 3),
        "peak_gflops": round(peak / 1e9, 1),
    }


def our_updates(state: State, ids: torch.Tensor, processes: int) -> float:
    """Do some whole updates of ours; return their tokens."""
    whole = Batch(ids[:, :-1], ids[:, 1:], torch.zeros_like(ids[:, 1:]))

    def loss(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
        return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()

    state.step = 0
    train(state, lambda _: whole.split(processes), loss, Schedule(STEPS), processes=processes)
    return STEPS * TOKENS


def their_updates(model: transformers.PreTrainedModel, optimizer: torch.optim.Optimizer, ids: torch.Tensor) -> float:
    """Do as many of the peer's; return their tokens."""
    for _ in range(STEPS):
        their_gradient(model, ids)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return STEPS * TOKENS


def our_gradient(model: Transformer, ids: torch.Tensor) -> float:
    """Leave the gradient of the mean loss in our weights; return that loss."""
    inputs, targets = ids[:, :-1], ids[:, 1:]
    model.zero_grad()
    total, count = next_token_loss(model, inputs, targets, torch.zeros_like(inputs))
    loss = total / count
    loss.backward()
    return float(loss.detach())


def their_gradient(model: transformers.PreTrainedModel, ids: torch.Tensor) -> float:
    """Leave the gradient of the mean loss in the peer's weights; return that loss."""
    model.zero_grad()
    targets = ids[:, 1:].contiguous()
    loss = model(input_ids=ids[:, :-1], labels=targets, shift_labels=targets, use_cache=False).loss
    loss.backward()
    return float(loss.detach())


if __name__ == "__main__":
    main()
