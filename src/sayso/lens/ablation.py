"""Ablation: interventions that remove what activations say, for all heads or some: takes names, returns interventions.

    without = sayso.lens.ablation(model, "blocks.1.attn.hook_z", heads=[3])
    sayso.lens.trace(model, ids, "logits", interventions=without)

B batch, T time, H heads.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.lens.names import Names, Opened, activation_names, network_of, select
from sayso.lens.tracing import Ids, trace
from sayso.model import Transformer

KINDS = ("zero", "mean", "resample")


def ablation(
    model: Transformer | Opened,
    names: Names,
    kind: str = "zero",
    *,
    heads: Sequence[int] | None = None,
    reference: Ids | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return interventions that replace activations by zeros, by means or by those of other prompts.

    mean: over all rows and positions of the `reference` ids; resample: of a random row of them, which has as many
    tokens as the prompt. `heads` are the heads to ablate; None = all. Raises `UserError` for an unknown name, kind or
    head, and for a missing reference.
    """
    network = network_of(model)
    chosen = select(names, activation_names(network))
    if kind not in KINDS:
        raise UserError(f"An ablation must be one of {', '.join(KINDS)}; got '{kind}'.{nearest(kind, KINDS)}")
    for name in chosen:
        check_heads(network, name, heads)
        if kind == "mean" and has_square(name):
            raise UserError(f"'{name}' has no mean over positions; ablate it by zero or resample.")
    if kind == "zero":
        return {name: partial(_set, name=name, heads=heads, kind=kind, found=None, generator=None) for name in chosen}
    if reference is None:
        raise UserError(f"The ablation '{kind}' needs reference=ids to take activations from.")
    found = trace(network, reference, chosen)
    return {
        name: partial(_set, name=name, heads=heads, kind=kind, found=found[name], generator=generator)
        for name in chosen
    }


def _set(
    x: Tensor,
    *,
    name: str,
    heads: Sequence[int] | None,
    kind: str,
    found: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    if found is None:
        new = torch.zeros_like(x)
    elif kind == "mean":
        new = found.mean((0, 1), keepdim=True).expand_as(x)
    else:
        if found.shape[1:] != x.shape[1:]:
            raise UserError(
                f"Resampling needs a reference with as many tokens as the prompt; '{name}' has "
                f"{tuple(found.shape[1:])} there and {tuple(x.shape[1:])} here."
            )
        new = found[torch.randint(len(found), (len(x),), generator=generator).to(x.device)]
    if heads is None:
        return new
    at = (slice(None), list(heads)) if has_square(name) else (slice(None), slice(None), list(heads))
    x[at] = new[at]
    return x


def has_square(name: str) -> bool:
    """Whether an activation is [B, H, T, T]."""
    return name.endswith(("hook_pattern", "hook_attn_scores"))


def check_heads(model: Transformer, name: str, heads: Sequence[int] | None) -> None:
    """Raise `UserError` for an activation without heads, or a head that it does not have; None = no heads named."""
    if heads is None:
        return
    part = name.partition(".attn.")[2]
    if not part or (model.config.qk_norm == "whole" and "_norm" in part):
        raise UserError(f"'{name}' has no heads; omit them, or choose 'attn.hook_z' of the block.")
    shared = part.startswith(("hook_k", "hook_v", "hook_rot_k", "k_norm"))
    count = model.config.kv_heads if shared else model.config.heads
    if bad := [head for head in heads if not 0 <= head < count]:
        raise UserError(f"A head of '{name}' must be from 0 to {count - 1}; got {bad[0]}.")
