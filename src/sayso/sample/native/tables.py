"""The model as the C++ code sees it: sizes and pointers to torch's weights, in ctypes structures.

Weights are not copied, except 4-bit weights that torch packed in another format than that of linear.h. The structures
mirror those of linear.h, parts.h and forward.cpp, field by field.
"""

from ctypes import POINTER, Structure, c_double, c_int64, c_void_p
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from sayso.model.config import MLPS
from sayso.model.linear import Linear
from sayso.model.norm import RMSNorm
from sayso.model.transformer import Block, Transformer
from sayso.sample.native.nibbles import by_blocks
from sayso.weights.quantize.layers import Weights4, Weights8

FLOAT32, INT8, INT4 = range(3)
NO_NORM, RMS, LAYER = range(3)
_ACTIVATIONS = {name: number for number, name in enumerate(("swiglu", "geglu", "gelu", "relu2", "relu"))}
assert set(_ACTIVATIONS) == set(MLPS)


def _structure(*numbers: str, **kinds: Any) -> list[tuple[str, Any]]:
    return [*kinds.items(), *((name, c_int64) for name in numbers)]


class Norm(Structure):
    """A norm; gain and shift are pointers."""

    _fields_ = _structure("kind", gain=c_void_p, shift=c_void_p, eps=c_double)


class Matrix(Structure):
    """A linear layer."""

    _fields_ = _structure(
        *("rows", "columns", "group", "kind"),
        **dict.fromkeys(("values", "scales", "grid", "wide", "bias"), c_void_p),
    )


_NORMS = ("attention_norm", "attention_post_norm", "query_norm", "key_norm", "mlp_norm", "mlp_post_norm")
MATRICES = ("query", "key", "value", "out", "gate", "up", "down")
PAGES = ("keys", "values", "key_scales", "value_scales")
POINTERS = ("cos", "sin", *PAGES)


class Layer(Structure):
    """A block, with its angles and its part of the cache."""

    _fields_ = _structure(
        "window",
        **dict.fromkeys(_NORMS, Norm),
        **dict.fromkeys(MATRICES, Matrix),
        **dict.fromkeys(POINTERS, c_void_p),
    )


SIZES = ("layers", "width", "heads", "kv_heads", "size", "mlp_width", "mlp", "norm_whole")


class ModelStruct(Structure):
    """A model."""

    _fields_ = (
        *((name, c_int64) for name in SIZES),
        *(("attention_cap", c_double), ("logit_cap", c_double)),
        *(("layer", POINTER(Layer)), ("norm", Norm), ("head", Matrix)),
    )


class PassStruct(Structure):
    """The new tokens of a pass: their positions [N] and rows [N], and the rows' block tables."""

    _fields_ = (
        *((name, c_int64) for name in ("tokens", "table_width", "threads")),
        *((name, c_void_p) for name in ("positions", "rows", "tables")),
    )


@dataclass
class Tables:
    """The structures of one model, and the tensors they point to."""

    model: ModelStruct
    layers: Any
    kept: list[Any] = field(default_factory=list)


def tables_of(model: Transformer) -> Tables:
    """Return the structures of a model; the runner sets the pointers to angles and cache."""
    config = model.config
    layers = (Layer * config.layers)()
    tables = Tables(ModelStruct(), layers)
    for layer, block, window in zip(layers, model.blocks, config.layer_windows, strict=True):
        assert isinstance(block, Block)
        _fill(layer, block, tables.kept)
        layer.window = window
    sizes = (config.layers, config.width, config.heads, config.kv_heads, config.head_size, config.mlp_width)
    tables.model = ModelStruct(
        *(*sizes, _ACTIVATIONS[config.mlp], config.qk_norm == "whole", config.attention_cap, config.logit_cap),
        *(layers, _norm(model.norm, tables.kept), _matrix(model.unembed, tables.kept)),
    )
    return tables


def _fill(layer: Layer, block: Block, kept: list[Any]) -> None:
    attention, mlp = block.attention, block.mlp
    norms = (
        *(block.attention_norm, block.attention_post_norm, attention.query_norm, attention.key_norm),
        *(block.mlp_norm, block.mlp_post_norm),
    )
    for name, norm in zip(_NORMS, norms, strict=True):
        setattr(layer, name, _norm(norm, kept))
    linears = (attention.query, attention.key, attention.value, attention.out, mlp.gate, mlp.up, mlp.down)
    for name, linear in zip(MATRICES, linears, strict=True):
        setattr(layer, name, Matrix() if linear is None else _matrix(linear, kept))


def _norm(norm: nn.Module, kept: list[Any]) -> Norm:
    if isinstance(norm, RMSNorm):
        return Norm(_at(norm.weight, kept), None, norm.eps, RMS)
    if isinstance(norm, nn.LayerNorm):
        return Norm(_at(norm.weight, kept), _at(norm.bias, kept), norm.eps, LAYER)
    return Norm()


def _matrix(layer: nn.Module, kept: list[Any]) -> Matrix:
    """Return a linear layer's structure; `why_not` accepts only three kinds."""
    bias: Any = layer.bias
    matrix = Matrix(bias=None if bias is None else _at(bias, kept))
    matrix.rows, matrix.columns = layer.out_features, layer.in_features
    if isinstance(layer, Linear):
        matrix.kind, matrix.values = FLOAT32, _at(layer.weight, kept)
    elif isinstance(layer, Weights8):
        matrix.kind, matrix.values, matrix.scales = INT8, _at(layer.values, kept), _at(layer.scales, kept)
    else:
        assert isinstance(layer, Weights4)
        values, grid = by_blocks(layer)
        matrix.kind, matrix.group, matrix.values = INT4, layer.group, _at(values, kept)
        setattr(matrix, "grid" if grid.itemsize == 2 else "wide", _at(grid, kept))
    return matrix


def _at(x: Tensor, kept: list[Any]) -> int:
    """Return the address of a tensor's data; the tensor, or its contiguous copy, is added to `kept`."""
    kept.append(x.detach().contiguous())
    return kept[-1].data_ptr()
