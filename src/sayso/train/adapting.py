"""What finetune and align share where LoRA is asked for: its options, the adapted state, and what leaves.

The model that leaves is a plain one, with what was learned folded in; the adapter lies beside it, as PEFT reads it.
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
"""Whatever the rank: scaled by alpha / rank, the best learning rate is then the same (Schulman et al. 2025)."""
TUNING = Rates(matrix=0.008)
"""What is there already is moved less far by a step of Muon than what is learned from nothing: 0.02 at 128 wide."""


@dataclass(frozen=True)
class Adapting(Training):
    """Options of the acts that can train an adapter in place of all weights."""

    _: KW_ONLY
    lora_rank: Annotated[int, Range(1, 65_536)] | None = None
    """Train narrow matrices of this rank beside the frozen ones (LoRA); all weights when not given."""
    lora_alpha: Scale | None = None
    """What they add is scaled by this over the rank; 32 when not given."""
    lora_targets: tuple[str, ...] = ()
    """Layers to adapt in each block, such as query value; all linear ones when not given."""

    def lora(self, model: Transformer) -> LoRA | None:
        """Return how `model` is to be adapted; None where all weights are trained."""
        if self.lora_rank is None:
            for name in ("lora_alpha", "lora_targets"):
                if getattr(self, name):
                    raise UserError(f"--{name.replace('_', '-')} needs --lora-rank beside it, such as --lora-rank 16.")
            return None
        alpha = ALPHA if self.lora_alpha is None else self.lora_alpha
        return LoRA(self.lora_rank, alpha, chosen_targets(model, self.lora_targets))


def tuning_state(model: Transformer, lora: LoRA | None, rate: float, seed: int) -> State:
    """Return a state that trains all weights of `model`, or the adapters that `lora` puts beside them."""
    if lora:
        add_lora(model, lora, torch.Generator().manual_seed(seed))
    model.train()
    return State(model, make_optimizers(model, TUNING.times(rate)))


def save_tuned(
    model: Transformer, lora: LoRA | None, tokenizer: Tokenizer, folder: Path, lineage: dict[str, Any], parent: Path
) -> None:
    """Write the model folder, adapters folded in; these also to `adapter/` in it."""
    layers = merge(model)

    def beside(part: Path) -> None:
        if lora:
            save_adapter(layers, model.config, lora, str(parent), part / "adapter")

    save_model(model, tokenizer, folder, lineage, beside=beside)
