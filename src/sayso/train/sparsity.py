"""Weight sparsity: after every update, only the largest weights of each matrix stay; the others become zero.

After Gao et al. 2025, "Weight-sparse transformers have interpretable circuits": a model with few weights has circuits
that are small enough to read. The share of the weights that stay falls evenly from all to the given one in the first
half of the steps. Gradients and optimizers are as in other runs, so a weight that became zero may come back.
"""

from dataclasses import dataclass

import torch

from sayso.train.loop import State


@dataclass(frozen=True)
class Sparsity:
    """Keeps a run's matrices sparse."""

    density: float
    """Share of each matrix's weights that stay in the end, above 0."""
    steps: int
    """Steps of the run."""

    def share(self, step: int) -> float:
        """Return the share of the weights that stay after a step."""
        done = min(1.0, step / max(1, self.steps // 2))
        return 1.0 - done * (1.0 - self.density)

    @torch.no_grad()
    def enforce(self, state: State) -> None:
        """Set the smallest weights of each matrix to zero, as many as the step asks for; one of each stays at least."""
        share = self.share(state.step)
        if share == 1:
            return
        for weight in state.model.parameters():
            if weight.dim() == 2:
                count = max(1, round(share * weight.numel()))
                kept = weight.abs().flatten().topk(count).indices
                mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
                mask[kept] = True
                weight.mul_(mask.view_as(weight))
