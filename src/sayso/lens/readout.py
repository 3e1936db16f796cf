"""Logit lens: what the model would predict after each block, by applying its last norm and its head there.

Takes a model and ids, returns for each residual stream its top tokens, its entropy, its distance from the final
prediction, and the rank and log-probability of target tokens (nostalgebraist 2020; measures as in Belrose et al. 2023).
N residual streams, B batch, T time, C width, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.lens.names import Names, Opened, activation_names, network_of, select
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer
from sayso.model.score import score_head


@dataclass(frozen=True)
class LogitLens:
    """Predictions read from N residual streams, by default the input of the first block and the output of each."""

    names: tuple[str, ...]
    """Names of the residual streams."""
    top: Tensor
    """The k most probable next tokens, [N, B, T, k]."""
    top_logprobs: Tensor
    """Their natural-log probabilities, [N, B, T, k]."""
    entropy: Tensor
    """Entropy of the prediction in nats, [N, B, T]."""
    kl: Tensor
    """KL divergence of the prediction from the final one, KL(final || this), in nats, [N, B, T]."""
    targets: Tensor
    """The target tokens, [B, T]."""
    target_logprobs: Tensor
    """Natural-log probability of the targets, [N, B, T]."""
    target_ranks: Tensor
    """Number of tokens with a higher probability than the target, [N, B, T]; 0 = the top prediction."""


@dataclass(frozen=True)
class Lens:
    """An affine map of each residual stream, x to W x + b, before the last norm and the head read it."""

    names: tuple[str, ...]
    """Names of the residual streams."""
    weight: Tensor
    """[N, C, C]."""
    bias: Tensor
    """[N, C]."""

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """Return the map of a stream [..., C]. Raises `UserError` for a stream that the lens does not have."""
        if name not in self.names:
            raise UserError(f"This lens has no map of '{name}'.{nearest(name, self.names)}")
        layer = self.names.index(name)
        return F.linear(x, self.weight[layer].to(x), self.bias[layer].to(x))


def logit_lens(
    model: Transformer | Opened,
    ids: Ids,
    *,
    k: int = 5,
    targets: Ids | None = None,
    names: Names = None,
    lens: Lens | None = None,
) -> LogitLens:
    """Return the predictions of the residual streams `names`, through a tuned or a Jacobian lens if one is given.

    `targets` has one token for each of the ids; omit it for the final prediction's top tokens. Raises `UserError` as
    `trace` does, for names that are not residual streams, for a lens of other streams or another width, and for a model
    without logits.
    """
    network = with_logits(model)
    known, rows = activation_names(network), rows_of(network, ids)
    last = f"blocks.{network.config.layers - 1}.hook_resid_post"
    usual = ("blocks.0.hook_resid_pre", "blocks.*.hook_resid_post")
    streams = select(usual if names is None else names, known)
    if other := [name for name in streams if "hook_resid_" not in name]:
        raise UserError(f"A logit lens reads residual streams, such as '{last}'; got '{other[0]}'.")
    if not 1 <= k <= network.config.vocab_size:
        raise UserError(f"k must be from 1 to {network.config.vocab_size:,}, the size of the vocabulary; got {k}.")
    if lens is not None and lens.weight.shape[-1] != network.config.width:
        raise UserError(
            f"A lens of this model must have a width of {network.config.width}; got {lens.weight.shape[-1]}."
        )
    found = trace(network, rows, (*streams, last))
    with torch.no_grad():
        final = logprobs_of(network, found[last])
        wanted = final.argmax(-1) if targets is None else rows_of(network, targets)
        if wanted.shape != rows.shape:
            raise UserError(
                f"targets must be one token for each id; got {tuple(wanted.shape)}, not {tuple(rows.shape)}."
            )
        read = [found[name] if lens is None else lens(name, found[name]) for name in streams]
        parts = [lens_measures(logprobs_of(network, x), final, wanted, k) for x in read]
    top, top_logprobs, *measures = (torch.stack(part) for part in zip(*parts, strict=True))
    entropy, kl, target_logprobs, ranks = measures
    return LogitLens(streams, top, top_logprobs, entropy, kl, wanted, target_logprobs, ranks)


def logprobs_of(model: Transformer, x: Tensor) -> Tensor:
    """Return the natural-log probabilities [..., V] that the last norm and the head give for a residual stream."""
    logits = model.head(model.norm(x))
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def lens_measures(logprobs: Tensor, final: Tensor, targets: Tensor, k: int) -> Sequence[Tensor]:
    """Return the fields of a `LogitLens` but the names and targets, for one stream's log-probabilities [..., V]."""
    top = logprobs.topk(k, dim=-1)
    of_target = logprobs.gather(-1, targets[..., None])
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    kl = (final.exp() * (final - logprobs)).sum(-1)
    return top.indices, top.values, entropy, kl, of_target[..., 0], (logprobs > of_target).sum(-1)


def with_logits(model: Transformer | Opened) -> Transformer:
    """Return the Transformer of a model. Raises `UserError` for a reward model, which has no logits."""
    network = network_of(model)
    if score_head(network) is not None:
        raise UserError("This needs a model that predicts tokens; a reward model has a score instead of logits.")
    return network
