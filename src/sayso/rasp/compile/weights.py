"""Turn a circuit into the weights of the ordinary Transformer.

The model has learned positions, RMS norms before each sublayer, and a GELU. The dimension `norm` holds a constant so
large that no other value changes the root mean square in float32; the norm's gain undoes it, so that each sublayer
reads the residual stream as it is. GELU(32 x) / 32 is ReLU(x) in float32 where |x| is 0.25 or more, as beside a step.
"""

from math import ceil, log, log2, sqrt

import torch
from torch import Tensor

from sayso.model import ModelConfig, Transformer
from sayso.model.attention import Attention
from sayso.model.norm import RMSNorm
from sayso.model.transformer import Block, FeedForward
from sayso.rasp.compile.circuit import BOS, ONE, SIZE, Circuit, Form, Head, Unit
from sayso.rasp.compile.encode import selection_slope

SHARPNESS = 32.0
CERTAINTY = 30.0
"""Difference between the logit of the value and those of others."""
SELF = 4.0
"""By how many slopes the beginning token prefers itself."""


def build(circuit: Circuit, layers: int, length: int, vocabulary: int, ids: list[int], bos: int) -> Transformer:
    """Return the model for inputs of up to `length` tokens; `ids` are those of the alphabet.

    The output head is left zero.
    """
    width = len(circuit.names)
    heads = [[head for head in circuit.heads.values() if head.layer == layer + 1] for layer in range(layers)]
    units = [[unit for unit in circuit.units if unit.layer == layer + 1] for layer in range(layers)]
    config = ModelConfig(
        vocab_size=vocabulary,
        layers=layers,
        width=width,
        heads=(count := max(1, *map(len, heads))),
        kv_heads=count,
        head_size=max(1, *(max(len(head.scores) + 1, len(head.outputs)) for head in circuit.heads.values()), 1),
        mlp_width=max(1, *map(len, units)),
        mlp="gelu",
        context=length + 1,
        positions="learned",
        norm="rms",
        qk_norm="none",
    )
    model = Transformer(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    size = _norm_size(circuit)
    for module in model.modules():
        if isinstance(module, RMSNorm):
            module.weight.fill_(size / sqrt(width))
    _embed(model, circuit, ids, bos, size)
    for block, its_heads, its_units in zip(model.blocks, heads, units, strict=True):
        assert isinstance(block, Block)
        for number, head in enumerate(its_heads):
            _attend(block.attention, head, number, length)
        _feed_forward(block.mlp, its_units)
    return model


def _norm_size(circuit: Circuit) -> float:
    """Return a power of two whose square no other dimension changes in float32."""
    others = sqrt(sum(largest * largest for largest in circuit.largest))
    return 2.0 ** ceil(log2(2.0**13 * max(others, 1.0)))


def _embed(model: Transformer, circuit: Circuit, ids: list[int], bos: int, size: float) -> None:
    assert model.positions is not None
    model.embed.weight[:, SIZE] = size
    model.embed.weight[:, ONE] = 1
    model.embed.weight[bos, ONE], model.embed.weight[bos, BOS] = 0, 1
    for dimension, table in circuit.tokens.items():
        model.embed.weight[ids, dimension] = torch.tensor(table)
    for dimension, table in circuit.indices.items():
        model.positions.weight[1 : len(table) + 1, dimension] = torch.tensor(table)


def _attend(attention: Attention, head: Head, number: int, length: int) -> None:
    """Set the rows of one head: its scores, the beginning token's, and what it copies or adds up."""
    root = sqrt(attention.size)
    slope = _few_bits(selection_slope(length) * root)  # so that the products of exact features cancel exactly
    first = number * attention.size
    for place, (query, key) in enumerate(head.scores):
        _set(attention.query.weight[first + place], query, slope)
        _set(attention.key.weight[first + place], key, 1.0)
    last = first + len(head.scores)
    level = log(head.weight) * root if head.counts else -slope / 2
    _set(attention.query.weight[last], {ONE: level, BOS: SELF * slope}, 1.0)
    _set(attention.key.weight[last], {BOS: 1.0}, 1.0)
    for place, (dimension, reads) in enumerate(head.outputs.items()):
        _set(attention.value.weight[first + place], reads, 1.0)
        attention.out.weight[dimension, first + place] = head.weight if head.counts else 1.0


def _feed_forward(mlp: FeedForward, units: list[Unit]) -> None:
    _fill(mlp.up.weight, [(place, column, SHARPNESS * factor)
                          for place, unit in enumerate(units) for column, factor in unit.reads.items()])  # fmt: skip
    _fill(mlp.down.weight, [(row, place, factor / SHARPNESS)
                            for place, unit in enumerate(units) for row, factor in unit.writes.items()])  # fmt: skip


def _fill(matrix: Tensor, entries: list[tuple[int, int, float]]) -> None:
    """Set entries (row, column, value) of a matrix, all at once."""
    if entries:
        rows, columns, values = zip(*entries, strict=True)
        matrix[list(rows), list(columns)] = torch.tensor(values)


def _set(row: Tensor, form: Form, factor: float) -> None:
    if form:
        row[list(form)] = torch.tensor([number * factor for number in form.values()])


def _few_bits(number: float) -> float:
    """Round up to eight significant bits."""
    unit = 2.0 ** (ceil(log2(number)) - 8)
    return ceil(number / unit) * unit


def set_results(model: Transformer, logits: dict[int, Form]) -> None:
    """Set the output head: id -> the form of its logit, which is 1 for the value and 0 or less for others."""
    entries = [(index, column, CERTAINTY * factor) for index, form in logits.items() for column, factor in form.items()]
    _fill(model.unembed.weight, entries)
