"""The exact linear map of one prediction: norm scales, attention patterns and gates frozen, the model is linear.

    logits = sum over tokens t of W M_t x_t + W c

x_t is what token t put into the residual stream, M_t a matrix of its own, c what all biases add, W the head. Nothing is
approximated: the products add up to the logits. Of an ungated MLP, act(h) / h is the gate of h.
T time, C width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.forward import Probe, normed, through
from sayso.lens.names import Opened
from sayso.lens.patching import differentiable
from sayso.lens.readout import with_logits
from sayso.lens.targets import index_of
from sayso.lens.tracing import Ids, Trace, rows_of, rows_seen, trace
from sayso.model import Transformer
from sayso.model.config import GATED

STREAM_POSITIONS = 4096  # maximum positions in a batch of backward passes


@dataclass(frozen=True)
class LinearMap:
    """The linear map of the prediction after one position, which depends on T tokens.

    Its logits are those before a soft cap.
    """

    inputs: Tensor
    """What each token put into the residual stream, x, [T, C]."""
    matrices: Tensor
    """The map of each token, M, [T, C, C], to the normalized stream after the last block."""
    constant: Tensor
    """What all biases add to that stream, c, [C]."""
    head: Tensor
    """The matrix of the head, W, [V, C]."""

    @property
    def logits(self) -> Tensor:
        """The sum of all products, [V]."""
        return self.head @ (torch.einsum("tij,tj->i", self.matrices, self.inputs) + self.constant)

    def matrix(self, index: int) -> Tensor:
        """Return the matrix [V, C] from the input of one token to the logits."""
        return self.head @ self.matrices[index_of(index, len(self.matrices))]

    def contributions(self, target: int, contrast: int | None = None) -> Tensor:
        """Return what each token adds to the logit of `target`, minus that of `contrast`, [T]; `bias` is the rest."""
        return torch.einsum("i,tij,tj->t", self._reader(target, contrast), self.matrices, self.inputs)

    def bias(self, target: int, contrast: int | None = None) -> Tensor:
        """Return what all biases add to the logit of `target`, minus that of `contrast`."""
        return self._reader(target, contrast) @ self.constant

    def _reader(self, target: int, contrast: int | None) -> Tensor:
        for token in (target, contrast):
            if token is not None and not 0 <= token < len(self.head):
                raise UserError(f"A target must be a token from 0 to {len(self.head) - 1:,}; got {token}.")
        return self.head[target] - (self.head[contrast] if contrast is not None else 0)


def linear_map(
    model: Transformer | Opened, ids: Ids, *, position: int = -1, dtype: torch.dtype = torch.float64
) -> LinearMap:
    """Return the linear map of the prediction after one position of one row.

    It is computed by a copy of the model in `dtype`. Raises `UserError` for several rows, a quantized model, an unknown
    position, and as `trace` does.
    """
    network = differentiable(with_logits(model))
    rows, at = one_row(network, ids, position)
    network = deepcopy(network).to(dtype).requires_grad_(False)
    found = trace(network, rows, lambda name: name == INPUT or name.endswith(FROZEN))
    x = found[INPUT]
    with torch.enable_grad():
        matrices = torch.cat([_rows_of_maps(network, found, part, at) for part in _units(x)])
    constant = prediction(network, found, torch.zeros_like(x), at)[0]
    return LinearMap(x[0], matrices.transpose(0, 1).contiguous(), constant, network.unembed.weight.detach())


@dataclass(frozen=True)
class TokenContributions:
    """What each of T tokens adds to the logits of K tokens; with the biases, it sums to them."""

    tokens: Tensor
    """Of each token, [K, T]."""
    bias: Tensor
    """Of all biases, [K]."""


def token_contributions(
    model: Transformer | Opened, ids: Ids, targets: Sequence[int], *, position: int = -1
) -> TokenContributions:
    """Return what `LinearMap.contributions` does for some tokens, by one backward pass, in the model's own precision.

    Raises `UserError` as `linear_map` does, and for an unknown target.
    """
    network = differentiable(with_logits(model))
    rows, at = one_row(network, ids, position)
    head = network.unembed.weight.detach()
    if bad := [target for target in targets if not 0 <= target < len(head)]:
        raise UserError(f"A target must be a token from 0 to {len(head) - 1:,}; got {bad[0]}.")
    found = trace(network, rows, lambda name: name == INPUT or name.endswith(FROZEN))
    readers = head[list(targets)]
    with torch.no_grad():
        bias = readers @ prediction(network, found, torch.zeros_like(found[INPUT]), at)[0]
    with torch.enable_grad():
        maps = _rows_of_maps(network, found, readers, at)
    return TokenContributions(torch.einsum("ktc,tc->kt", maps, found[INPUT][0]), bias)


def one_row(network: Transformer, ids: Ids, position: int) -> tuple[Tensor, int]:
    """Return the ids [1, T] on which a prediction depends, and its position among them.

    Raises `UserError` for several rows and an unknown position.
    """
    rows = rows_of(network, ids)
    if len(rows) > 1:
        raise UserError(f"A linear map belongs to one prediction; got {len(rows)} rows: pass one.")
    at = index_of(position, rows.shape[1])
    return rows_seen(network, rows, at), at


INPUT = "blocks.0.hook_resid_pre"
FROZEN = ("hook_scale", "hook_pattern", "mlp.hook_pre", "mlp.hook_post")


def _units(x: Tensor) -> tuple[Tensor, ...]:
    """Return the unit vectors [n, C] of the width in parts that bound the positions of a batch."""
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return eye.split(max(1, STREAM_POSITIONS // x.shape[1]))


def _rows_of_maps(model: Transformer, found: Trace, units: Tensor, at: int) -> Tensor:
    """Return rows of the tokens' matrices, [n, T, C], for the units [n, C] of the output that they give."""
    leaf = found[INPUT].expand(len(units), -1, -1).detach().clone().requires_grad_()
    (rows,) = torch.autograd.grad((prediction(model, found, leaf, at) * units).sum(), leaf)
    return rows


def prediction(model: Transformer, found: Trace, x: Tensor, at: int) -> Tensor:
    """Return the normalized stream [n, C] at a position for inputs [n, T, C], by the frozen model."""
    probe = Probe(*frozen_part(model, found))
    return normed(model.norm, through(model, x, probe), probe.inside("ln_final"))[:, at]


def frozen_part(model: Transformer, found: Trace) -> tuple[frozenset[str], Callable[[str, Tensor], Tensor]]:
    """Return the names of the activations that a trace freezes, and the `see` that makes them what they were."""
    gated = model.config.mlp in GATED
    names = [name for name in found if name.endswith(FROZEN) and not (gated and name.endswith("mlp.hook_post"))]
    return frozenset(names), _gated(found) if gated else _ungated(found)


def _gated(found: Trace) -> Callable[[str, Tensor], Tensor]:
    return lambda name, _: found[name]


def _ungated(found: Trace) -> Callable[[str, Tensor], Tensor]:
    """Return the `see` that makes each MLP down(gate * up x), with the gate that it had."""
    latest: list[Tensor] = []

    def see(name: str, x: Tensor) -> Tensor:
        if name.endswith("mlp.hook_pre"):
            latest[:] = [x]
            return x
        if name.endswith("mlp.hook_post"):
            before, after = found[name.replace("hook_post", "hook_pre")], found[name]
            gate = torch.where(before == 0, 0, after / before)
            return latest[0] * gate
        return found[name]

    return see
