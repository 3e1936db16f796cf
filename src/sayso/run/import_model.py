"""Act: import a third-party model.

Input: a folder in the Hugging Face layout, a Hub repository, a GGUF file, a llama2.c model, or a Python package that
contains one. Output: `models/NAME`, which every other act can use.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.life import STAGES, Life
from sayso.base.lock import locked
from sayso.base.log import act_log, say
from sayso.base.made import check_apart
from sayso.base.ranges import Options
from sayso.run.results import Written
from sayso.token.foreign import ForeignTokenizer
from sayso.weights.folder import save_model
from sayso.weights.models import is_made
from sayso.weights.sources import locate, open_files
from sayso.weights.tensors import weights_file


@dataclass(frozen=True)
class Import(Options):
    """Options of `sayso import`."""

    source: str
    """Model folder, FILE.gguf, FILE.bin (llama2.c), OWNER/NAME[/FILE.gguf] on the Hub, pip:PACKAGE, or smollm2."""
    _: KW_ONLY
    name: str | None = None
    """Name of the model in the life. Default: derived from the source."""
    life: Path = Path("life")
    """Folder of the life."""
    replace: bool = False
    """Replace an existing model of this name."""


def import_model(options: Import) -> Written:
    """Import a third-party model into the life."""
    path, name, license_name = locate(options.source)
    name = name if options.name is None else options.name
    with locked(Life(options.life).model(name)):
        return _bring(options, path, name, license_name)


def _bring(options: Import, path: Path, name: str, license_name: str) -> Written:
    life = Life(options.life)
    folder = life.model(name)
    check_apart([folder], [path])
    mark = sha256(path if path.is_file() else weights_file(path))[:12]
    lineage: dict[str, Any] = {"stage": "imported", "parent": f"{options.source} {mark}", "data": [], "seed": None}
    if license_name:
        lineage["licence"] = license_name
    if is_made(folder, lineage, replace=options.replace):
        say(f"The model '{name}' has already been imported.")
        return Written(folder, finished_before=True)
    if name in STAGES[1:]:
        raise UserError(f"{' and '.join(STAGES[1:])} are reserved for trained models; choose another --name.")
    pick_device("cpu")
    with act_log(life, "import", name, options):
        model, tokenizer = open_files(path)
        save_model(model, tokenizer, folder, lineage)
    config = model.config
    say(
        f"Saved {folder}: {sum(weight.numel() for weight in model.parameters()) / 1e6:,.1f}M weights, "
        f"{config.layers} layers, {config.width} wide, context {config.context:,}."
    )
    for difference in tokenizer.differences() if isinstance(tokenizer, ForeignTokenizer) else ():
        say(difference)
    say(f"Try: sayso {'chat' if tokenizer.chat_template else 'generate TEXT'} --model {name} --life {life.root}")
    return Written(folder)
