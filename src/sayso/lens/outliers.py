"""Outlier features: dimensions with large values, which make 8 bits inaccurate (Dettmers et al. 2022, LLM.int8()).

Takes rows of ids, returns which dimensions of the sublayers' inputs are outliers in a model, and what rounding one
block at a time to 8 bits does to perplexity, with and without the outlier columns in float32.
N rows, T time, C width, L layers.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sayso.base.errors import UserError
from sayso.lens.forward import blocks_of, embedded, read, through
from sayso.lens.matrices import matrix
from sayso.lens.names import Opened, network_of
from sayso.lens.patching import BLIND
from sayso.lens.readout import with_logits
from sayso.lens.tracing import Ids, observe, rows_of, trace
from sayso.model import Transformer
from sayso.model.adapters import linear_layers
from sayso.weights.quantize.integers import Grid, round_nearest
from sayso.weights.quantize.layers import WeightsAndInputs8
from sayso.weights.quantize.model import bits_of


@dataclass(frozen=True)
class OutlierFeatures:
    """Dimensions with large values in the inputs of attention layers and MLPs, which are normalized streams."""

    peaks: Tensor
    """Largest magnitude of each dimension, [L, 2, C]."""
    layers: Tensor
    """Share of the blocks in which a dimension reaches the threshold somewhere, [C]."""
    positions: Tensor
    """Share of the positions at which a dimension reaches it in some block, [C]."""
    dimensions: Tensor
    """The outlier features: dimensions with enough of both, the largest peak first, [K]."""


@dataclass(frozen=True)
class Rounding:
    """Perplexity with one block at a time in 8 bits: weights by row, inputs by token."""

    plain: float
    """Of the model as it is."""
    naive: Tensor
    """With all columns of the block's layers rounded, [L]."""
    aware: Tensor
    """With the columns whose inputs reach the threshold in float32, [L]."""
    columns: Tensor
    """Share of the input columns of the block's layers that stay in float32, [L]."""
    naive_all: float
    """With all blocks rounded."""
    aware_all: float
    """With all blocks rounded, without the columns that reach the threshold."""


def outlier_features(
    model: Transformer | Opened,
    ids: Ids,
    *,
    threshold: float = 6.0,
    least_layers: float = 0.25,
    least_positions: float = 0.06,
    batch: int = 8,
) -> OutlierFeatures:
    """Return the outlier features of a model on rows of ids, by the criterion of LLM.int8().

    A dimension counts if its magnitude reaches the threshold in enough of the blocks and at enough of the positions.
    Raises `UserError` as `trace` does.
    """
    network = network_of(model)
    rows, config = rows_of(network, ids), network.config
    peaks = torch.zeros(config.layers, 2, config.width, device=rows.device)
    reached = torch.zeros(config.width, device=rows.device)
    norms = [(block.attention_norm, block.mlp_norm) for block in blocks_of(network)]
    names = [f"blocks.{layer}.hook_resid_{place}" for layer in range(config.layers) for place in ("pre", "mid")]
    for part in rows.split(batch):
        anywhere = torch.zeros(*part.shape, config.width, dtype=torch.bool, device=rows.device)

        def see(name: str, x: Tensor, anywhere: Tensor = anywhere) -> Tensor:
            layer, side = divmod(names.index(name), 2)
            large = norms[layer][side](x).abs().float()
            peaks[layer, side] = torch.maximum(peaks[layer, side], large.amax((0, 1)))
            anywhere |= large >= threshold
            return x

        with torch.no_grad():
            observe(network, part, names, see)
        reached += anywhere.sum((0, 1))
    layers = (peaks.amax(1) >= threshold).float().mean(0)
    positions = reached / rows.numel()
    highest = peaks.amax((0, 1))
    found = ((layers >= least_layers) & (positions >= least_positions)).nonzero().flatten()
    return OutlierFeatures(peaks, layers, positions, found[highest[found].argsort(descending=True)])


