"""4-bit weights in the format of linear.h: blocks of 64 rows, column after column, rows b and b + 32 in one byte.

torch packs weights for its own kernel in an undocumented format. Where it is the format above, as with AVX-512 and full
blocks, its tensor is used without a copy. R rows, C columns, G groups per row.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.weights.quantize.layers import Weights4

_ROWS = 64


def by_blocks(layer: Weights4) -> tuple[Tensor, Tensor]:
    """Return the layer's nibbles, uint8 [R/64, C, 32], and per group its scale and the value of nibble 8, [G, R, 2].

    The latter are bfloat16 as in torch, or float32 where torch has no kernel.
    """
    rows, columns = layer.out_features, layer.in_features
    if layer.integers is not None:
        scales, zeros = layer.integers.scales, layer.integers.zeros
        middles = torch.zeros_like(scales) if zeros is None else -scales * zeros
        grid = torch.stack([scales, middles], dim=-1).transpose(0, 1).contiguous()
        return packed(layer.integers.values.to(torch.int16) + 8), grid
    if rows % _ROWS == 0 and _torch_format_matches():
        return layer.packed, layer.scales
    return packed(unpacked(layer.packed, rows, columns)), layer.scales


def packed(nibbles: Tensor) -> Tensor:
    """Return integers from 0 to 15 [R, C] as uint8 [R/64, C, 32]; the last block is padded with zeros."""
    padded = F.pad(nibbles.to(torch.uint8), (0, 0, 0, -len(nibbles) % _ROWS))
    low, high = padded.view(-1, 2, _ROWS // 2, padded.shape[1]).unbind(1)
    return (low | high << 4).transpose(1, 2).contiguous()


def unpacked(torch_packed: Tensor, rows: int, columns: int) -> Tensor:
    """Return the integers from 0 to 15, uint8 [R, C], that torch packed.

    The position of each is found by packing the positions themselves, four bits at a time.
    """
    count = rows * columns
    places, source = torch.arange(count).view(rows, columns), torch.zeros(count, dtype=torch.long)
    for shift in range(0, count.bit_length(), 4):
        source |= _halves(_torch_pack(places >> shift & 15)).to(torch.long) << shift
    values = torch.empty(count, dtype=torch.uint8)
    values[source] = _halves(torch_packed)
    return values.view(rows, columns)


@cache
def _torch_format_matches() -> bool:
    probe = torch.randint(0, 16, (2 * _ROWS, 32), generator=torch.Generator().manual_seed(0))
    return torch.equal(_torch_pack(probe).flatten(), packed(probe).flatten())


def _torch_pack(nibbles: Tensor) -> Tensor:
    pairs: Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(nibbles.to(torch.int32), 1)
    return pairs


def _halves(pairs: Tensor) -> Tensor:
    return torch.stack([pairs & 15, pairs >> 4], dim=-1).flatten()
