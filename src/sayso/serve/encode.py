"""JSON encoding for responses: valid UTF-8, whatever strings a client sent."""

import json
from typing import Any

from fastapi.responses import JSONResponse

from sayso.token.tokenizer import is_text


def to_json(data: Any) -> str:
    """Return data as JSON. A lone surrogate, which UTF-8 cannot encode, is written as an escape."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if is_text(text) else json.dumps(data, separators=(",", ":"))


class Json(JSONResponse):
    """A response with JSON of any data."""

    def render(self, content: Any) -> bytes:
        """Return the encoded body."""
        return to_json(content).encode()
