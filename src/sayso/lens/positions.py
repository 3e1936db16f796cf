"""Positions: why a Transformer needs them, and what rotary, learned and sinusoidal ones do.

    sayso.lens.order_effect(model, ids, positions=False, causal=False).differences  # all 0: the order is lost

Attention is a sum over a set of keys. Without positions, the same tokens in another order give the same sum; only the
causal mask, which hides different tokens from those before, tells orders apart, after the first block (Haviv et al.
2022). B batch, T time, C width, L layers, H heads, D head size.
"""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.forward import Probe, embedded, through
from sayso.lens.names import Opened, network_of
from sayso.lens.targets import index_of
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer
from sayso.model.config import PLAIN
from sayso.model.positions import rotary_frequencies, rotate


@dataclass(frozen=True)
class OrderEffect:
    """How far the stream at the last token differs between two orders of the tokens before it."""

    ids: Tensor
    """The ids in the other order, [T]."""
    differences: Tensor
    """Distance of the two streams divided by the length of the first: before the first block, after each, [L + 1]."""


@dataclass(frozen=True)
class Dials:
    """Rotary positions as dials: each pair of a head's dimensions turns by its frequency with every token."""

    frequencies: Tensor
    """Radians by which each pair turns from one token to the next, [D/2]."""

    @property
    def wavelengths(self) -> Tensor:
        """Tokens for a full turn of each pair, [D/2]."""
        return 2 * math.pi / self.frequencies

    def angles(self, distance: float) -> Tensor:
        """Return the angle of each pair at a distance in tokens, in radians from 0 to 2 pi, [D/2]."""
        return (self.frequencies * distance) % (2 * math.pi)


def order_effect(
    model: Transformer | Opened,
    ids: Ids,
    order: Sequence[int] | None = None,
    *,
    positions: bool = True,
    causal: bool = True,
    generator: torch.Generator | None = None,
) -> OrderEffect:
    """Return what another order of the tokens before the last one changes at the last one.

    `order` lists the indices of these tokens; omit it for a random one. positions=False removes all that tells
    positions: rotary and learned ones, n-grams and the token shift. causal=False lets each token attend to all others.
    Raises `UserError` for more than one row, fewer than 3 tokens, what is not an order, and as `trace` does.
    """
    network = network_of(model)
    rows = rows_of(network, ids)
    if len(rows) > 1 or rows.shape[1] < 3:
        raise UserError(f"An order needs one row of at least 3 tokens; got {len(rows)} of {rows.shape[1]}.")
    count = rows.shape[1] - 1
    chosen = torch.randperm(count, generator=generator).tolist() if order is None else list(order)
    if sorted(chosen) != list(range(count)):
        raise UserError(f"An order must have each index from 0 to {count - 1} once; got {chosen}.")
    both = torch.cat((rows, rows[:, [*chosen, count]]))
    after = (f"blocks.{layer}.hook_resid_post" for layer in range(network.config.layers))
    streams: list[Tensor] = []

    def see(_: str, x: Tensor) -> Tensor:
        streams.append(x[:, -1].float())
        return x

    visible = None if causal else torch.ones(count + 1, count + 1, dtype=torch.bool, device=rows.device)
    with torch.no_grad():
        used = network if positions else without_positions(network)
        probe = Probe(frozenset(("blocks.0.hook_resid_pre", *after)), see)
        through(used, embedded(used, both, probe), probe, visible=visible)
    first, second = torch.stack(streams).unbind(1)
    return OrderEffect(both[1], (first - second).norm(dim=-1) / first.norm(dim=-1))


def without_positions(model: Transformer) -> Transformer:
    """Return a model with the same weights, and without positions, n-grams and token shift."""
    bare = copy(model)
    bare._modules = dict(model._modules)
    bare.config = replace(model.config, positions="none", rope=PLAIN, ngrams=(), ngram_rows=0, shift=0)
    bare.positions = bare.ngrams = bare.shift = None
    return bare


def position_kinds(model: Transformer | Opened) -> tuple[str, ...]:
    """Return what tells each block the positions: rotary, learned (added to the embeddings) or none, [L]."""
    config = network_of(model).config
    bare = config.rope.nope_layers if config.positions == "rotary" else ()
    return tuple("none" if layer in bare else config.positions for layer in range(config.layers))


