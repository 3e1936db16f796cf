"""Whether the C++ code can run a model: whether it supports it, was compiled, and is correct on this machine.

It is correct if a tiny random model of the same kind has the same logits as with torch, for two rows that are processed
in uneven chunks.
"""

from ctypes import CDLL
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from sayso.model.adapters import linear_layers
from sayso.model.config import ModelConfig
from sayso.model.linear import Linear
from sayso.model.transformer import Transformer
from sayso.sample.blocks import blocks_for
from sayso.sample.native.build import library
from sayso.sample.native.nibbles import by_blocks
from sayso.sample.native.runner import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk
from sayso.weights.quantize.integers import Grid, round_nearest
from sayso.weights.quantize.layers import QuantizedLinear, Weights4, Weights8

NEAR = 1e-4
"""Maximum difference from torch's logits, relative to the largest logit."""
WIDTH, LENGTHS = 64, (23, 37)

_Kind = tuple[int, int]
"""Bits and group size of a layer's weights; 32 and 0 if not quantized."""


def why_not(model: Transformer) -> str:
    """Return in one sentence why a model cannot run natively; "" if it can."""
    for name, x in (*model.named_parameters(), *model.named_buffers()):
        if x.device.type != "cpu":
            return f"The native forward pass runs on a CPU; this model is on {x.device}."
        if x.is_floating_point() and x.dtype != torch.float32 and name.rpartition(".")[2] != "scales":
            return f"The native forward pass computes in float32; this model's {name} is {x.dtype}."
    if hooked(model):
        return "The native forward pass calls no hooks; this model has some."
    kinds = set()
    for name, layer in (*_products(model).items(), ("unembed", model.unembed)):
        if type(layer) not in (Linear, Weights8, Weights4):
            return f"The native forward pass does not support {type(layer).__name__}, the type of this model's {name}."
        kinds.add(_kind(layer))
    found = library()
    if not isinstance(found, CDLL):
        return f"The native forward pass is not available: {found}."
    return next(filter(None, (_wrong(_tiny(model.config), kind) for kind in sorted(kinds))), "")


def hooked(model: Transformer) -> bool:
    """Return whether modules of a model have forward hooks, as while it is steered."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def _products(model: Transformer) -> dict[str, torch.nn.Module]:
    quantized = {name: x for name, x in model.blocks.named_modules(prefix="blocks") if isinstance(x, QuantizedLinear)}
    return {**linear_layers(model), **quantized}


def _kind(layer: torch.nn.Module) -> _Kind:
    if isinstance(layer, Weights4):
        return 4, layer.group
    return (8 if isinstance(layer, Weights8) else 32), 0


def _tiny(config: ModelConfig) -> ModelConfig:
    """Return a tiny config with the same features as a config, in two layers."""
    windows = (7, 0) if len(set(config.layer_windows)) > 1 else (7,) if config.windows else ()
    width = config.heads // config.kv_heads
    return replace(
        config, vocab_size=90, layers=2, width=WIDTH, heads=2 * width, kv_heads=2, mlp_width=WIDTH, context=64,
        windows=windows, rope=replace(config.rope, nope_layers=(1,) if config.rope.nope_layers else ()),
        ngram_rows=min(config.ngram_rows, 50),
    )  # fmt: skip


@cache
def _wrong(config: ModelConfig, kind: _Kind) -> str:
    """Return in one sentence how far the native pass is from torch for a tiny model of a kind; "" if it is close."""
    bits, group = kind
    config = replace(config, width=max(WIDTH, group), mlp_width=max(WIDTH, group))
    plain, other = random_model(config), random_model(config)
    if bits < 32:
        quantize_both(plain, other, Grid(bits, group, symmetric=bits == 8))
    ids = [torch.randint(0, config.vocab_size, (n,), generator=torch.Generator().manual_seed(n)) for n in LENGTHS]
    with torch.inference_mode():
        expected = torch.cat([plain(row[None])[0] for row in ids])
    found = logits(other, ids)
    off = float((found - expected).abs().max() / expected.abs().max())
    if off <= NEAR:  # false for NaN
        return ""
    return f"The native forward pass differs by {off:.1e} from torch for {bits}-bit weights on this machine."


def random_model(config: ModelConfig) -> Transformer:
    """Return a model with random weights in which every part affects the result."""
    model, generator = Transformer(config).eval(), torch.Generator().manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.1, generator=generator)
    return model


def quantize_both(plain: Transformer, other: Transformer, grid: Grid) -> None:
    """Quantize the linear layers of `other`, and set those of `plain`, an equal model, to the dequantized values."""
    for name, linear in {**linear_layers(plain), "unembed": plain.unembed}.items():
        integers = round_nearest(
            linear.weight.detach(), grid if linear.in_features % max(grid.group, 1) == 0 else Grid(8)
        )
        layer = (Weights4 if integers.grid.bits == 4 else Weights8)(integers, linear.bias)
        other.set_submodule(name, layer)
        dequantized = integers.dequantized()
        if isinstance(layer, Weights4):  # torch rounds their scales
            scales, middles = by_blocks(layer)[1].to(torch.float32).unbind(-1)
            grouped = integers.values.unflatten(1, (len(scales), -1))
            dequantized = (grouped * scales.T[..., None] + middles.T[..., None]).flatten(1)
        linear.weight = torch.nn.Parameter(dequantized)


def logits(model: Transformer, rows: list[Tensor]) -> Tensor:
    """Return the native logits of rows, one after the other, [N, V]: processed in uneven chunks, in shuffled blocks."""
    counts = [blocks_for(len(row)) for row in rows]
    shuffled = torch.randperm(sum(counts), generator=torch.Generator().manual_seed(1)).tolist()
    tables = [shuffled[sum(counts[:row]) : sum(counts[: row + 1])] for row in range(len(rows))]
    runner = NativeRunner(model, Pages(model.config, sum(counts), torch.device("cpu"), torch.float32))
    parts: list[list[Tensor]] = [[] for _ in rows]
    done, size = 0, 9
    while any(done < len(row) for row in rows):
        active = [place for place, row in enumerate(rows) if done < len(row)]
        chunks = [Chunk(rows[place][done : done + size].tolist(), done, tables[place]) for place in active]
        split = runner.head(runner.hidden(chunks)).split([len(chunk.ids) for chunk in chunks])
        for place, part in zip(active, split, strict=True):
            parts[place].append(part)
        done, size = done + size, 1 if size == 9 and done else 9
    return torch.cat([torch.cat(part) for part in parts])
