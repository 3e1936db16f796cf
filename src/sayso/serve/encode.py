"""Data as JSON on the wire: values enter, text that UTF-8 can hold leaves, whatever strings a client had sent."""

import json
from typing import Any

from fastapi.responses import JSONResponse

from sayso.token.tokenizer import is_text


def to_json(data: Any) -> str:
    """Return data as JSON. Half of a surrogate pair, which UTF-8 cannot hold, is written as it was sent: escaped."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if is_text(text) else json.dumps(data, separators=(",", ":"))


class Json(JSONResponse):
    """A response with JSON of any data."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content).encode()
