"""Turn a circuit into the weights of the ordinary Transformer.

The model has learned positions, and may have a norm before each sublayer. The dimension `norm` then holds a constant
so large that no other value changes the root mean square in float32; the norm's gain undoes it, so that each sublayer
reads the residual stream as it is. GELU(32 x) / 32 and SiLU(128 x) / 128 are ReLU(x) in float32 where |x| is 0.25 or
more, as beside a step; what SwiGLU multiplies them with is 1.

A layer norm also takes the mean of all dimensions. It is nearly 0, as one more dimension holds the negative sum of the
others; what is left of it in rounding is read from a dimension that is 0, and subtracted.
"""

from math import ceil, log, log2, sqrt

import torch
from torch import Tensor, nn

from sayso.model import ModelConfig, Transformer
from sayso.model.attention import Attention
from sayso.model.config import Rope
from sayso.model.norm import RMSNorm
from sayso.model.transformer import Block, FeedForward
from sayso.rasp.compile.circuit import BOS, ONE, SIZE, Architecture, Circuit, Form, Head, Unit, reach
from sayso.rasp.compile.domain import CompileError
from sayso.rasp.compile.encode import CENTERING, COPYING, TOLERANCE, selection_slope
from sayso.rasp.compile.line import EPSILON, RISE

SHARPNESS = {"relu": 1.0, "gelu": 32.0, "swiglu": 128.0}
CERTAINTY = 30.0
"""Difference between the logit of the value and those of others."""
SELF = 2.0
"""By how many slopes, or more, the beginning token prefers itself."""
LARGEST_SIZE = 2.0**60
"""Of the constant of the norms: the sum of its squares stays below 2^128, where float32 ends."""


def add_dimensions(circuit: Circuit, architecture: Architecture) -> None:
    """Add the dimensions that layer norms need, and unused ones so that the heads of a GPT-2 fill the width."""
    if architecture.norm != "layer":
        return
    circuit.dimension("minus norm", 0.0)
    circuit.dimension("minus the sum", sum(circuit.largest))
    circuit.nothing = circuit.dimension("nothing", 0.0)
    if architecture.is_gpt2:
        count = _most_heads(circuit)
        size = max(_head_size(circuit), ceil(len(circuit.names) / count))
        for number in range(1, count * size - len(circuit.names) + 1):
            circuit.dimension(f"unused {number}", 0.0)


