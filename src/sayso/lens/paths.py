"""Path patching: what one head tells others directly, not through further heads (Wang et al. 2022, IOI).

    effects = sayso.lens.path_patch(model, corrupt, clean, metric, {"blocks.9.attn.hook_q": [6, 9]})  # [L, H]

For each sender head there are two passes on the corrupt prompt. The first has the sender's output of the clean prompt,
all other heads keep theirs of the corrupt one, and what the receivers get is recorded; the second has only that.
B batch, T time, C width, L layers, H heads, D head size, V vocabulary, N senders in a batch.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.ablation import check_heads, has_square
from sayso.lens.forward import Probe, read, through
from sayso.lens.names import Opened, activation_names, select
from sayso.lens.patching import BLIND, paired
from sayso.lens.readout import with_logits
from sayso.lens.targets import Metric, index_of
from sayso.lens.tracing import Ids, Trace, trace
from sayso.model import Transformer

Receivers = Mapping[str, Sequence[int] | None]
"""Name of an activation -> its heads; None = all of it."""
_WRITTEN = ("attn.hook_z", "attn.hook_result", "hook_attn_out")
_Sender = tuple[int | slice, int]  # position and head


@dataclass(frozen=True)
class _Prompts:
    """A pair of prompts, with what path patching reads from their runs."""

    corrupt: Trace
    """Streams before all blocks, outputs of all heads, and outputs of all MLPs if these are frozen."""
    clean: Trace
    """Outputs of all heads."""


def path_patch(
    model: Transformer | Opened,
    corrupt: Ids,
    clean: Ids,
    metric: Metric,
    receivers: Receivers,
    *,
    by_position: bool = False,
    freeze_mlps: bool = False,
    position: int = -1,
    rows: int = 128,
) -> Tensor:
    """Return the metric of the corrupt prompt with the path from each head patched, [L, H] or [L, T, H].

    Paths go through the residual stream and the MLPs between; with `freeze_mlps`, only through the stream. The receiver
    `blocks.N.hook_resid_post` of the last block gives the direct effect on the logits. `by_position` patches what a
    head writes at each position separately; `metric`, `position` and `rows` are as in `patch`. Raises `UserError` for a
    receiver that is what a head writes, that has no such head or is outside the blocks, and as `patch` does.
    """
    network = with_logits(model)
    there, here = paired(network, corrupt, clean)
    where = index_of(position, there.shape[1])
    receivers = _checked(network, receivers)
    kept = "blocks.*.hook_mlp_out" if freeze_mlps else "blocks.*.attn.hook_z"
    prompts = _Prompts(
        trace(network, there, ("blocks.*.hook_resid_pre", "blocks.*.attn.hook_z", kept)),
        trace(network, here, "blocks.*.attn.hook_z"),
    )
    positions: Sequence[int | slice] = range(there.shape[1]) if by_position else [slice(None)]
    senders = list(product(positions, range(network.config.heads)))
    size, effects = max(1, rows // len(there)), []
    with torch.no_grad():
        for layer in range(network.config.layers):
            for chunk in (senders[first : first + size] for first in range(0, len(senders), size)):
                got = _received(network, prompts, layer, chunk, receivers)
                y = _patched(network, prompts, len(chunk), got, receivers)[:, where]
                logits = read(network, y, BLIND).view(len(chunk), len(there), -1)
                effects += [torch.as_tensor(metric(one)).float().mean() for one in logits]
    shape = [there.shape[1]] if by_position else []
    return torch.stack(effects).view(network.config.layers, *shape, network.config.heads)


def _received(
    model: Transformer, prompts: _Prompts, layer: int, senders: Sequence[_Sender], receivers: Receivers
) -> dict[str, Tensor]:
    """Return what the receivers [N * B, ...] get on the direct paths from heads of a layer."""
    got: dict[str, Tensor] = {}
    sending = f"blocks.{layer}.attn.hook_z"

    def see(name: str, x: Tensor) -> Tensor:
        if name in receivers:
            got[name] = x
        if name not in prompts.corrupt or name.endswith("hook_resid_pre"):
            return x
        kept = prompts.corrupt[name].repeat(len(senders), *[1] * (x.dim() - 1))
        if name == sending:
            for one, (time, head) in zip(kept.unflatten(0, (len(senders), -1)), senders, strict=True):
                one[:, time, head] = prompts.clean[name][:, time, head]
        return kept

    x = prompts.corrupt[f"blocks.{layer}.hook_resid_pre"].repeat(len(senders), 1, 1)
    through(model, x, Probe({*receivers, *prompts.corrupt}, see), layer)
    return got


def _patched(
    model: Transformer, prompts: _Prompts, count: int, got: Mapping[str, Tensor], receivers: Receivers
) -> Tensor:
    """Return the residual stream [N * B, T, C] after the last block, with the receivers' heads as they were recorded.

    Receivers before the senders get what they always got, and are not in `got`.
    """
    first = min((_layer(name) for name in got), default=model.config.layers - 1)

    def see(name: str, x: Tensor) -> Tensor:
        heads = receivers[name]
        if heads is None:
            return got[name]
        at = (slice(None), list(heads)) if has_square(name) else (slice(None), slice(None), list(heads))
        patched = x.clone()
        patched[at] = got[name][at]
        return patched

    x = prompts.corrupt[f"blocks.{first}.hook_resid_pre"].repeat(count, 1, 1)
    return through(model, x, Probe(got.keys(), see), first)


def _checked(model: Transformer, receivers: Receivers) -> dict[str, Sequence[int] | None]:
    """Return the receivers by exact names."""
    known, found = activation_names(model), {}
    for pattern, heads in receivers.items():
        for name in select(pattern, known):
            if name.endswith(_WRITTEN) or not name.startswith("blocks."):
                raise UserError(
                    f"A receiver must be inside a block and must not be what a head writes, such as "
                    f"'blocks.0.attn.hook_q' or 'blocks.0.hook_resid_post'; got '{name}'."
                )
            check_heads(model, name, heads)
            found[name] = heads
    if not found:
        raise UserError("Path patching needs at least one receiver, such as {'blocks.1.attn.hook_q': [0]}; got none.")
    return found


def _layer(name: str) -> int:
    found = re.match(r"blocks\.(\d+)\.", name)
    assert found
    return int(found[1])
