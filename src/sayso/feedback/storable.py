"""What a database can store: takes text or JSON-ready data, returns it with U+FFFD for each other character."""

import re
from collections.abc import Mapping
from typing import Any

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL accepts no NUL, UTF-8 no lone surrogate


def storable(value: Any) -> Any:
    """Return text, or JSON-ready data with such texts."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {storable(name): storable(one) for name, one in value.items()}
    return [storable(one) for one in value] if isinstance(value, list | tuple) else value
