"""Act: a model of the life becomes one file that other programs run.

The model's folder is in the Hugging Face layout already, which `transformers` and vLLM open as it is; here it becomes a
GGUF file, for llama.cpp and what builds on it.
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
    """A model of the life or the path of a model folder; without an aligned one the newest earlier stage."""
    _: KW_ONLY
    format: Literal["f16", "q8_0", "q4_0"] = "f16"
    """How weights are stored: in 16 bits, or in blocks of 32 with a common scale in 8 or 4 bits."""
    to: Path | None = None
    """The file to write; MODEL-FORMAT.gguf when not given."""
    replace: bool = False
    """Overwrite the file if it exists already."""
    life: Path = Path("life")
    """The folder of the life."""


def export(options: Export) -> Written:
    """Write a model as one GGUF file, which llama.cpp runs."""
    folder = newest_model(Life(options.life), options.model)
    path = options.to or Path(f"{called(folder)}-{options.format}.gguf")
    new_file(path, "--to", options.replace)
    if path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"A model is not exported into its own folder; '{path}' lies there: choose another --to.")
    with locked(path):
        new_file(path, "--to", options.replace)
        pick_device("cpu")
        model, tokenizer = load_model(folder, plain=True)
        write_gguf(model, tokenizer, path, options.format, folder.name)
    say(f"Saved {path}: {path.stat().st_size / 1e6:,.1f} MB.")
    return Written(path)
