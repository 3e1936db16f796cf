"""Save and load LoRA adapters in PEFT's format: a folder with adapter_config.json and adapter_model.safetensors.

Saved adapters open in `peft` on the model folder they were trained from. PEFT adapters load with any scaling and rank
pattern; PEFT features beyond plain LoRA on the blocks are rejected. Layers that are fused in a family's files (GPT-2's
queries, keys and values) are saved as one product: their A matrices stacked, their B matrices block-diagonal.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import read_object, write_json
from sayso.base.intact import DIGEST_SUFFIX, check_recorded, recorded
from sayso.base.made import made_folder
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, LoRALinear, linear_layers, wrap
from sayso.weights.families.family import Family
from sayso.weights.names import family_of
from sayso.weights.tensors import read_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
PEFT_DEFAULT = 8  # PEFT's default rank and alpha
_UNDERSTOOD = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision"),
    *("task_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_pattern", "layers_to_transform", "init_lora_weights", "bias"),
    *("eva_config", "fan_in_fan_out", "megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying"),
}
"""Settings of adapter_config.json that are supported, or that do not change what trained weights mean."""
PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")  # other initializations change the base weights


def save_adapter(layers: dict[str, LoRALinear], config: ModelConfig, lora: LoRA, parent: str, folder: Path) -> None:
    """Write adapted layers, keyed by name in a model with `config`; `parent` is the path of that model."""
    family = family_of(config)
    pairs = {theirs: _fused([layers.get(name) for name in ours]) for theirs, ours in _names(layers, family).items()}
    tensors = {
        f"{_PREFIX}{name}.lora_{part}.weight": weight.detach().cpu().contiguous()
        for name, pair in pairs.items()
        for part, weight in zip("AB", pair, strict=True)
    }
    times = {_target(name, family): len(a) // lora.rank for name, (a, _) in pairs.items() if len(a) > lora.rank}
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": parent,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "rank_pattern": {name: lora.rank * count for name, count in times.items()},
        "alpha_pattern": {name: lora.alpha * count for name, count in times.items()},
        "target_modules": sorted({_target(name, family) for name in pairs}),
        "lora_dropout": 0.0,
        "use_rslora": False,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": bool(family.fused),  # such matrices are transposed (Conv1D)
        "init_lora_weights": True,
        "modules_to_save": None,
        "inference_mode": True,
    }
    with made_folder(folder) as part_folder:
        with recorded(part_folder / WEIGHTS):
            save_file(tensors, part_folder / WEIGHTS, metadata={"format": "pt"})
        with recorded(part_folder / CONFIG):
            write_json(part_folder / CONFIG, settings)


def load_adapter(model: Transformer, folder: Path) -> dict[str, Any]:
    """Attach the adapter in a folder to the model's layers; return its rank, alpha and targets.

    Raises `UserError` if the adapter is incomplete, is not plain LoRA, or does not match the model's shape.
    """
    if not (folder / CONFIG).exists():
        raise UserError(f"'{folder}' is not an adapter folder: it has no {CONFIG}.")
    settings = read_object(folder / CONFIG)
    _check(folder, settings)
    for name in (CONFIG, WEIGHTS):
        check_recorded(folder / name, f"copy it again; if you changed it on purpose, remove '{name}{DIGEST_SUFFIX}'")
    found = _paired(folder, model, read_tensors(folder / WEIGHTS))
    wrap(model, ((name, a, b, _scale(settings, theirs, rank)) for name, (theirs, rank, a, b) in found.items()))
    return {
        "rank": settings.get("r", PEFT_DEFAULT),
        "alpha": settings.get("lora_alpha", PEFT_DEFAULT),
        "targets": list(dict.fromkeys(name.rpartition(".")[2] for name in found)),
    }


def adapted_model(model: Transformer, folder: Path) -> Transformer:
    """Return a second model that shares the model's weights and has an adapter; raises as `load_adapter` does."""
    with torch.device("meta"):
        adapted = Transformer(model.config)
    adapted.load_state_dict(model.state_dict(), assign=True)
    load_adapter(adapted, folder)
    return adapted.eval()


