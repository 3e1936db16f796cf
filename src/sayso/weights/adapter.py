"""LoRA in PEFT's format, in and out: a folder with adapter_config.json and adapter_model.safetensors.

An adapter of ours opens in `peft` on the model folder it was trained from; one of PEFT's is put beside a model's layers
here, whatever its scaling and patterns of ranks. What PEFT can do beyond plain LoRA on the blocks is refused.
"""

import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import atomic_folder, read_json, write_json
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, LoRALinear, linear_layers, wrap
from sayso.weights.names import hub_layers
from sayso.weights.tensors import read_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
PEFT_DEFAULT = 8  # of rank and of alpha
UNDERSTOOD = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision"),
    *("task_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_pattern", "layers_to_transform", "init_lora_weights", "bias"),
    *("eva_config", "fan_in_fan_out", "megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying"),
}
"""Settings of adapter_config.json that are heeded here, or do not change what trained weights mean."""
PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")  # the others change the matrices under the adapter


def save_adapter(layers: dict[str, LoRALinear], config: ModelConfig, lora: LoRA, parent: str, folder: Path) -> None:
    """Write adapted layers, by their names in a model of shape `config`; `parent` is where that model lies."""
    names = hub_layers(layers, config)
    tensors = {
        f"{PREFIX}{names[name]}.lora_{part}.weight": weight.detach().cpu().contiguous()
        for name, layer in layers.items()
        for part, weight in (("A", layer.a), ("B", layer.b))
    }
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": parent,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "target_modules": sorted({name.rpartition(".")[2] for name in names.values()}),
        "lora_dropout": 0.0,
        "use_rslora": False,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "inference_mode": True,
    }
    with atomic_folder(folder) as part_folder:
        save_file(tensors, part_folder / WEIGHTS, metadata={"format": "pt"})
        write_json(part_folder / CONFIG, settings)


def load_adapter(model: Transformer, folder: Path) -> dict[str, Any]:
    """Put the adapter of a folder beside the model's layers; return its rank, alpha and targets as JSON-ready data.

    Raises `UserError` for what is no whole adapter, is none of plain LoRA, or belongs to a model of another shape.
    """
    if not (folder / CONFIG).exists():
        raise UserError(f"'{folder}' is not an adapter folder: it has no {CONFIG}.")
    settings = read_json(folder / CONFIG)
    _check(folder, settings)
    found = _paired(folder, model, read_tensors(folder / WEIGHTS))
    wrap(model, ((name, a, b, _scale(settings, theirs, len(a))) for name, (theirs, a, b) in found.items()))
    return {
        "rank": settings.get("r", PEFT_DEFAULT),
        "alpha": settings.get("lora_alpha", PEFT_DEFAULT),
        "targets": list(dict.fromkeys(name.rpartition(".")[2] for name in found)),
    }


def adapted(model: Transformer, folder: Path) -> Transformer:
    """Return another model with the adapter of a folder beside the same weights, which are shared; errors as above."""
    with torch.device("meta"):
        twin = Transformer(model.config)
    twin.load_state_dict(model.state_dict(), assign=True)
    load_adapter(twin, folder)
    return twin.eval()


def _check(folder: Path, settings: dict[str, Any]) -> None:
    """Refuse what is more than plain LoRA."""
    beyond = [f"{key} ({value})" for key, value in settings.items() if value and key not in UNDERSTOOD]
    if settings.get("peft_type") != "LORA":
        beyond.insert(0, f"peft_type ({settings.get('peft_type')})")
    if settings.get("bias", "none") != "none":
        beyond.append(f"bias ({settings['bias']})")
    if (start := settings.get("init_lora_weights", True)) not in PLAIN_STARTS:
        beyond.append(f"init_lora_weights ({start})")
    if beyond:
        raise UserError(
            f"Sayso opens plain LoRA on linear layers; the adapter in '{folder}' sets {', '.join(beyond)}: merge it "
            "with peft and take the whole model."
        )


def _paired(folder: Path, model: Transformer, tensors: dict[str, Tensor]) -> dict[str, tuple[str, Tensor, Tensor]]:
    """Return PEFT's name, A and B of each adapted layer by our name for it."""
    layers = linear_layers(model)
    ours = {theirs: name for name, theirs in hub_layers(layers, model.config).items()}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        theirs, _, kind = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
        if theirs not in ours or kind not in ("lora_A", "lora_B"):
            raise UserError(
                f"Sayso opens adapters of the linear layers of the {model.config.layers} blocks of this model; "
                f"'{folder}' has '{key}': choose its parent, or merge it with peft."
            )
        parts.setdefault(theirs, {})[kind] = tensor
    for theirs, pair in parts.items():
        layer, shapes = layers[ours[theirs]], {kind: list(tensor.shape) for kind, tensor in sorted(pair.items())}
        rank = len(pair["lora_A"]) if "lora_A" in pair else 0
        fitting = {"lora_A": [rank, layer.in_features], "lora_B": [layer.out_features, rank]}
        if not rank or shapes != fitting:
            raise UserError(
                f"The adapter in '{folder}' does not fit this model, where '{theirs}' takes {layer.in_features} and "
                f"gives {layer.out_features} numbers; got {shapes}: choose its parent, or copy it again."
            )
    return {
        name: (theirs, parts[theirs]["lora_A"], parts[theirs]["lora_B"])
        for theirs, name in ours.items()
        if theirs in parts
    }


def _scale(settings: dict[str, Any], layer: str, rank: int) -> float:
    """Return alpha / rank, or alpha / sqrt(rank) if rank-stabilised (Kalajdzievski 2023), by the layer's own alpha."""
    patterns = settings.get("alpha_pattern") or {}
    matching = (alpha for pattern, alpha in patterns.items() if re.match(rf"(.*\.)?({pattern})$", layer))
    alpha: float = next(matching, settings.get("lora_alpha", PEFT_DEFAULT))
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
