"""Reward and value models: replace the output head of a Transformer by a scalar head.

    score = w . hidden(last token) + b        w ~ N(0, 1 / sqrt(C + 1)), b = 0 (Stiennon et al. 2020)

The last token is found from the document indices, never from an id, because padding may share the end token's id.
B batch, T time, C width, N documents.
"""

import torch
from torch import Tensor, nn

from sayso.base.device import moved
from sayso.model.linear import Linear
from sayso.model.packed import hidden_states
from sayso.model.transformer import Transformer

_PADDING = -1  # document index of padding


def add_score(model: Transformer, generator: torch.Generator | None = None, *, std: float | None = None) -> Transformer:
    """Replace the output head by a new scalar head, and return the model.

    `std` is the standard deviation of its weights, by default 1 / sqrt(C + 1); 0 suits a value model, whose first
    estimates are then 0. The head is trainable even if the rest of the model is frozen.
    """
    width = model.config.width
    weight = torch.empty(1, width).normal_(0, (width + 1) ** -0.5 if std is None else std, generator=generator)
    return set_score(model, weight, torch.zeros(1))


def set_score(model: Transformer, weight: Tensor, bias: Tensor) -> Transformer:
    """Replace the output head by a scalar head with `weight` [1, C] and `bias` [1], and return the model."""
    head = Linear(model.config.width, 1, bias=True, device="meta")
    head.weight, head.bias = nn.Parameter(weight.to(model.embed.weight)), nn.Parameter(bias.to(model.embed.weight))
    model.add_module("score", head)
    model.unembed = Linear(model.config.width, 1, device="meta")
    model.unembed.weight = nn.Parameter(head.weight.detach().new_empty(0, model.config.width), requires_grad=False)
    return model


def score_head(model: Transformer) -> Linear | None:
    """Return the scalar head of a model; None for a language model."""
    head = getattr(model, "score", None)
    return head if isinstance(head, Linear) else None


def token_scores(model: Transformer, ids: Tensor, documents: Tensor) -> Tensor:
    """Return the score after each token [B, T], for ids and document indices [B, T]."""
    head = score_head(model)
    assert head is not None, "the model has no scalar head, see `add_score`"
    scores: Tensor = head(hidden_states(model, ids, documents))[..., 0]
    return scores.float()


def last_tokens(documents: Tensor) -> Tensor:
    """Return the mask of the last token of each document, bool [B, T], for document indices [B, T]; padding is -1."""
    following = torch.cat((documents[:, 1:], torch.full_like(documents[:, :1], _PADDING)), dim=1)
    return (documents != _PADDING) & (documents != following)


def last_scores(model: Transformer, ids: Tensor, documents: Tensor) -> Tensor:
    """Return the score at the last token of each document, [N], in the order of the rows."""
    scores = token_scores(model, ids, documents)
    return scores[moved(last_tokens(documents), scores.device)]


@torch.no_grad()
def normalize(model: Transformer, mean: float, std: float) -> Transformer:
    """Rescale the head so that scores of `mean` become 0 and scores of `mean + std` become 1; return the model."""
    head = score_head(model)
    assert head is not None, "the model has no scalar head, see `add_score`"
    assert std > 0, "the standard deviation is 0"
    head.weight.div_(std)
    head.bias.sub_(mean).div_(std)
    return model
