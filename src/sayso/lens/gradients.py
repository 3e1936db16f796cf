"""Gradient attributions of a logit to input tokens: gradient x input, and integrated gradients.

    score_t = sum over channels of (x_t - x'_t) * integral over a in [0, 1] of d logit / d x_t at x' + a (x - x')

The scores of integrated gradients sum to the difference of the logits at x and at the baseline x' (completeness;
Sundararajan et al. 2017). x are the token embeddings; positions and n-grams stay as they are.
B batch, T time, C width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.forward import Probe, embedded, read, through
from sayso.lens.names import Opened
from sayso.lens.patching import differentiable
from sayso.lens.readout import with_logits
from sayso.lens.targets import LogitDifference, Tokens, index_of
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer

FEWEST_STEPS = 16


@dataclass(frozen=True)
class Integrated:
    """Scores of integrated gradients."""

    scores: Tensor
    """Of each token, [B, T]."""
    gap: Tensor
    """Difference between the sum of the scores and the change of the logit that they explain, [B]."""
    change: Tensor
    """The logit at the input minus the logit at the baseline, [B]."""
    steps: int
    """Number of points of the integral."""


def gradient_x_input(
    model: Transformer | Opened, ids: Ids, target: Tokens, contrast: Tokens | None = None, *, position: int = -1
) -> Tensor:
    """Return gradient x embedding of each token [B, T], for the logit of `target` at a position, minus `contrast`'s.

    Raises `UserError` for an unknown token or position, for a quantized model, and as `trace` does.
    """
    network = differentiable(with_logits(model))
    rows, where, x = _inputs(network, ids, position)
    gradient, _ = _gradient(network, rows, x, LogitDifference(target, contrast), where)
    return (gradient * x).sum(-1)


def integrated_gradients(
    model: Transformer | Opened,
    ids: Ids,
    target: Tokens,
    contrast: Tokens | None = None,
    *,
    position: int = -1,
    baseline: Tensor | None = None,
    tolerance: float = 1e-3,
    most_steps: int = 1024,
) -> Integrated:
    """Return integrated gradients of the logit of `target` at a position, minus that of `contrast`.

    `baseline` is an embedding [C], or one for each token [T, C]; None = the mean embedding of the vocabulary. The
    number of steps doubles until the gap is at most `tolerance` times the change (or 1, if that is larger), or reaches
    `most_steps`. Raises `UserError` as `gradient_x_input` does, and for a baseline of another shape.
    """
    network = differentiable(with_logits(model))
    rows, where, x = _inputs(network, ids, position)
    wanted, start = LogitDifference(target, contrast), _baseline(network, baseline, x)
    change = _gradient(network, rows, x, wanted, where)[1] - _gradient(network, rows, start, wanted, where)[1]
    steps = min(FEWEST_STEPS, most_steps)
    while True:
        total = torch.zeros_like(x)
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            total += float(weight) * _gradient(network, rows, start + float(node) * (x - start), wanted, where)[0]
        scores = ((x - start) * total).sum(-1)
        gap = scores.sum(-1) - change
        if 2 * steps > most_steps or bool((gap.abs() <= tolerance * change.abs().clamp_min(1)).all()):
            return Integrated(scores, gap, change, steps)
        steps *= 2


def _inputs(model: Transformer, ids: Ids, position: int) -> tuple[Tensor, int, Tensor]:
    rows = rows_of(model, ids)
    return rows, index_of(position, rows.shape[1]), trace(model, rows, "hook_embed")["hook_embed"]


def _gradient(model: Transformer, ids: Tensor, x: Tensor, wanted: LogitDifference, where: int) -> tuple[Tensor, Tensor]:
    """Return the gradient [B, T, C] of a logit difference by the token embeddings, at x, and its value [B]."""
    leaf = x.detach().requires_grad_()
    blind = Probe((), lambda _, y: y)
    with torch.enable_grad():
        stream = embedded(model, ids, Probe(("hook_embed",), lambda _, __: leaf))
        value = wanted(read(model, through(model, stream, blind)[:, where], blind))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return gradient, value.detach()


def _baseline(model: Transformer, given: Tensor | None, x: Tensor) -> Tensor:
    if given is None:
        mean = model.embed.weight.detach().mean(0) * model.config.embed_scale
        return mean.expand_as(x)
    if given.shape not in (x.shape[-1:], x.shape[1:]):
        raise UserError(
            f"A baseline must be an embedding ({x.shape[-1]},) or one for each token {tuple(x.shape[1:])}; got "
            f"{tuple(given.shape)}."
        )
    return given.to(x).expand_as(x)
