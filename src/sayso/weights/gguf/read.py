"""A GGUF file becomes a model of ours and its tokenizer."""

from pathlib import Path
from typing import Any

from torch import Tensor

from sayso.token.foreign import ForeignTokenizer
from sayso.weights.gguf.file import GGUF
from sayso.weights.gguf.names import hub_config, hub_state
from sayso.weights.gguf.tokenizer import gguf_tokenizer


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], ForeignTokenizer]:
    """Return config.json and tensors (float32) as the hub would have them, and the tokenizer.

    Raises `UserError` for a broken file, and for a model or tokenizer that is not known here.
    """
    file = GGUF(path)
    config = hub_config(file)
    return config, hub_state(file, config), gguf_tokenizer(file)
