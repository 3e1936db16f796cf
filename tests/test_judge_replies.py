"""The loss on held-out replies."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sayso.judge.replies import reply_loss, reply_nats
from sayso.model import ModelConfig, Transformer


def test_the_loss_of_held_out_replies_is_their_cross_entropy() -> None:
    """In packed rows, each conversation has its own loss, over its trained tokens only."""
    model = Transformer(ModelConfig(40, 2, 32, 2, 2, 16, 48, context=32)).initialize(torch.Generator().manual_seed(0))
    draw = np.random.default_rng(0)
    talks = [
        (draw.integers(0, 40, n).tolist(), [False, *(draw.random(n - 2) < 0.5).tolist(), True]) for n in (5, 9, 20, 3)
    ]
    nats, counts = reply_nats(model, talks, 24)
    for number, (ids, mask) in enumerate(talks):
        logits = model(torch.tensor([ids]))[0, :-1]
        each = F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")[torch.tensor(mask[1:])]
        assert nats[number] == pytest.approx(each.sum().item(), abs=1e-4)
        assert counts[number] == sum(mask[1:])
    assert reply_loss(model, talks, 24).mean == pytest.approx(nats.sum() / counts.sum())
