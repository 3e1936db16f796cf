"""Matrix products with integer weights: PyTorch's kernels where they work, else a reference implementation.

These operations are private in PyTorch (torchao calls the same ones) and missing on some devices, so each is tested
once per device before use, with one warning if it fails. N rows, C inputs, R outputs, G groups per row.
"""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.log import warn
from sayso.weights.quantize.integers import Grid, Integers, round_nearest

_ROWS = 32
"""An integer matrix product on a GPU requires more than 16 rows."""
_COLUMNS = 32
"""On a CPU, the kernel for 8-bit weights reads beyond a row whose size is no multiple of its vectors."""
_NEAR = 0.02
"""Allowed error of a kernel relative to the largest result: bfloat16 keeps 8 bits of each input."""


def product8(x: Tensor, weight: Tensor) -> Tensor:
    """Return x W^T, float32 [N, R], for int8 x [N, C] and W [R, C], summed in 32 bits."""
    if works("product8", x.device.type):
        return _int_mm(x, weight)
    return F.linear(x.to(torch.float32), weight.to(torch.float32))


def weights8(x: Tensor, weight: Tensor) -> Tensor:
    """Return x W^T, float32 [N, R], for float32 x [N, C] and int8 W [R, C]; the kernel rounds x to bfloat16.

    Where C is no multiple of 32, the product is that of the unpacked weights, without such rounding.
    """
    if weight.shape[1] % _COLUMNS == 0 and works("weights8", x.device.type):
        return _int8pack_mm(x, weight)
    return F.linear(x, weight.to(torch.float32))


def pack4(integers: Integers) -> tuple[Tensor, Tensor] | None:
    """Return 4-bit weights and their scales for `weights4`; None if no kernel supports the device or the shape."""
    if not works("weights4", integers.values.device.type):
        return None
    try:
        return _pack4(integers)
    except RuntimeError:  # an unsupported size
        return None


def weights4(x: Tensor, packed: Tensor, scales: Tensor, group: int) -> Tensor:
    """Return x W^T, float32 [N, R], for float32 x [N, C], rounded to bfloat16, and weights from `pack4`."""
    if x.device.type == "cpu":
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(x.to(torch.bfloat16), packed, group, scales)
    else:
        y = torch.ops.aten._weight_int4pack_mm(x.to(torch.bfloat16), packed, group, scales)
    return y.to(torch.float32)


@cache
def works(kernel: str, device: str) -> bool:
    """Whether a kernel exists for a device type and agrees with the reference; warns if not."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(_ROWS, 128, generator=generator), torch.randn(64, 128, generator=generator)
    try:
        difference = TESTS[kernel](x.to(device), weight.to(device))
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    else:
        if difference < _NEAR:
            return True
        reason = f"its relative error is {difference:.3f}"
    warn(f"No kernel for {kernel} on this {device} ({reason}): weights are unpacked for each product, which is slow.")
    return False


def _int_mm(x: Tensor, weight: Tensor) -> Tensor:
    rows = len(x)
    if x.device.type != "cpu" and rows < _ROWS:
        x = F.pad(x, (0, 0, 0, _ROWS - rows))
    return torch._int_mm(x, weight.T)[:rows].to(torch.float32)


def _int8pack_mm(x: Tensor, weight: Tensor) -> Tensor:
    return torch._weight_int8pack_mm(x.to(torch.bfloat16), weight, _ones(len(weight), x.device)).to(torch.float32)


@cache
def _ones(count: int, device: torch.device) -> Tensor:
    """Return scales of 1; the kernel would round the actual ones to bfloat16."""
    return torch.ones(count, dtype=torch.bfloat16, device=device)


def _pack4(integers: Integers) -> tuple[Tensor, Tensor]:
    unsigned, scales = integers.values.to(torch.int32) + 8, integers.scales
    zeros = torch.zeros_like(scales) if integers.zeros is None else -scales * integers.zeros
    if unsigned.device.type == "cpu":
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(unsigned, 1)
    else:
        pairs = (unsigned[:, ::2] << 4 | unsigned[:, 1::2]).to(torch.uint8)
        packed = torch.ops.aten._convert_weight_to_int4pack(pairs, 8)
    return packed, torch.stack([scales, zeros], dim=-1).transpose(0, 1).contiguous().to(torch.bfloat16)


def _relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _test_product8(x: Tensor, weight: Tensor) -> float:
    integers = (x * 20).round().to(torch.int8), (weight * 20).round().to(torch.int8)
    return _relative_error(_int_mm(*integers), F.linear(*(part.to(torch.float32) for part in integers)))


def _test_weights8(x: Tensor, weight: Tensor) -> float:
    integers = (weight * 20).round().to(torch.int8)
    return _relative_error(_int8pack_mm(x, integers), F.linear(x, integers.to(torch.float32)))


def _test_weights4(x: Tensor, weight: Tensor) -> float:
    integers = round_nearest(weight, Grid(4, 64, symmetric=False))
    return _relative_error(weights4(x, *_pack4(integers), 64), F.linear(x, integers.dequantized()))


TESTS: dict[str, Callable[[Tensor, Tensor], float]] = {
    "product8": _test_product8,
    "weights8": _test_weights8,
    "weights4": _test_weights4,
}
