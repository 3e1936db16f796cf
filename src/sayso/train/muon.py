"""Muon (Jordan et al. 2024): updates each weight matrix by the orthogonal matrix nearest to its momentum.

Gradient matrices have nearly low rank; an orthogonal update changes all directions by the same amount. The polar factor
U V^T of the momentum is found by Newton-Schulz iterations, five odd polynomials that push all singular values towards
1, with the coefficients of Polar Express (Amsel et al. 2025). Matrices of the same shape are computed together. On a
CPU it runs in float32, because bfloat16 products are several times slower there.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalise(x: Tensor) -> Tensor:
    """Return matrices [N, R, C] with all singular values near 1 and the same singular vectors."""
    dtype = torch.bfloat16 if x.is_cuda else torch.float32
    wide = x.shape[-1] >= x.shape[-2]
    y = (x if wide else x.mT).to(dtype)
    y = y / (y.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS:
        gram = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return (y if wide else y.mT).to(x.dtype)


class Muon(torch.optim.Optimizer):
    """Muon for weight matrices; `lr` is the root mean square step of a square matrix's singular values."""

    def __init__(
        self,
        matrices: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes[weight.shape].append(weight)
            for shape, weights in shapes.items():
                self._step_shape(shape, weights, group["lr"], group["momentum"], group["weight_decay"])

    def _step_shape(self, shape: torch.Size, weights: list[Tensor], lr: float, momentum: float, decay: float) -> None:
        averages = []
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            averages.append(state["momentum"])
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        updates = orthogonalise(torch.stack(torch._foreach_lerp(gradients, averages, momentum)))
        scale = max(1.0, shape[0] / shape[1]) ** 0.5  # a tall matrix may change its output more (Jordan et al. 2024)
        if decay:
            torch._foreach_mul_(weights, 1 - lr * decay)
        torch._foreach_add_(weights, updates.unbind(), alpha=-lr * scale)
