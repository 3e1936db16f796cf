"""Act: merge a LoRA adapter into its base model, or average the weights of two models.

Input: an adapter in PEFT's format and the model it was trained on, or a model and one that was trained from it. Output:
`models/NAME`, a plain model. The average of a model before and after tuning keeps more of what it could do before than
the tuned model, and much of what it learned (Wortsman et al. 2022; of RLHF, Lin et al. 2024).
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
from sayso.base.log import act_log, say
from sayso.base.made import check_apart
from sayso.base.ranges import Options, Range
from sayso.model import Transformer
from sayso.model.adapters import merge as fold
from sayso.run.results import Written
from sayso.token.load import tokenizer_fingerprint
from sayso.weights.adapter import WEIGHTS, load_adapter
from sayso.weights.folder import load_model, save_model
from sayso.weights.lineage import read_lineage
from sayso.weights.models import is_made, resolve_model
from sayso.weights.tensors import weights_file


@dataclass(frozen=True)
class Merge(Options):
    """Options of `sayso merge`."""

    _: KW_ONLY
    adapter: Path | None = None
    """Adapter folder, with adapter_config.json and adapter_model.safetensors, to merge into the parent."""
    average: str | None = None
    """Model with the parent's shape and tokenizer, to average with the parent instead."""
    share: Annotated[float, Range(0, 1, above=True, below=True)] = 0.5
    """Share of the parent's weights in the average."""
    parent: str
    """Base model of the adapter, or one of the two to average: a name in the life, or the path of a model folder."""
    name: str
    """Name of the new model."""
    life: Path = Path("life")
    """Folder of the life."""
    replace: bool = False
    """Replace an existing model of this name."""


@exclusive(model_output)
def merge(options: Merge) -> Written:
    """Merge a LoRA adapter in PEFT's format into its base model, or average two models."""
    if (options.adapter is None) == (options.average is None):
        raise UserError("A model is merged with --adapter FOLDER or averaged with --average MODEL; give one of them.")
    life = Life(options.life)
    parent, folder = resolve_model(life, options.parent), life.model(options.name)
    other = resolve_model(life, options.average) if options.average is not None else options.adapter
    assert other is not None
    check_apart([folder], [parent, other])
    pick_device("cpu")
    model, tokenizer = load_model(parent, plain=True)
    made = _folded(model, parent, other) if options.average is None else _averaged(model, parent, other, options.share)
    if is_made(folder, made, replace=options.replace):
        say(f"The model '{options.name}' has already been merged.")
        return Written(folder, finished_before=True)
    with act_log(life, "merge", options.name, options):
        save_model(model, tokenizer, folder, made)
    say(f"Saved {folder}.")
    return Written(folder)


def _folded(model: Transformer, parent: Path, adapter: Path) -> dict[str, Any]:
    """Merge an adapter into its model; return the lineage of the result."""
    lora = load_adapter(model, adapter)
    fold(model)
    return {
        "stage": "merged",
        "parent": _marked(parent, weights_file(parent)),
        "data": [f"adapter {_marked(adapter, adapter / WEIGHTS)}"],
        "config": {"lora": lora},
        "seed": None,
    }


@torch.no_grad()
def _averaged(model: Transformer, parent: Path, other: Path, share: float) -> dict[str, Any]:
    """Average a model's weights with another one's; return the lineage of the result, which is of the other's stage.

    Raises `UserError` for models of different shapes or tokenizers.
    """
    second, _ = load_model(other, plain=True)
    if second.config != model.config or tokenizer_fingerprint(parent) != tokenizer_fingerprint(other):
        raise UserError(
            f"Models are averaged weight by weight, so they need the same shape and tokenizer; '{parent.name}' and "
            f"'{other.name}' differ. Average a model with one that was tuned from it."
        )
    for weight, one in zip(model.parameters(), second.parameters(), strict=True):
        weight.lerp_(one, 1 - share)
    return {
        "stage": read_lineage(other).get("stage", "merged"),
        "parent": _marked(other, weights_file(other)),
        "data": [f"average {_marked(parent, weights_file(parent))}"],
        "config": {"share": share},
        "seed": None,
    }


def _marked(folder: Path, weights: Path) -> str:
    return f"{folder.name} {sha256(weights)[:12]}"
