"""Read the model and the tokenizer of a GGUF file."""

from pathlib import Path
from typing import Any

from torch import Tensor

from sayso.token.foreign import ForeignTokenizer
from sayso.weights.gguf.file import GGUF
from sayso.weights.gguf.names import hub_config, hub_state
from sayso.weights.gguf.tokenizer import gguf_tokenizer


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], ForeignTokenizer]:
    """Return config.json and tensors (float32) in the hub's layout, and the tokenizer.

    Raises `UserError` for a damaged file, and for an unsupported model or tokenizer.
    """
    file = GGUF(path)
    config = hub_config(file)
    return config, hub_state(file, config), gguf_tokenizer(file)