def rounding_effect(model: Transformer | Opened, ids: Ids, *, threshold: float = 6.0, batch: int = 8) -> Rounding:
    """Return the perplexity of rows of ids with each block in turn rounded to 8 bits, naively and aware of outliers.

    The outlier columns of a layer are those whose inputs reach the threshold somewhere in the rows. Raises `UserError`
    for a quantized model and rows of one id, and as `trace` does.
    """
    network = with_logits(model)
    rows = rows_of(network, ids)
    if bits := bits_of(network):
        raise UserError(f"Rounding needs weights in floating point; this model's have {bits} bits: load the original.")
    if rows.shape[1] < 2:
        raise UserError("Perplexity needs rows of at least 2 ids; got rows of 1.")
    with torch.no_grad():
        peaks = _input_peaks(network, rows, batch)
        naive = {name: _rounded(layer, None) for name, layer in linear_layers(network).items()}
        kept = {name: (peaks[name] >= threshold).nonzero().flatten() for name in naive}
        aware = {name: _rounded(layer, kept[name]) for name, layer in linear_layers(network).items()}
        nats = torch.zeros(2, network.config.layers + 1, dtype=torch.float64)
        plain = 0.0
        for part in rows.split(batch):
            plain += _nats(network, part)
            streams = trace(network, part, "blocks.*.hook_resid_pre")
            for side, layers in enumerate((naive, aware)):
                for layer in range(network.config.layers):
                    with replaced(network, _of_block(layers, layer)):
                        nats[side, layer] += _nats(network, part, streams[f"blocks.{layer}.hook_resid_pre"], layer)
                with replaced(network, layers):
                    nats[side, -1] += _nats(network, part)
    count = rows[:, 1:].numel()
    perplexity = (nats / count).exp()
    shares = [
        sum(len(kept[name]) for name in part) / sum(len(peaks[name]) for name in part)
        for part in (_of_block(naive, layer) for layer in range(network.config.layers))
    ]
    return Rounding(
        float(torch.tensor(plain / count, dtype=torch.float64).exp()), perplexity[0, :-1], perplexity[1, :-1],
        torch.tensor(shares), perplexity[0, -1].item(), perplexity[1, -1].item(),
    )  # fmt: skip


@contextmanager
def replaced(model: Transformer, layers: Mapping[str, nn.Module]) -> Iterator[None]:
    """Have other modules, by name, in the place of a model's own inside the `with` block."""
    own = {name: model.get_submodule(name) for name in layers}
    try:
        for name, layer in layers.items():
            model.set_submodule(name, layer)
        yield
    finally:
        for name, layer in own.items():
            model.set_submodule(name, layer)


def _of_block(layers: Mapping[str, nn.Module], layer: int) -> dict[str, nn.Module]:
    return {name: module for name, module in layers.items() if name.startswith(f"blocks.{layer}.")}


def _rounded(layer: nn.Linear, kept: Tensor | None) -> WeightsAndInputs8:
    weight = matrix(layer).detach().float()
    integers, bias = round_nearest(weight, Grid(8)), layer.bias
    if kept is None or not len(kept):
        return WeightsAndInputs8(integers, bias)
    return WeightsAndInputs8(integers, bias, kept, weight[:, kept].clone())


def _input_peaks(model: Transformer, rows: Tensor, batch: int) -> dict[str, Tensor]:
    """Return the largest magnitude of each input column of each linear layer, [C]."""
    peaks: dict[str, Tensor] = {}

    def record(name: str, x: Tensor) -> None:
        found = x.abs().flatten(0, -2).amax(0).float()
        peaks[name] = torch.maximum(peaks[name], found) if name in peaks else found

    with ExitStack() as hooks:
        for name, layer in linear_layers(model).items():
            handle = layer.register_forward_pre_hook(lambda _, given, name=name: record(name, given[0]))
            hooks.callback(handle.remove)
        for part in rows.split(batch):
            model.hidden(part)
    return peaks


def _nats(model: Transformer, ids: Tensor, x: Tensor | None = None, layer: int = 0) -> float:
    """Return the summed loss of rows of ids [B, T], from the stream [B, T, C] before a block if given."""
    stream = embedded(model, ids, BLIND) if x is None else x
    logits = read(model, through(model, stream, BLIND, layer)[:, :-1], BLIND).float()
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").item()
