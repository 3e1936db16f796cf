"""Training: tokens a second of forward and backward, ours against `transformers`, same weights, same loss.

The details hold the whole update: ours with Muon and AdamW as `sayso pretrain` does it, the peer's with fused AdamW.
The two losses and the gradients of the embedding must agree.
"""

import tempfile
from pathlib import Path

import torch
import transformers

from bench.generate import SHAPE, both_open
from bench.harness import pair, race, result
from sayso.loss.next_token import next_token_loss
from sayso.model import Transformer
from sayso.train.optimizers import Rates, make_optimizers

ROWS, CONTEXT = 4, 512


def main() -> None:
    """Race at forward and backward, then at whole updates."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = both_open(Path(folder) / "model", SHAPE)
    ours.train()
    theirs.train()
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, ours.config.vocab_size, (ROWS, CONTEXT + 1), generator=generator)
    our_loss, their_loss = our_gradient(ours, ids), their_gradient(theirs, ids)
    gradients = ours.embed.weight.grad, theirs.get_input_embeddings().weight.grad
    difference = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    gradient = race(lambda: our_work(ours, ids), lambda: their_work(theirs, ids), label="gradient")
    our_optimizers = make_optimizers(ours, Rates())
    their_optimizers = [torch.optim.AdamW(theirs.parameters(), lr=1e-3, fused=True)]
    update = race(
        lambda: our_work(ours, ids, our_optimizers),
        lambda: their_work(theirs, ids, their_optimizers),
        label="update",
    )
    result(
        "train_step", "tokens/s", *gradient, peer_name=f"transformers {transformers.__version__}",
        whole_update=pair(update), rows=ROWS, context=CONTEXT, shape=SHAPE,
        losses=[round(our_loss, 5), round(their_loss, 5)], relative_gradient_difference=float(difference),
        threads=torch.get_num_threads(), torch=torch.__version__,
    )  # fmt: skip


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


def our_work(model: Transformer, ids: torch.Tensor, optimizers: list[torch.optim.Optimizer] | None = None) -> float:
    """Do one step of ours; return its tokens."""
    our_gradient(model, ids)
    for optimizer in optimizers or []:
        optimizer.step()
    return ROWS * CONTEXT


def their_work(model: transformers.PreTrainedModel, ids: torch.Tensor, optimizers: list | None = None) -> float:
    """Do one step of the peer's; return its tokens."""
    their_gradient(model, ids)
    for optimizer in optimizers or []:
        optimizer.step()
    return ROWS * CONTEXT


if __name__ == "__main__":
    main()
