"""Cross-entropy of a linear head, one chunk of positions at a time: the logits of a whole batch never exist.

Takes hidden states, the head's weight and targets; returns the summed loss in nats. A chunk's gradients are computed
right after its logits, while these are in memory (Wijmans et al. 2024, "Cut Your Losses"; Hsu et al. 2024, Liger), so
the memory is that of one chunk and of the requested gradients, whatever the batch. N positions, C width, V vocabulary
size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain
from sayso.model.linear import linear

CHUNK = {"cpu": 2**22, "cuda": 2**28}
"""Logits per chunk: 16 MiB in float32, about a core's cache; 1 GiB on a GPU, whose products need thousands of rows."""


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, cap: float = 0.0) -> Tensor:
    """Return -sum over N of log softmax(hidden weight^T)[target], for hidden [N, C], weight [V, C], targets [N].

    With a soft cap, logits l are cap * tanh(l / cap). They are normalized in float32 whatever the dtype of `hidden`;
    under autocast the products are in its dtype.
    """
    if is_plain():
        logits = F.linear(hidden, weight)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(cap * torch.tanh(logits / cap) if cap else logits, targets, reduction="sum")
    kind = hidden.device.type
    product = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    with torch.autocast(kind, enabled=False):  # it would cast the whole weight again for every chunk
        total: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, product, cap)  # type: ignore[no-untyped-call]
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, hidden: Tensor, weight: Tensor, targets: Tensor, product: torch.dtype, cap: float
    ) -> Tensor:
        learn_hidden, learn_weight, *_ = ctx.needs_input_grad  # type: ignore[attr-defined]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        of_weight = torch.zeros_like(weight) if learn_weight else None
        of_hidden: list[Tensor] = []
        rows = max(1, CHUNK.get(hidden.device.type, CHUNK["cpu"]) // len(weight))
        factors = weight.to(product)
        for part, wanted in zip(hidden.to(product).split(rows), targets[:, None].split(rows), strict=True):
            logits = linear(part, factors).float()
            bent = logits.div_(cap).tanh_().clone() if cap else None
            if cap:
                logits.mul_(cap)
            likeliest, chosen = logits.amax(dim=-1), logits.gather(1, wanted)[:, 0]
            of_logits = torch.softmax(logits, dim=-1, out=logits)
            # log of the sum of exponentials, from the likeliest logit and its probability: no second pass of exp
            total += (likeliest - of_logits.amax(dim=-1).log() - chosen).sum()
            if not learn_hidden and of_weight is None:
                continue
            of_logits.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=of_logits.dtype))  # softmax minus one
            if bent is not None:
                of_logits.mul_(1 - bent.square_())  # the derivative of tanh
            of_logits = of_logits.to(part.dtype)
            if learn_hidden:
                of_hidden.append(linear(of_logits, factors.T))
            if of_weight is not None:
                of_weight += of_logits.T @ part
        gradients = (torch.cat(of_hidden).to(hidden.dtype) if of_hidden else None, of_weight)
        ctx.save_for_backward(*gradients)  # type: ignore[arg-type]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        gradients: tuple[Tensor | None, Tensor | None] = ctx.saved_tensors  # type: ignore[attr-defined]
        of_hidden, of_weight = (None if one is None else one * scale.to(one.dtype) for one in gradients)
        return of_hidden, of_weight, None, None, None
