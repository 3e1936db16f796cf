"""The weights of a next-token program in the ordinary Transformer, for short runs.

Takes weights, returns a Transformer that reads the same ids and gives its largest logit to the same next token. Its
attention is a softmax: of 32 n (2 q k - k^2) + 16 s for position s and n positions, so that the nearest key, and of
equal keys the latest, has all but about e^-16 of the weight. A cumulative sum is a mean times the number of positions.
As in compiled programs, one dimension holds a number so large that the norms divide by a constant. All factors are
powers of two, so that float32 adds little but the softmax's remainder in runs whose numbers are below 2^24, and whose
keys and queries are between -n and n.
"""

from math import ceil, log2, sqrt

import numpy as np
import torch

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.model.transformer import Block
from sayso.rasp.machine.weights import Block as Program
from sayso.rasp.machine.weights import Matrix, Totals, Weights

LONGEST = 128
SHARPNESS = 128.0
"""SiLU(128 z) / 128 is max(z, 0) in float32 at all integers."""
MARGIN = 16.0
"""Difference between the scores of the nearest key and of an equal one at an earlier position."""
LARGEST_SIZE = 2.0**59
"""Of the constant of the norms, whose square float32 holds."""
CERTAINTY = 32.0
"""Least difference between the logits of the next token and of others."""


def dense(weights: Weights, length: int) -> Transformer:
    """Return the Transformer, for up to `length` tokens.

    Raises `UserError` for more than 128, and for numbers that float32 cannot hold beside the constant of the norms.
    """
    if not 1 <= length <= LONGEST:
        raise UserError(
            f"Attention by softmax is exact in float32 for up to {LONGEST} tokens; got {length:,}. "
            "Run longer ones with generate() of sayso.rasp.machine.run."
        )
    blocks: list[Program] = []
    used = len(weights.names)
    for block in weights.blocks:
        blocks += _split(block, weights.position, used)
        used += len(block.totals.targets)  # a dimension for each mean
    count = max(len(block.lookups) + 1 for block in blocks)
    copied = [len(head.targets) for block in blocks for head in block.lookups]
    copied += [len(block.totals.targets) for block in blocks]
    width = _power_of_four(used + 1)
    size = _norm_size(weights, length, width)
    config = ModelConfig(
        vocab_size=len(weights.vocabulary.tokens),
        layers=len(blocks),
        width=width,
        heads=count,
        kv_heads=count,
        head_size=_power_of_four(max(3, *copied)),
        mlp_width=max(1, *(len(block.gate) for block in blocks)),
        mlp="swiglu",
        context=length,
        positions="learned",
        norm="rms",
        qk_norm="none",
    )
    model = Transformer(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(size / sqrt(width) if name.endswith("norm.weight") else 0.0)
    assert model.positions is not None
    places = torch.arange(length)
    model.positions.weight[:, weights.position] = places.float()
    model.positions.weight[:, weights.position + 1] = (places * places).float()
    _fill(model.embed.weight, weights.embed)
    model.embed.weight[:, -1] = size
    _fill(model.unembed.weight, CERTAINTY * weights.unembed)
    for layer, part in zip(model.blocks, blocks, strict=True):
        assert isinstance(layer, Block)
        _attend(layer, part, weights.position, length)
        _feed_forward(layer, part)
    return model


def _split(block: Program, position: int, first: int) -> list[Program]:
    """Return a block whose sums are means times the number of positions, and the rest of it.

    The means are in dimensions from the `first` on.
    """
    totals = block.totals.targets
    if not totals:
        return [block]
    count, width = len(totals), block.down.shape[0]
    gate, up, down = np.zeros((count, width)), np.zeros((count, first + count)), np.zeros((width, count))
    gate[:, [0, position]] = 1
    for unit, target in enumerate(totals):
        up[unit, first + unit] = down[target, unit] = 1
    means = Totals(block.totals.value, list(range(first, first + count)))
    nothing = Totals(np.zeros((0, width)), [])
    rest = Program([], nothing, block.gate, block.up, block.down)
    return [Program(block.lookups, means, gate, up, down), rest]


def _attend(block: Block, part: Program, position: int, length: int) -> None:
    attention = block.attention
    size, slope = attention.size, 2 * 2 ** ceil(log2(length)) * MARGIN
    scale = slope * sqrt(size)  # scores are divided by the root of the size
    for number, head in enumerate(part.lookups):
        first = number * size
        _fill(attention.query.weight[first : first + 2], scale * head.query)
        attention.query.weight[first + 2, 0] = MARGIN * sqrt(size)
        _fill(attention.key.weight[first : first + 2], head.key)
        attention.key.weight[first + 2, position] = 1
        _fill(attention.value.weight[first:], head.value)
        for column, target in enumerate(head.targets):
            attention.out.weight[target, first + column] = 1
    first = len(part.lookups) * size  # with queries of 0, it attends to all positions alike
    _fill(attention.value.weight[first:], part.totals.value)
    for column, target in enumerate(part.totals.targets):
        attention.out.weight[target, first + column] = 1


def _feed_forward(block: Block, part: Program) -> None:
    assert block.mlp.gate is not None
    _fill(block.mlp.gate.weight, SHARPNESS * part.gate)
    _fill(block.mlp.up.weight, part.up)
    _fill(block.mlp.down.weight, part.down / SHARPNESS)


def _norm_size(weights: Weights, length: int, width: int) -> float:
    """Return a power of two whose square no other dimension changes in float32."""
    bounds = np.abs(weights.embed).max(0)
    bounds[weights.position : weights.position + 2] = length, length * length
    for block in weights.blocks:
        bounds[block.totals.targets] = length * (np.abs(block.totals.value) @ bounds)
        for head in block.lookups:
            bounds[head.targets] = np.abs(head.value) @ bounds
        with np.errstate(over="ignore", invalid="ignore"):
            bounds = bounds + np.abs(block.down) @ ((np.abs(block.gate) @ bounds) * (np.abs(block.up) @ bounds))
    least = 2.0**13 * sqrt(width) * float(bounds.max())
    if not least <= LARGEST_SIZE:  # as neither infinity is, nor what is not a number
        raise UserError(f"Its numbers may reach {bounds.max():.2g}, which is too large for float32; use smaller ones.")
    return 2.0 ** ceil(log2(least))


def _fill(weight: torch.Tensor, values: Matrix) -> None:
    """Set the first rows and columns of a matrix."""
    rows, columns = values.shape
    weight[:rows, :columns] = torch.from_numpy(values).to(weight)


def _power_of_four(number: int) -> int:
    """Return the smallest power of four that is at least a number; its root is a power of two."""
    return 4 ** ceil(log2(max(number, 1)) / 2)
