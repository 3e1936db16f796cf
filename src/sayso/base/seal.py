"""JSON objects with a checksum, so that a change of any byte is detected.

`seal` adds a `crc32` to an object; `unseal` verifies and removes it. Objects without one, written by other programs or
earlier versions, are accepted.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

CHECKSUM = "crc32"


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON-ready object with the checksum of its content."""
    return {**value, CHECKSUM: _crc(value)}


def unseal(value: Any) -> Any:
    """Return a sealed object's content, or any other value unchanged. Raises `ValueError` if the checksum is wrong."""
    if not isinstance(value, dict) or CHECKSUM not in value:
        return value
    content = {key: part for key, part in value.items() if key != CHECKSUM}
    if _crc(content) != value[CHECKSUM]:
        raise ValueError("its content does not match its checksum")
    return content


def _crc(value: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(value).encode())
