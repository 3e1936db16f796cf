"""Where in a corpus each neuron is most active: takes rows of ids, returns the k places with the largest activations.

Rows are processed in batches and only the places are kept, so a corpus may be larger than memory.
B rows of a batch, T time, F neurons or features, k places.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.names import Opened, activation_names, network_of, unknown
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer


@dataclass(frozen=True)
class Examples:
    """The places with the largest activations of each neuron, at most one in each row, the largest first."""

    values: Tensor
    """The activations, [F, k]."""
    rows: Tensor
    """Index of the row, [F, k]."""
    positions: Tensor
    """Position in the row, [F, k]."""
    share: Tensor
    """Share of all positions at which the activation is greater than zero, [F]."""


def max_examples(
    model: Transformer | Opened,
    ids: Ids,
    name: str,
    k: int = 10,
    *,
    encode: Callable[[Tensor], Tensor] | None = None,
    batch: int = 16,
) -> Examples:
    """Return the places in rows of ids where each neuron of an activation, such as `mlp.hook_post`, is most active.

    `encode` maps the activation [B, T, C] to features [B, T, F] first, such as a sparse autoencoder's. Raises
    `UserError` for k or a batch below 1, and as `trace` and `top_places` do.
    """
    network = network_of(model)
    rows, known = rows_of(network, ids), activation_names(network)
    if name not in known:
        raise unknown(name, known)
    if batch < 1:
        raise UserError(f"A batch must have at least 1 row; got {batch}.")
    parts = (trace(network, part, name)[name] for part in rows.split(batch))
    return top_places((part if encode is None else encode(part) for part in parts), k)


def top_places(parts: Iterable[Tensor], k: int) -> Examples:
    """Return the places with the largest values of activations [B, T, F], such as those that `read_corpus` yields.

    There are fewer than k if there are fewer rows. Raises `UserError` for k below 1, no activations or another shape.
    """
    if k < 1:
        raise UserError(f"k must be at least 1; got {k}.")
    best, seen, active = None, 0, torch.zeros(())
    positions = 0
    for part in parts:
        if part.dim() != 3:
            raise UserError(f"Examples need activations [B, T, F], of neurons or features; got {tuple(part.shape)}.")
        x = part.detach().cpu()
        values, places = x.max(dim=1)  # [B, F]
        rows = torch.arange(seen, seen + len(x))[:, None].expand_as(places)
        found = torch.stack((values.double(), rows.double(), places.double()))  # exact for indices below 2^53
        best = _largest(found if best is None else torch.cat((best, found), dim=1), k)
        active = active + (x > 0).sum((0, 1))
        seen, positions = seen + len(x), positions + x.shape[0] * x.shape[1]
    if best is None:
        raise UserError("Examples need at least one batch of activations; got none.")
    values, rows, places = best.transpose(1, 2)
    return Examples(values.float(), rows.long(), places.long(), active / positions)


def _largest(found: Tensor, k: int) -> Tensor:
    """Return the k rows [3, k, F] with the largest values of `found` [3, N, F]: values, rows and positions."""
    order = found[0].topk(min(k, found.shape[1]), dim=0).indices
    return found.gather(1, order.expand(3, -1, -1))
