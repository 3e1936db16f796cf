"""What heads attend to: takes a model and ids, returns scores of every head, rollout and value-weighted attention.

B batch, T time, L layers, H heads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.forward import blocks_of
from sayso.lens.matrices import matrix
from sayso.lens.names import Opened, network_of
from sayso.lens.tracing import Ids, observe, rows_of, trace
from sayso.model import Transformer


@dataclass(frozen=True)
class HeadScores:
    """Means over rows and positions for each head, [L, H]; NaN where no position counts."""

    previous: Tensor
    """Attention to the previous token."""
    own: Tensor
    """Attention to the token itself."""
    first: Tensor
    """Attention of later tokens to the first one, the usual sink of idle heads (Xiao et al. 2023)."""
    duplicate: Tensor
    """Attention to earlier occurrences of the same token, of tokens that occurred before."""
    induction: Tensor
    """Attention to what followed earlier occurrences of the same token, of tokens that occurred before the previous
    one (Olsson et al. 2022)."""
    entropy: Tensor
    """Entropy of the attention, in nats."""
    distance: Tensor
    """Mean distance to the attended token, weighted by attention, in tokens."""


def head_scores(model: Transformer | Opened, ids: Ids) -> HeadScores:
    """Return the scores of every head on some rows. Raises `UserError` as `trace` does."""
    network = network_of(model)
    rows = rows_of(network, ids)
    same = (rows[:, :, None] == rows[:, None, :]).tril(-1)  # [B, T, T]: an earlier occurrence
    after = torch.zeros_like(same)
    after[:, :, 1:] = same[:, :, :-1]
    after = after.tril(-1)  # what followed it, before the position itself
    time = torch.arange(rows.shape[1], device=rows.device)
    distances = (time[:, None] - time).clamp_min(0)
    previous = (distances == 1).tril().expand_as(same)
    first = (time == 0).expand_as(same) & (time > 0)[:, None]
    own = torch.eye(len(time), dtype=torch.bool, device=rows.device).expand_as(same)
    layers: list[list[Tensor]] = []

    def see(_: str, pattern: Tensor) -> Tensor:
        scores = [_attended(pattern, keys) for keys in (previous, own, first, same, after)]
        entropy = torch.special.entr(pattern).sum(-1).mean((0, 2))
        layers.append([*scores, entropy, (pattern * distances).sum(-1).mean((0, 2))])
        return pattern

    with torch.no_grad():
        observe(network, rows, _patterns(network), see)
    return HeadScores(*(torch.stack(score) for score in zip(*layers, strict=True)))


def repeated_ids(
    model: Transformer | Opened, length: int, rows: int = 1, *, generator: torch.Generator, first: int | None = None
) -> Tensor:
    """Return rows of random tokens that occur twice in the same order, [rows, 2 * length], to find induction heads.

    `first` is a token to put before each row. Raises `UserError` if they do not fit the context or the vocabulary.
    """
    config = network_of(model).config
    if not 1 <= length <= config.vocab_size:
        raise UserError(f"length must be from 1 to {config.vocab_size:,} different tokens; got {length}.")
    drawn = torch.stack([torch.randperm(config.vocab_size, generator=generator)[:length] for _ in range(rows)])
    start = [] if first is None else [torch.full((rows, 1), first)]
    return rows_of(network_of(model), torch.cat([*start, drawn, drawn], dim=1))


def rollout(model: Transformer | Opened, ids: Ids) -> Tensor:
    """Return attention rollout [L, B, T, T]: how much of each input token the stream after each block contains.

    Blocks count as half the mean attention of their heads and half the stream itself (Abnar & Zuidema 2020).
    """
    network = network_of(model)
    rows, found = rows_of(network, ids), []
    mixed = same = torch.eye(rows.shape[1], device=rows.device)

    def see(_: str, pattern: Tensor) -> Tensor:
        nonlocal mixed
        mixed = (0.5 * pattern.mean(1).float() + 0.5 * same) @ mixed
        found.append(mixed)
        return pattern

    with torch.no_grad():
        observe(network, rows, _patterns(network), see)
    return torch.stack(found)


def value_weighted(model: Transformer | Opened, ids: Ids) -> Tensor:
    """Return value-weighted attention [L, B, H, T, T] (Kobayashi et al. 2020).

    Each attention weight is multiplied by the norm of what the head would write for that token, and rows are divided by
    their sum; they are zero where the head writes nothing.
    """
    network = network_of(model)
    found, weighted = trace(network, ids, ("blocks.*.attn.hook_pattern", "blocks.*.attn.hook_v")), []
    for layer, block in enumerate(blocks_of(network)):
        pattern, v = (found[f"blocks.{layer}.attn.hook_{name}"] for name in ("pattern", "v"))
        attention = block.attention
        with torch.no_grad():
            out = matrix(attention.out).unflatten(1, (attention.heads, attention.size))
            values = v.repeat_interleave(attention.heads // attention.kv_heads, dim=2)
            written = torch.einsum("bthd,chd->bthc", values, out).norm(dim=-1)  # [B, T, H]
        product = pattern * written.transpose(1, 2)[:, :, None]
        weighted.append(product / product.sum(-1, keepdim=True).clamp_min(torch.finfo(product.dtype).tiny))
    return torch.stack(weighted)


def _patterns(model: Transformer) -> list[str]:
    return [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.layers)]


def _attended(pattern: Tensor, keys: Tensor) -> Tensor:
    """Return the mean attention [H] of a pattern [B, H, T, T] to `keys`, bool [B, T, T], of queries that have some."""
    attended = (pattern * keys[:, None]).sum(-1)
    counts = keys.any(-1)[:, None]
    return (attended * counts).sum((0, 2)) / counts.sum()