def rotary_dials(model: Transformer | Opened, layer: int = 0) -> Dials:
    """Return the dials of a block. Raises `UserError` for a block without rotary positions."""
    network = network_of(model)
    config = network.config
    _check_rotary(network, layer)
    local = config.rope.local_theta if config.layer_windows[layer] else 0
    theta, rope = (local, PLAIN) if local else (config.rope_theta, config.rope)
    return Dials(rotary_frequencies(config.head_size, theta, rope, network.device))


def scores_by_distance(
    model: Transformer | Opened,
    ids: Ids,
    layer: int,
    head: int,
    distances: Sequence[int],
    *,
    query: int = -1,
    key: int = 0,
) -> Tensor:
    """Return the attention score of two tokens if they were at other distances, by pair of dimensions, [N, D/2].

    Query and key are positions in one row of ids, and the pairs sum to the score, before a soft cap. Raises `UserError`
    for a block without rotary positions, an unknown head or position, a distance outside the context, and as `trace`
    does.
    """
    network = network_of(model)
    config, rows = network.config, rows_of(network, ids)
    _check_rotary(network, layer)
    if len(rows) > 1:
        raise UserError(f"Scores by distance belong to one row of ids; got {len(rows)} rows.")
    if not 0 <= head < config.heads:
        raise UserError(f"A head must be from 0 to {config.heads - 1}; got {head}.")
    if bad := [distance for distance in distances if not 0 <= distance < config.context]:
        raise UserError(f"A distance must be from 0 to {config.context - 1:,}, within the context; got {bad[0]}.")
    names = tuple(f"blocks.{layer}.attn.hook_rot_{name}" for name in "qk")
    found = trace(network, rows, names)
    places = [index_of(position, rows.shape[1]) for position in (query, key)]
    heads = head, head * config.kv_heads // config.heads
    # Turned back by its own position, each is as it would be at position 0.
    q, k = (
        _turned(network, layer, found[name][0, at, one], -at)
        for name, at, one in zip(names, places, heads, strict=True)
    )
    turned = torch.stack([_turned(network, layer, q, distance) for distance in distances])
    products = turned * k * config.head_size**-0.5
    return products.unflatten(-1, (2, -1)).sum(-2)  # pairs are (d, d + D/2)


def sinusoidal_positions(time: int, width: int) -> Tensor:
    """Return the sinusoidal positions of Vaswani et al. 2017, [T, C]: sines in even dimensions, cosines in odd ones.

    Raises `UserError` for an odd width.
    """
    if time < 1 or width < 2 or width % 2:
        raise UserError(f"Sinusoidal positions need at least one position and an even width; got {time} and {width}.")
    angles = torch.arange(time)[:, None] * 10_000.0 ** -(torch.arange(0, width, 2) / width)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def learned_positions(model: Transformer | Opened) -> Tensor:
    """Return the learned positions [context, C]. Raises `UserError` for a model without them."""
    network = network_of(model)
    if network.positions is None:
        raise UserError(f"This model has no learned positions; its positions: {network.config.positions}.")
    with torch.no_grad():
        table: Tensor = network.positions(torch.arange(network.config.context, device=network.device))
    return table


def _turned(model: Transformer, layer: int, x: Tensor, distance: int) -> Tensor:
    """Return x [D], a rotated query or key, turned by a distance, which may be negative; its length stays."""
    angles = model.angles(torch.tensor([[distance]], device=x.device))[layer]
    assert angles is not None
    factor = model.config.rope.attention_factor  # the angles of each layer include it
    scale = 1 if model.config.rope.local_theta and model.config.layer_windows[layer] else factor
    return rotate(x, angles[0][0, 0, 0] / scale, angles[1][0, 0, 0] / scale)


def _check_rotary(model: Transformer, layer: int) -> None:
    kinds = position_kinds(model)
    if not 0 <= layer < len(kinds):
        raise UserError(f"A block must be from 0 to {len(kinds) - 1}; got {layer}.")
    if kinds[layer] != "rotary":
        raise UserError(f"Block {layer} of this model has no rotary positions; its positions: {kinds[layer]}.")