def build(
    circuit: Circuit, length: int, layers: int, vocabulary: int, ids: list[int], bos: int, architecture: Architecture
) -> Transformer:
    """Return the model for inputs of up to `length` tokens; `ids` are those of the alphabet.

    The output head is left zero. The circuit has the dimensions of `add_dimensions`.
    """
    width, count = len(circuit.names), _most_heads(circuit)
    heads = [[head for head in circuit.heads.values() if head.layer == layer + 1] for layer in range(layers)]
    units = [[unit for unit in circuit.units if unit.layer == layer + 1] for layer in range(layers)]
    nope = not circuit.indices and architecture == Architecture("rms", "swiglu")  # a SmolLM3, which transformers opens
    size = width // count if architecture.is_gpt2 else _head_size(circuit)
    config = ModelConfig(
        vocab_size=vocabulary,
        layers=layers,
        width=width,
        heads=count,
        kv_heads=count,
        head_size=size + size % 2 if nope else size,
        mlp_width=max(1, *map(len, units)),
        mlp=architecture.mlp,
        context=length + 1,
        positions="rotary" if nope else "learned",
        rope=Rope(nope_layers=tuple(range(layers))) if nope else Rope(),
        norm=architecture.norm,
        qk_norm="none",
        biases=("qkv", "out", "mlp") if architecture.is_gpt2 else (),
    )
    model = Transformer(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    _embed(model, circuit, ids, bos)
    for block, its_heads, its_units in zip(model.blocks, heads, units, strict=True):
        assert isinstance(block, Block)
        for number, head in enumerate(its_heads):
            _attend(block.attention, head, number, length, circuit)
        _feed_forward(block.mlp, its_units, circuit, SHARPNESS[architecture.mlp])
    if architecture.norm != "none":
        _normalize(model, circuit)
    return model


def _normalize(model: Transformer, circuit: Circuit) -> None:
    """Set the constant that fixes the norms, and the gains that undo them."""
    size = _norm_size(circuit)
    if circuit.nothing is not None:
        _check_means(circuit, size)
        _balance(model, circuit.nothing - 1)
        model.embed.weight[:, circuit.nothing - 2] = -size
    model.embed.weight[:, SIZE] = size
    for module in model.modules():
        if isinstance(module, RMSNorm | nn.LayerNorm):
            module.weight.fill_(size * sqrt((1 if circuit.nothing is None else 2) / model.config.width))


def _most_heads(circuit: Circuit) -> int:
    layers = [head.layer for head in circuit.heads.values()]
    return max(1, *map(layers.count, layers), 1)


def _head_size(circuit: Circuit) -> int:
    return max(1, *(max(len(head.scores) + 1, len(head.outputs)) for head in circuit.heads.values()), 1)


def _check_means(circuit: Circuit, size: float) -> None:
    """Raise `CompileError` if the mean that a layer norm takes may be so large that rounding loses what matters.

    A mean of numbers among which is the constant of the norm is wrong by a rounding of it, whatever the order.
    """
    lost = 1.25 * EPSILON * EPSILON * size  # five roundings of that mean, each by half of EPSILON
    for unit in circuit.units:
        _check(lost * reach(unit.reads) * RISE <= TOLERANCE / 2, unit.text)
    for head in circuit.heads.values():
        _check(lost * head.reach <= CENTERING, head.text)
        for dimension, reads in head.outputs.items():
            # a step along a count or a sum takes TOLERANCE of a gap at `weight`, by which the slope is known
            largest = circuit.largest[dimension]
            most = largest / head.weight / 2 if head.counts else COPYING * max(1.0, largest)
            _check(lost * reach(reads) <= most, head.text)


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise CompileError(
            "A layer norm rounds it too coarsely in float32; a smaller --length, or --norm rms, does not.", text
        )


def _balance(model: Transformer, dimension: int) -> None:
    """Let a dimension hold the negative sum of the others, by all that is written to the residual stream."""
    assert model.positions is not None
    for table in (model.embed.weight, model.positions.weight):
        table[:, dimension] = -table.double().sum(1)
    for block in model.blocks:
        assert isinstance(block, Block)
        for matrix in (block.attention.out.weight, block.mlp.down.weight):
            matrix[dimension] = -matrix.double().sum(0)


def _norm_size(circuit: Circuit) -> float:
    """Return a power of two whose square no other dimension changes in float32.

    There are two of it, and it may be half as large, with a layer norm. Raises `CompileError` if float32 cannot hold
    its square.
    """
    others = sqrt(sum(largest * largest for largest in circuit.largest))
    size = 2.0 ** ceil(log2(2.0 ** (13 if circuit.nothing is None else 12) * max(others, 1.0)))
    if size >= LARGEST_SIZE:
        own = len(circuit.names) if circuit.nothing is None else circuit.nothing - 2  # those that follow are a norm's
        place = max(range(own), key=circuit.largest.__getitem__)
        raise CompileError(
            f"It may be as large as {circuit.largest[place]:.2g}, beside which a norm is not exact in float32; use "
            "smaller numbers, or --norm none.",
            circuit.names[place],
        )
    return size


def _embed(model: Transformer, circuit: Circuit, ids: list[int], bos: int) -> None:
    model.embed.weight[:, ONE] = 1
    model.embed.weight[bos, ONE], model.embed.weight[bos, BOS] = 0, 1
    for dimension, table in circuit.tokens.items():
        model.embed.weight[ids, dimension] = torch.tensor(table)
    for dimension, table in circuit.indices.items():
        assert model.positions is not None
        model.positions.weight[1 : len(table) + 1, dimension] = torch.tensor(table)


def _attend(attention: Attention, head: Head, number: int, length: int, circuit: Circuit) -> None:
    """Set the rows of one head: its scores, the beginning token's, and what it copies or adds up."""
    root = sqrt(attention.size)
    slope = _few_bits(selection_slope(length) * root)  # so that the products of exact features cancel exactly
    first = number * attention.size
    for place, (query, key) in enumerate(head.scores):
        _set(attention.query.weight[first + place], circuit.read(query), slope)
        _set(attention.key.weight[first + place], circuit.read(key), 1.0)
    last = first + len(head.scores)
    level = log(head.weight) * root if head.counts else -slope / 2
    steps = max(1, min(127, int(127 * abs(level) / (SELF * slope))))  # of 127 of int8, which then holds both exactly
    own = max(SELF * slope, 127 / steps * abs(level))
    _set(attention.query.weight[last], circuit.read({ONE: level, BOS: own}), 1.0)
    _set(attention.key.weight[last], circuit.read({BOS: 1.0}), 1.0)
    for place, (dimension, reads) in enumerate(head.outputs.items()):
        _set(attention.value.weight[first + place], circuit.read(reads), 1.0)
        attention.out.weight[dimension, first + place] = head.weight if head.counts else 1.0


def _feed_forward(mlp: FeedForward, units: list[Unit], circuit: Circuit, sharpness: float) -> None:
    _fill((mlp.gate or mlp.up).weight, [(place, column, sharpness * factor) for place, unit in enumerate(units)
                                        for column, factor in circuit.read(unit.reads).items()])  # fmt: skip
    if mlp.gate is not None:
        _fill(mlp.up.weight, [(place, column, factor) for place in range(len(units))
                              for column, factor in circuit.read({ONE: 1.0}).items()])  # fmt: skip
    _fill(mlp.down.weight, [(row, place, factor / sharpness)
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


def set_results(model: Transformer, circuit: Circuit, logits: dict[int, Form]) -> None:
    """Set the output head: id -> the form of its logit, which is 1 for the value and 0 or less for others."""
    entries = [(index, column, CERTAINTY * factor)
               for index, form in logits.items() for column, factor in circuit.read(form).items()]  # fmt: skip
    _fill(model.unembed.weight, entries)
