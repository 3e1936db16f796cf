"""A scalar head from outside: a Transformer that says how good what it has read is, in place of what comes next.

    score = w . hidden(last real token) + b        w ~ N(0, 1 / sqrt(C + 1)), b = 0 (Stiennon et al. 2020)

A language model enters; the same blocks with `score` for the head of words leave: a reward model, or the value model of
a policy. Which token is the last is told by the documents, never by an id, because padding may have the id of the end.
"""

import torch
from torch import Tensor, nn

from sayso.base.device import moved
from sayso.model.linear import Linear
from sayso.model.packed import hidden_states
from sayso.model.transformer import Transformer

_PADDING = -1  # the document of positions that are none


def add_score(model: Transformer, generator: torch.Generator | None = None, *, std: float | None = None) -> Transformer:
    """Put a fresh scalar head in place of the head of words, and return the model.

    `std` is that of its weights, 1 / sqrt(C + 1) when not given; 0 suits a value model, whose first guess is then 0.
    The head trains, whatever else of the model is frozen.
    """
    width = model.config.width
    weight = torch.empty(1, width).normal_(0, (width + 1) ** -0.5 if std is None else std, generator=generator)
    return set_score(model, weight, torch.zeros(1))


def set_score(model: Transformer, weight: Tensor, bias: Tensor) -> Transformer:
    """Put a scalar head of weight [1, C] and bias [1] in place of the head of words, and return the model."""
    head = Linear(model.config.width, 1, bias=True, device="meta")
    head.weight, head.bias = nn.Parameter(weight.to(model.embed.weight)), nn.Parameter(bias.to(model.embed.weight))
    model.add_module("score", head)
    model.unembed = Linear(model.config.width, 1, device="meta")
    model.unembed.weight = nn.Parameter(head.weight.detach().new_empty(0, model.config.width), requires_grad=False)
    return model


def score_head(model: Transformer) -> Linear | None:
    """Return the scalar head of a model; None for a model that says words."""
    head = getattr(model, "score", None)
    return head if isinstance(head, Linear) else None


def token_scores(model: Transformer, ids: Tensor, documents: Tensor) -> Tensor:
    """Return the score after each token [B, T], for ids and documents [B, T]; documents see only themselves."""
    head = score_head(model)
    assert head is not None, "the model has a scalar head, see `add_score`"
    scores: Tensor = head(hidden_states(model, ids, documents))[..., 0]
    return scores.float()


def last_tokens(documents: Tensor) -> Tensor:
    """Return where documents end, bool [B, T], for documents [B, T]; padding has the number -1 and no end."""
    following = torch.cat((documents[:, 1:], torch.full_like(documents[:, :1], _PADDING)), dim=1)
    return (documents != _PADDING) & (documents != following)


def last_scores(model: Transformer, ids: Tensor, documents: Tensor) -> Tensor:
    """Return the score at the last real token of each document [N], in the order of the rows."""
    scores = token_scores(model, ids, documents)
    return scores[moved(last_tokens(documents), scores.device)]


@torch.no_grad()
def normalise(model: Transformer, mean: float, std: float) -> Transformer:
    """Turn the head so that what it scored `mean` scores 0, and what was one `std` above scores 1; return the model."""
    head = score_head(model)
    assert head is not None, "a reward model has a head"
    assert std > 0, "scores that differ"
    head.weight.div_(std)
    head.bias.sub_(mean).div_(std)
    return model
