"""Maps of vectors by their neighbours, and what training did to the embeddings of a model.

V vocabulary size, C width, K neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError, require
from sayso.lens.names import Opened, network_of
from sayso.model import Transformer


def neighbor_map(vectors: Tensor, neighbors: int = 15, *, seed: int = 0) -> Tensor:
    """Return vectors [..., C] on a map [..., 2] that keeps near ones near: UMAP by cosine (McInnes et al. 2018).

    Distances between far groups mean nothing on it; `principal_map` is linear, and keeps them as far as two axes can.
    Needs the extra `maps`. Raises `UserError` for fewer vectors than neighbors.
    """
    x = vectors.detach().reshape(-1, vectors.shape[-1]).float().cpu()
    if not 2 <= neighbors < len(x):
        raise UserError(f"A map of {len(x):,} vectors needs from 2 to {len(x) - 1:,} neighbors; got {neighbors}.")
    umap = require("umap", "maps")
    made = umap.UMAP(n_components=2, n_neighbors=neighbors, metric="cosine", random_state=seed, n_jobs=1)
    return torch.from_numpy(made.fit_transform(x.numpy())).float().view(*vectors.shape[:-1], 2)


@dataclass(frozen=True)
class EmbeddingChange:
    """What happened to the embeddings of some tokens from one snapshot to each later one, S snapshots."""

    cosines: Tensor
    """Cosine of each token's vector with that of the first snapshot, [S, V]."""
    norms: Tensor
    """Lengths, [S, V]."""
    kept: Tensor
    """Share of a token's K nearest tokens that were among its K nearest in the first snapshot, [S, V]."""
    shares: Tensor
    """Share of the variance along the ten directions of most variance, [S, 10]."""


def embedding_change(
    snapshots: Sequence[Transformer | Opened], tokens: Sequence[int] | None = None, k: int = 10
) -> EmbeddingChange:
    """Return how embeddings changed over snapshots of a model in training, in the order given.

    `tokens` limits it to some tokens (None: all), whose neighbours are also among these. Raises `UserError` for fewer
    than two snapshots, or snapshots with other vocabularies or widths.
    """
    networks = [network_of(one) for one in snapshots]
    shapes = sorted({(one.config.vocab_size, one.config.width) for one in networks})
    if len(networks) < 2 or len(shapes) > 1:
        raise UserError(
            "Embeddings are compared over at least two snapshots of one model, with the same vocabulary and width; "
            f"got {len(networks)} with tables of {', '.join(map(str, shapes))}."
        )
    size = shapes[0][0]
    if tokens is not None and (wrong := next((one for one in tokens if not 0 <= one < size), None)) is not None:
        raise UserError(f"A token must be from 0 to {size - 1:,}; got {wrong}.")
    tables = [_table(one, tokens) for one in networks]
    first = tables[0]
    if not 1 <= k < len(first):
        raise UserError(f"k must be from 1 to {len(first) - 1:,}; got {k}.")
    near = [_nearest(table, k) for table in tables]
    kept = [(one[:, :, None] == near[0][:, None, :]).any(-1).float().mean(-1) for one in near]
    return EmbeddingChange(
        torch.stack([F.cosine_similarity(table, first, dim=-1) for table in tables]),
        torch.stack([table.norm(dim=-1) for table in tables]),
        torch.stack(kept),
        torch.stack([_shares(table) for table in tables]),
    )


def _table(model: Transformer, tokens: Sequence[int] | None) -> Tensor:
    ids = torch.arange(model.config.vocab_size) if tokens is None else torch.tensor(list(tokens))
    with torch.no_grad():
        return model.embed(ids.to(model.device)).detach().float()


def _nearest(table: Tensor, k: int) -> Tensor:
    """Return each token's nearest others by cosine, [V, K]."""
    unit = F.normalize(table, dim=-1)
    found = []
    for start in range(0, len(unit), 1024):
        closeness = unit[start : start + 1024] @ unit.T
        closeness[torch.arange(len(closeness)), torch.arange(start, start + len(closeness))] = -2.0
        found.append(closeness.topk(k).indices)
    return torch.cat(found)


def _shares(table: Tensor, count: int = 10) -> Tensor:
    sizes = torch.linalg.svdvals(table - table.mean(0)).square()
    return F.pad(sizes / sizes.sum(), (0, max(0, count - len(sizes))))[:count]
