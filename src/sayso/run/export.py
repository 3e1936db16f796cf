"""Act: export a model as a GGUF file for llama.cpp and programs built on it.

A model folder already has the Hugging Face layout, so `transformers` and vLLM open it without an export.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import say
from sayso.base.made import new_file
from sayso.base.ranges import Options
from sayso.run.results import Written
from sayso.weights.folder import load_model
from sayso.weights.gguf.write import write_gguf
from sayso.weights.models import called, newest_model


@dataclass(frozen=True)
class Export(Options):
    """Options of `sayso export`."""

    model: str = "aligned"
    """Model of the life, or path of a model folder. The default falls back to the latest stage that exists."""
    _: KW_ONLY
    format: Literal["f16", "q8_0", "q4_0"] = "f16"
    """Format of the weights: 16 bits, or 8 or 4 bits in blocks of 32 that share a scale."""
    to: Path | None = None
    """Output file. Default: MODEL-FORMAT.gguf."""
    replace: bool = False
    """Overwrite the file if it exists."""
    life: Path = Path("life")
    """Folder of the life."""


def export(options: Export) -> Written:
    """Export a model as a GGUF file for llama.cpp."""
    folder = newest_model(Life(options.life), options.model)
    path = options.to or Path(f"{called(folder)}-{options.format}.gguf")
    new_file(path, "--to", options.replace)
    if path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--to must be outside the model's own folder; got '{path}'. Choose another path.")
    with locked(path):
        new_file(path, "--to", options.replace)
        pick_device("cpu")
        model, tokenizer = load_model(folder, plain=True)
        write_gguf(model, tokenizer, path, options.format, folder.name)
    say(f"Saved {path}: {path.stat().st_size / 1e6:,.1f} MB.")
    return Written(path)
