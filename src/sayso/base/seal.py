"""JSON objects that carry a checksum, so that a change of any byte is noticed.

An object enters, the same with a `crc32` leaves; reading takes that off again. Objects without one, written by others
or by earlier versions, are accepted.
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
    """Return what was sealed, and anything else as it is; `ValueError` when content and checksum do not match."""
    if not isinstance(value, dict) or CHECKSUM not in value:
        return value
    content = {key: part for key, part in value.items() if key != CHECKSUM}
    if _crc(content) != value[CHECKSUM]:
        raise ValueError("its content does not match its checksum")
    return content


def _crc(value: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(value).encode())
