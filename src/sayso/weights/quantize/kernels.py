"""Matrix products with integer weights: torch's own kernels where they work, and the reference that they must match.

torch does not guarantee these operations (their names begin with an underscore; torchao calls the same), nor does every
processor have them: each is tested once per device before it is used, with one warning if it fails.
N rows, C inputs, R outputs, G groups of a row.
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
_NEAR = 0.02
"""How far, of the largest result, a kernel may be from the definition: bfloat16 keeps 8 bits of each input."""


def product8(x: Tensor, weight: Tensor) -> Tensor:
    """Return x W^T, float32 [N, R], for int8 x [N, C] and W [R, C], summed in 32 bits."""
    if works("product8", x.device.type):
        return _int_mm(x, weight)
    return F.linear(x.to(torch.float32), weight.to(torch.float32))


def weights8(x: Tensor, weight: Tensor) -> Tensor:
    """Return x W^T, float32 [N, R], for float32 x [N, C] and int8 W [R, C]; a kernel rounds x to bfloat16."""
    if works("weights8", x.device.type):
        return _int8pack_mm(x, weight)
    return F.linear(x, weight.to(torch.float32))


def pack4(integers: Integers) -> tuple[Tensor, Tensor] | None:
    """Return 4-bit weights and their scales as `weights4` takes them; None where no kernel here takes this shape."""
    if not works("weights4", integers.values.device.type):
        return None
    try:
        return _pack4(integers)
    except RuntimeError:  # a size that is not a multiple of what the kernel wants
        return None


def weights4(x: Tensor, packed: Tensor, scales: Tensor, group: int) -> Tensor:
    """Return x W^T, float32 [N, R], for float32 x [N, C], which is rounded to bfloat16, and what `pack4` gave."""
    if x.device.type == "cpu":
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(x.to(torch.bfloat16), packed, group, scales)
    else:
        y = torch.ops.aten._weight_int4pack_mm(x.to(torch.bfloat16), packed, group, scales)
    return y.to(torch.float32)


@cache
def works(kernel: str, device: str) -> bool:
    """Whether a kernel is there on a kind of device, and gives what the definition gives; tells where it does not."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(_ROWS, 128, generator=generator), torch.randn(64, 128, generator=generator)
    try:
        difference = TESTS[kernel](x.to(device), weight.to(device))
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return _told(kernel, device, said)
    return difference < _NEAR or _told(kernel, device, f"it is {difference:.3f} off")


def _told(kernel: str, device: str, why: str) -> bool:
    warn(f"No kernel for {kernel} on this {device} ({why}): weights are unpacked for each product, which is slow.")
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
    """Scales for a kernel that would round real ones to bfloat16."""
    return torch.ones(count, dtype=torch.bfloat16, device=device)


def _pack4(integers: Integers) -> tuple[Tensor, Tensor]:
    whole, scales = integers.values.to(torch.int32) + 8, integers.scales
    zeros = torch.zeros_like(scales) if integers.zeros is None else -scales * integers.zeros
    if whole.device.type == "cpu":
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(whole, 1)
    else:
        pairs = (whole[:, ::2] << 4 | whole[:, 1::2]).to(torch.uint8)
        packed = torch.ops.aten._convert_weight_to_int4pack(pairs, 8)
    return packed, torch.stack([scales, zeros], dim=-1).transpose(0, 1).contiguous().to(torch.bfloat16)


def _off(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def _test_product8(x: Tensor, weight: Tensor) -> float:
    whole = (x * 20).round().to(torch.int8), (weight * 20).round().to(torch.int8)
    return _off(_int_mm(*whole), F.linear(*(part.to(torch.float32) for part in whole)))


def _test_weights8(x: Tensor, weight: Tensor) -> float:
    whole = (weight * 20).round().to(torch.int8)
    return _off(_int8pack_mm(x, whole), F.linear(x, whole.to(torch.float32)))


def _test_weights4(x: Tensor, weight: Tensor) -> float:
    integers = round_nearest(weight, Grid(4, 64, symmetric=False))
    return _off(weights4(x, *_pack4(integers), 64), F.linear(x, integers.dequantized()))


TESTS: dict[str, Callable[[Tensor, Tensor], float]] = {
    "product8": _test_product8,
    "weights8": _test_weights8,
    "weights4": _test_weights4,
}
