"""LoRA for the acts that fine-tune: the options, the adapted training state, and saving.

The saved model is a plain one with the adapter merged; the adapter is also saved, in PEFT's format.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

from sayso.base.errors import UserError
from sayso.base.ranges import Range, Scale
from sayso.model import Transformer
from sayso.model.adapters import LoRA, add_lora, chosen_targets, merge
from sayso.token.tokenizer import Tokenizer
from sayso.train.loop import State
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.options import Training
from sayso.weights.adapter import save_adapter
from sayso.weights.folder import save_model

ALPHA = 32.0
"""Default for every rank: with the scale alpha / rank, the best learning rate is the same (Schulman et al. 2025)."""
TUNING = Rates(matrix=0.008)
"""A lower Muon rate than for training from scratch, which uses 0.02."""


@dataclass(frozen=True)
class Adapting(Training):
    """Options of the acts that can train a LoRA adapter instead of all weights."""

    _: KW_ONLY
    lora_rank: Annotated[int, Range(1, 65_536)] | None = None
    """Train a LoRA adapter of this rank. Default: train all weights."""
    lora_alpha: Scale | None = None
    """LoRA alpha: the adapter's output is scaled by alpha / rank. Default: 32."""
    lora_targets: tuple[str, ...] = ()
    """Layers to adapt in each block, such as query value. Default: all linear layers."""

    def lora(self, model: Transformer) -> LoRA | None:
        """Return the LoRA configuration for `model`; None if all weights are trained."""
        if self.lora_rank is None:
            for name in ("lora_alpha", "lora_targets"):
                if getattr(self, name):
                    raise UserError(f"--{name.replace('_', '-')} requires --lora-rank, such as --lora-rank 16.")
            return None
        alpha = ALPHA if self.lora_alpha is None else self.lora_alpha
        return LoRA(self.lora_rank, alpha, chosen_targets(model, self.lora_targets))


def tuning_state(model: Transformer, lora: LoRA | None, rate: float, seed: int) -> State:
    """Return a state that trains all weights of `model`, or the adapters that `lora` adds."""
    if lora:
        add_lora(model, lora, torch.Generator().manual_seed(seed))
    model.train()
    return State(model, make_optimizers(model, TUNING.times(rate)))


def save_tuned(
    model: Transformer, lora: LoRA | None, tokenizer: Tokenizer, folder: Path, lineage: dict[str, Any], parent: Path
) -> None:
    """Write the model folder with the adapters merged, and the adapters to its subfolder `adapter/`."""
    layers = merge(model)

    def write_adapter(part: Path) -> None:
        if lora:
            save_adapter(layers, model.config, lora, str(parent), part / "adapter")

    save_model(model, tokenizer, folder, lineage, extra=write_adapter)