def _check(folder: Path, settings: dict[str, Any]) -> None:
    """Raise `UserError` for anything beyond plain LoRA."""
    beyond = [f"{key} ({value})" for key, value in settings.items() if value and key not in _UNDERSTOOD]
    if settings.get("peft_type") != "LORA":
        beyond.insert(0, f"peft_type ({settings.get('peft_type')})")
    if settings.get("bias", "none") != "none":
        beyond.append(f"bias ({settings['bias']})")
    if (start := settings.get("init_lora_weights", True)) not in PLAIN_STARTS:
        beyond.append(f"init_lora_weights ({start})")
    if beyond:
        raise UserError(
            f"Sayso supports plain LoRA on linear layers; the adapter in '{folder}' sets {', '.join(beyond)}: merge it "
            "with peft and use the merged model."
        )


def _paired(folder: Path, model: Transformer, tensors: dict[str, Tensor]) -> dict[str, tuple[str, int, Tensor, Tensor]]:
    """Return PEFT's name, the rank, A and B of each adapted layer, by our layer name."""
    layers = linear_layers(model)
    ours = _names(layers, family_of(model.config))
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        theirs, _, kind = key.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
        if theirs not in ours or kind not in ("lora_A", "lora_B"):
            raise UserError(
                f"An adapter must target the linear layers of this model's {model.config.layers} blocks; "
                f"'{folder}' has '{key}': choose its base model, or merge it with peft."
            )
        parts.setdefault(theirs, {})[kind] = tensor
    for theirs, pair in parts.items():
        inputs, outputs = layers[ours[theirs][0]].in_features, sum(layers[name].out_features for name in ours[theirs])
        shapes = {kind: list(tensor.shape) for kind, tensor in sorted(pair.items())}
        rank = len(pair["lora_A"]) if "lora_A" in pair else 0
        if not rank or shapes != {"lora_A": [rank, inputs], "lora_B": [outputs, rank]}:
            raise UserError(
                f"The adapter in '{folder}' does not match this model, where '{theirs}' has {inputs} inputs and "
                f"{outputs} outputs; got {shapes}: choose its base model, or copy it again."
            )
    return {
        name: (theirs, len(parts[theirs]["lora_A"]), a, b)
        for theirs, names in ours.items()
        if theirs in parts
        for name, (a, b) in _split(names, parts[theirs]["lora_A"], parts[theirs]["lora_B"]).items()
    }


def _names(layers: Iterable[str], family: Family) -> dict[str, list[str]]:
    """Map the family's layer names to our layers, several in order for a fused layer."""
    fused = {part: name for name, parts in family.fused.items() for part in parts}
    found = {}
    for name in layers:
        before, _, last = name.rpartition(".")
        if last in fused:
            parts = [f"{before}.{part}" for part in family.fused[fused[last]]]
            found[family.layer(f"{before}.{fused[last]}")] = parts
        else:
            found[family.layer(name)] = [name]
    return found


def _target(name: str, family: Family) -> str:
    """Return the suffix of a layer name that PEFT matches in every block: its last part, or two if ambiguous."""
    ends = Counter(one.rpartition(".")[2] for one in family.names.values())
    *_, before, last = name.split(".")
    return last if ends[last] == 1 else f"{before}.{last}"


def _fused(parts: list[LoRALinear | None]) -> tuple[Tensor, Tensor]:
    """Return A and B of a fused layer of equal-sized parts; None marks a part without an adapter."""
    present = [part for part in parts if part is not None]
    empty = present[0].b.new_zeros(present[0].out_features, 0)
    b = torch.block_diag(*(empty if part is None else part.b for part in parts))
    return torch.cat([part.a for part in present]), b


def _split(names: list[str], a: Tensor, b: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Split A and B of a fused layer into those of our layers, without the ranks that are zero in a layer."""
    if len(names) == 1:
        return {names[0]: (a, b)}
    found = {}
    for name, rows in zip(names, b.chunk(len(names)), strict=True):
        used = rows.any(0)
        if used.any():
            found[name] = a[used], rows[:, used]
    return found


def _scale(settings: dict[str, Any], layer: str, rank: int) -> float:
    """Return alpha / rank of a layer, or alpha / sqrt(rank) if rank-stabilized (Kalajdzievski 2023)."""
    patterns = settings.get("alpha_pattern") or {}
    matching = (alpha for pattern, alpha in patterns.items() if re.match(rf"(.*\.)?({pattern})$", layer))
    alpha: float = next(matching, settings.get("lora_alpha", PEFT_DEFAULT))
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
