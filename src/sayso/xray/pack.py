"""Numbers for the browser: a JSON header and little-endian arrays in one piece of bytes.

    4 bytes: length of the header | header {"meta": ..., "arrays": {name: [type, shape, offset]}} | the arrays

Offsets count from the end of the header, which is padded so that they are multiples of 8.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TYPES = {torch.float32: "f4", torch.int32: "i4", torch.uint8: "u1"}


@dataclass(frozen=True)
class Panel:
    """What a panel draws: JSON-ready facts, and arrays by name."""

    meta: dict[str, Any]
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    """float32, int32 or uint8; wider types are converted."""

    def packed(self) -> bytes:
        """Return the panel in the format of this module."""
        places, data, at = {}, [], 0
        for name, values in self.arrays.items():
            plain = _plain(values)
            piece = plain.numpy().tobytes()
            places[name] = [TYPES[plain.dtype], list(plain.shape), at]
            data.append(piece + bytes(-len(piece) % 8))
            at += len(data[-1])
        header = json.dumps({"meta": self.meta, "arrays": places}, ensure_ascii=False, allow_nan=False).encode()
        header += b" " * (-(len(header) + 4) % 8)
        return len(header).to_bytes(4, "little") + header + b"".join(data)


def _plain(values: Tensor) -> Tensor:
    values = values.detach().cpu().contiguous()
    if values.dtype in TYPES:
        return values
    return values.float() if values.is_floating_point() else values.to(torch.int32)
