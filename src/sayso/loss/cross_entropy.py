"""Cross-entropy of a linear head, one chunk of positions at a time, without the logits of the whole batch in memory.

Takes hidden states, the head's weight and targets; returns the summed loss in nats. A chunk's gradients are computed
right after its logits, while these are in memory (Wijmans et al. 2024, "Cut Your Losses"; Hsu et al. 2024, Liger), so
memory holds one chunk and the requested gradients, whatever the batch size. N positions, C width, V vocabulary size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain
from sayso.model.linear import linear

CHUNK = {"cpu": 2**22, "cuda": 2**28}
"""Logits per chunk: 16 MiB in float32 on a CPU, about a core's cache; 1 GiB on a GPU, which needs thousands of rows."""


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, cap: float = 0.0) -> Tensor:
    """Return -sum over N of log softmax(hidden weight^T)[target], for hidden [N, C], weight [V, C], targets [N].

    With a soft cap, logits l become cap * tanh(l / cap). The softmax is in float32; products are in the dtype of
    `hidden`, or that of autocast.
    """
    if is_plain():
        logits = F.linear(hidden, weight)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(cap * torch.tanh(logits / cap) if cap else logits, targets, reduction="sum")
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    with torch.autocast(kind, enabled=False):  # autocast would cast the weight again for every chunk
        total: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, dtype, cap)  # type: ignore[no-untyped-call]
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype, cap: float
    ) -> Tensor:
        learn_hidden, learn_weight, *_ = ctx.needs_input_grad  # type: ignore[attr-defined]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_weight = torch.zeros_like(weight) if learn_weight else None
        grad_hidden: list[Tensor] = []
        rows = max(1, CHUNK.get(hidden.device.type, CHUNK["cpu"]) // len(weight))
        cast_weight = weight.to(dtype)
        for states, ids in zip(hidden.to(dtype).split(rows), targets[:, None].split(rows), strict=True):
            logits = linear(states, cast_weight).float()
            tanh = logits.div_(cap).tanh_().clone() if cap else None
            if cap:
                logits.mul_(cap)
            largest, chosen = logits.amax(dim=-1), logits.gather(1, ids)[:, 0]
            grad_logits = torch.softmax(logits, dim=-1, out=logits)
            # log-sum-exp from the largest logit and its probability, without a second pass of exp
            total += (largest - grad_logits.amax(dim=-1).log() - chosen).sum()
            if not learn_hidden and grad_weight is None:
                continue
            grad_logits.scatter_add_(1, ids, torch.full_like(ids, -1, dtype=grad_logits.dtype))  # softmax - one-hot
            if tanh is not None:
                grad_logits.mul_(1 - tanh.square_())  # the derivative of tanh
            grad_logits = grad_logits.to(states.dtype)
            if learn_hidden:
                grad_hidden.append(linear(grad_logits, cast_weight.T))
            if grad_weight is not None:
                grad_weight += grad_logits.T @ states
        gradients = (torch.cat(grad_hidden).to(hidden.dtype) if grad_hidden else None, grad_weight)
        ctx.save_for_backward(*gradients)  # type: ignore[arg-type]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        gradients: tuple[Tensor | None, Tensor | None] = ctx.saved_tensors  # type: ignore[attr-defined]
        grad_hidden, grad_weight = (None if one is None else one * scale.to(one.dtype) for one in gradients)
        return grad_hidden, grad_weight, None, None, None
