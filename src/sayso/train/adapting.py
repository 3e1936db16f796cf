"""LoRA in finetune and align: its options, the adapted training state, and the written model.

The written model is a plain one, with the adapter merged; the adapter itself is stored next to it in PEFT's format.
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
from sayso.train.layout import Training
from sayso.train.loop import State
from sayso.train.optimizers import Rates, make_optimizers
from sayso.weights.adapter import save_adapter
from sayso.weights.folder import save_model

ALPHA = 32.0
"""Default alpha for any rank: scaled by alpha / rank, the best learning rate stays the same (Schulman et al. 2025)."""
TUNING = Rates(matrix=0.008)
"""Peak rate of Muon for pretrained weights, which should move less per step than untrained ones: 0.02 at width 128."""


@dataclass(frozen=True)
class Adapting(Training):
    """Options of the commands that can train an adapter instead of all weights."""

    _: KW_ONLY
    lora_rank: Annotated[int, Range(1, 65_536)] | None = None
    """Rank of LoRA adapters to train while the other weights stay frozen; default: train all weights."""
    lora_alpha: Scale | None = None
    """LoRA scaling: adapters are multiplied by alpha / rank; default: 32."""
    lora_targets: tuple[str, ...] = ()
    """Layers to adapt in each block, such as query value; default: all linear layers."""

    def lora(self, model: Transformer) -> LoRA | None:
        """Return how to adapt `model`; None if all weights are trained."""
        if self.lora_rank is None:
            for name in ("lora_alpha", "lora_targets"):
                if getattr(self, name):
                    raise UserError(f"--{name.replace('_', '-')} needs --lora-rank too, such as --lora-rank 16.")
            return None
        alpha = ALPHA if self.lora_alpha is None else self.lora_alpha
        return LoRA(self.lora_rank, alpha, chosen_targets(model, self.lora_targets))


def tuning_state(model: Transformer, lora: LoRA | None, rate: float, seed: int) -> State:
    """Return a state that trains all weights of `model`, or the adapters that `lora` adds to them."""
    if lora:
        add_lora(model, lora, torch.Generator().manual_seed(seed))
    model.train()
    return State(model, make_optimizers(model, TUNING.times(rate)))


def save_tuned(
    model: Transformer, lora: LoRA | None, tokenizer: Tokenizer, folder: Path, lineage: dict[str, Any], parent: Path
) -> None:
    """Write the model folder with adapters merged, and the adapters themselves to `adapter/` in it."""
    layers = merge(model)

    def beside(part: Path) -> None:
        if lora:
            save_adapter(layers, model.config, lora, str(parent), part / "adapter")

    save_model(model, tokenizer, folder, lineage, beside=beside)
