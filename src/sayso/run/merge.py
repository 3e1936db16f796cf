"""Act: merge a LoRA adapter into its base model.

Input: an adapter in PEFT's format and the model it was trained on. Output: `models/NAME`, a plain model.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from sayso.base.device import pick_device
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
from sayso.base.log import act_log, say
from sayso.base.made import check_apart
from sayso.base.ranges import Options
from sayso.model.adapters import merge as fold
from sayso.run.results import Written
from sayso.weights.adapter import WEIGHTS, load_adapter
from sayso.weights.folder import load_model, save_model
from sayso.weights.models import is_made, resolve_model
from sayso.weights.tensors import weights_file


@dataclass(frozen=True)
class Merge(Options):
    """Options of `sayso merge`."""

    _: KW_ONLY
    adapter: Path
    """Adapter folder, with adapter_config.json and adapter_model.safetensors."""
    parent: str
    """Base model of the adapter: the name of a model of the life, or the path of a model folder."""
    name: str
    """Name of the new model."""
    life: Path = Path("life")
    """Folder of the life."""
    replace: bool = False
    """Replace an existing model of this name."""


@exclusive(model_output)
def merge(options: Merge) -> Written:
    """Merge a LoRA adapter in PEFT's format into its base model."""
    life = Life(options.life)
    parent, folder = resolve_model(life, options.parent), life.model(options.name)
    check_apart([folder], [parent, options.adapter])
    pick_device("cpu")
    model, tokenizer = load_model(parent, plain=True)
    lora = load_adapter(model, options.adapter)
    marks = [sha256(path)[:12] for path in (weights_file(parent), options.adapter / WEIGHTS)]
    lineage = {
        "stage": "merged",
        "parent": f"{parent.name} {marks[0]}",
        "data": [f"adapter {options.adapter.name} {marks[1]}"],
        "config": {"lora": lora},
        "seed": None,
    }
    if is_made(folder, lineage, replace=options.replace):
        say(f"The model '{options.name}' has already been merged.")
        return Written(folder, finished_before=True)
    with act_log(life, "merge", options.name, options):
        fold(model)
        save_model(model, tokenizer, folder, lineage)
    say(f"Saved {folder}.")
    return Written(folder)
