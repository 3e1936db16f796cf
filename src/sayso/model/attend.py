"""Masked softmax attention: takes queries, keys, values and a mask, returns weighted values.

    out = softmax(q k^T / sqrt(D)) v        (Vaswani et al. 2017)

Uses PyTorch's fused attention unless the scores have a soft cap. A window narrows the mask: a position attends to
itself and the window - 1 positions before it. B batch, T time, S keys, H heads, K key-value heads, D head size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cap: float = 0.0) -> Tensor:
    """Return [B, H, T, D] for q [B, H, T, D], k and v [B, K, S, D].

    `mask` is bool, broadcasts to [B, 1, T, S] and is True for visible keys; None is causal, with S = T.
    """
    if not cap:
        grouped = k.shape[1] != q.shape[1]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped)
    return softmax_scores(q, k, mask, cap).to(v.dtype) @ v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)


def softmax_scores(q: Tensor, k: Tensor, mask: Tensor | None, cap: float = 0.0) -> Tensor:
    """Return the attention weights [B, H, T, S], which sum to 1 over keys; arguments as in `attend`."""
    scores = q @ k.repeat_interleave(q.shape[1] // k.shape[1], dim=1).transpose(-2, -1) * q.shape[-1] ** -0.5
    if cap:
        scores = cap * torch.tanh(scores / cap)
    allowed = causal(q.shape[-2], q.device) if mask is None else mask
    return scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1, dtype=torch.float32)


def causal(time: int, device: torch.device, window: int = 0) -> Tensor:
    """Return the causal mask [T, T], limited to the last `window` positions unless it is 0."""
    visible = torch.ones(time, time, dtype=torch.bool, device=device).tril()
    return visible.triu(1 - window) if window else visible


def everywhere(time: int, device: torch.device) -> Tensor:
    """Return the mask [T, T] of positions that attend to all others, later ones too."""
    return torch.ones(time, time, dtype=torch.bool, device=device)


def windowed(mask: Tensor | None, window: int, positions: Tensor) -> Tensor | None:
    """Return the mask limited to a window, for tokens at columns `positions` [B or 1, T] of the keys.

    A mask of None (causal) stays None if the window changes nothing.
    """
    if mask is None:
        time = positions.shape[-1]
        return causal(time, positions.device, window) if 0 < window < time else None
    if not 0 < window < mask.shape[-1]:
        return mask
    columns = torch.arange(mask.shape[-1], device=mask.device)
    return mask & (columns > positions[:, None, :, None] - window)
