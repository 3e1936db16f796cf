"""Act: a model and an adapter become one model.

An adapter in PEFT's format enters, from here or elsewhere, and the model that it was trained on; `models/NAME` leaves,
a plain model for everything downstream.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from sayso.base.device import pick_device
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.base.lock import alone, model_of
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
    """The adapter's folder, with adapter_config.json and adapter_model.safetensors."""
    parent: str
    """The model that it was trained on: one of the life, or the path of a model folder."""
    name: str
    """What the new model is called."""
    life: Path = Path("life")
    """The folder of the life."""
    replace: bool = False
    """Replace another model that has this name already."""


@alone(model_of)
def merge(options: Merge) -> Written:
    """Fold an adapter in PEFT's format into the model it was trained on."""
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
        say(f"The model '{options.name}' is merged already.")
        return Written(folder, finished_before=True)
    with act_log(life, "merge", options.name, options):
        fold(model)
        save_model(model, tokenizer, folder, lineage)
    say(f"Saved {folder}.")
    return Written(folder)
