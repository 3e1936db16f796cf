"""The optimizers: Muon for the matrices inside the blocks, AdamW for all other weights, including adapters.

Learning rates are for a width of 768, as tuned for nanochat (2025), and scaled by (width / 768)^-1/2, for Muon too
(measured, see LOG.md). Those of adapters are scaled by (width / 768)^-1, because each row of A sums over that many
inputs (Hayou et al. 2024, LoRA+).
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sayso.model import Transformer
from sayso.model.adapters import adapters
from sayso.model.score import score_head
from sayso.train.muon import Muon


@dataclass(frozen=True)
class Rates:
    """Peak learning rates by kind of weight."""

    matrix: float = 0.02
    """Muon, every matrix inside a block."""
    embedding: float = 0.2
    """AdamW, the embedding, including learned positions."""
    ngram: float = 0.05
    """AdamW, the n-gram embeddings, most rows of which are seen rarely, and the token shift."""
    head: float = 0.004
    """AdamW, the output head: for tokens, or for a score."""
    norm: float = 0.01
    """AdamW, the gains of the norms, and all biases."""
    adapter: float = 0.0033
    """AdamW, both matrices of every adapter."""
    weight_decay: float = 0.0
    """Decoupled weight decay of the matrices inside a block."""

    def times(self, factor: float) -> "Rates":
        """Multiply all learning rates by one factor; the decay stays."""
        rates = {name: rate * factor for name, rate in asdict(self).items() if name != "weight_decay"}
        return Rates(**rates, weight_decay=self.weight_decay)


def make_optimizers(model: Transformer, rates: Rates) -> list[torch.optim.Optimizer]:
    """Return optimizers for all weights; for an adapted model, only for its adapters and a score head.

    Each parameter group has its peak rate as `peak`, which a schedule multiplies.
    """
    narrow = [weight for layer in adapters(model).values() for weight in (layer.a, layer.b)]
    rate = rates.adapter / (model.config.width / 768)
    adapter = {"name": "adapter", "params": narrow, "lr": rate}
    optimizers = [_adamw([adapter, *_score(model, rates)])] if narrow else _for_all_weights(model, rates)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _for_all_weights(model: Transformer, rates: Rates) -> list[torch.optim.Optimizer]:
    matrices: list[Tensor] = []
    norms: list[Tensor] = []
    for weight in model.blocks.parameters():
        (norms if weight.ndim == 1 else matrices).append(weight)
    norms += model.norm.parameters()
    scale = _scale(model)
    tables = [model.embed.weight, *(model.positions.parameters() if model.positions is not None else ())]
    groups = [{"name": "norm", "params": norms, "lr": rates.norm}]
    if model.config.tie_embeddings:  # one matrix has both roles: use the smaller rate, the head's
        groups.append({"name": "embedding", "params": tables, "lr": rates.head * scale})
    else:
        groups.append({"name": "embedding", "params": tables, "lr": rates.embedding * scale})
        if score_head(model) is None:
            groups.append({"name": "head", "params": [model.unembed.weight], "lr": rates.head * scale})
    groups += _score(model, rates)
    if previous := [weight for part in (model.ngrams, model.shift) if part is not None for weight in part.parameters()]:
        groups.append({"name": "ngram", "params": previous, "lr": rates.ngram * scale})
    muon = Muon([{"name": "matrix", "params": matrices}], lr=rates.matrix * scale, weight_decay=rates.weight_decay)
    return [muon, _adamw(groups)]


def _score(model: Transformer, rates: Rates) -> list[dict[str, Any]]:
    """Return the group of a score head with its bias; empty if the model has none."""
    head = score_head(model)
    return [{"name": "score", "params": list(head.parameters()), "lr": rates.head * _scale(model)}] if head else []


def _scale(model: Transformer) -> float:
    return float((model.config.width / 768) ** -0.5)


def _adamw(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0, fused=True)
