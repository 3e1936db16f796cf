"""Masked softmax attention: takes queries, keys, values and a mask, returns the weighted values.

    out = softmax(q k^T / sqrt(D)) v        (Vaswani et al. 2017)

Fused where torch can, which is everywhere but under a soft cap on the scores. A window is a narrower mask: a position
sees itself and the window - 1 positions before. B batch, T time, S keys, H heads, K key-value heads, D head size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cap: float = 0.0) -> Tensor:
    """Return [B, H, T, D] for q [B, H, T, D], k and v [B, K, S, D].

    `mask` is bool, broadcasts to [B, 1, T, S] and is True where a key may be seen; None is causal, with S = T.
    """
    if not cap:
        grouped = k.shape[1] != q.shape[1]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped)
    return softmax_scores(q, k, mask, cap).to(v.dtype) @ v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)


def softmax_scores(q: Tensor, k: Tensor, mask: Tensor | None, cap: float = 0.0) -> Tensor:
    """Return what each position takes from each other, [B, H, T, S], which sums to 1; arguments as in `attend`."""
    scores = q @ k.repeat_interleave(q.shape[1] // k.shape[1], dim=1).transpose(-2, -1) * q.shape[-1] ** -0.5
    if cap:
        scores = cap * torch.tanh(scores / cap)
    allowed = causal(q.shape[-2], q.device) if mask is None else mask
    return scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1, dtype=torch.float32)


def causal(time: int, device: torch.device, window: int = 0) -> Tensor:
    """Return the mask [T, T] of what each position sees: itself and those before, as far as its window reaches."""
    seen = torch.ones(time, time, dtype=torch.bool, device=device).tril()
    return seen.triu(1 - window) if window else seen


def windowed(mask: Tensor | None, window: int, positions: Tensor) -> Tensor | None:
    """Return a mask without positions beyond a window, for tokens at columns `positions` [B or 1, T] of the keys.

    A mask of None stays None where it hides all of that already.
    """
    if mask is None:
        time = positions.shape[-1]
        return causal(time, positions.device, window) if 0 < window < time else None
    if not 0 < window < mask.shape[-1]:
        return mask
    columns = torch.arange(mask.shape[-1], device=mask.device)
    return mask & (columns > positions[:, None, :, None] - window)
