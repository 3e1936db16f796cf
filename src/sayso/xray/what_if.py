"""What if: the prediction at a position with parts of the model switched off, or taken from another prompt.

V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.lens.ablation import ablation
from sayso.lens.tracing import trace
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

SHOWN = 10
PARTS = {"head": "attn.hook_z", "attention": "hook_attn_out", "mlp": "hook_mlp_out"}
"""What can be changed -> the activation that is."""


def what_if_panel(view: "View", position: int, changes: Sequence[Mapping[str, Any]]) -> Panel:
    """Return the likeliest tokens at a position before and after some changes, and the Python that repeats them.

    A change is {"part": "head", "attention" or "mlp", "layer": ..., "head": ...}: its output becomes zero at every
    position, or with "text" or "ids" what it is in that other prompt of the same length. Arrays: before and after [V],
    probabilities; shown: the likeliest of both.
    """
    position = view.position(position)
    heads: dict[str, list[int]] = {}
    others: dict[str, list[int] | None] = {}
    for change in changes:
        name, head = _place(view, change)
        heads.setdefault(name, []).extend(head)
        other = view.alike(change["text"]) if "text" in change else change.get("ids")
        if others.setdefault(name, other) != other:
            raise UserError(f"All changes of '{name}' must be of one kind: switched off, or from one other prompt.")
    interventions: dict[str, Callable[[Tensor], Tensor]] = {}
    lines = ["changes = {}"]
    for name, ids in others.items():
        if ids is not None and len(ids) != view.length:
            raise UserError(f"The other prompt must have {view.length} tokens, as many as this one; got {len(ids)}.")
        kind = "zero" if ids is None else "resample"
        interventions |= ablation(view.network, name, kind, heads=heads[name] or None, reference=ids)
        given = f", heads={sorted(heads[name])}" if heads[name] else ""
        given += "" if ids is None else f", reference={[*ids]}"
        lines.append(f'changes |= sayso.lens.ablation(model, "{name}", "{kind}"{given})')
    logits = trace(view.network, view.ids, "logits", interventions=interventions)["logits"][0, position].float()
    with torch.no_grad():
        before = view.network.head(view.network.norm(view.streams[-1, position])).float().softmax(-1)
        after = logits.softmax(-1)
    k = min(SHOWN, len(before))
    shown = torch.cat((before.topk(k).indices, after.topk(k).indices)).unique()
    lines.append('logits = sayso.lens.trace(model, ids, "logits", interventions=changes)["logits"]')
    lines.append(f"logits[0, {position}].softmax(-1)")
    meta = {"position": position, "words": view.words(shown), "python": "\n".join(lines)}
    return Panel(meta, {"before": before, "after": after, "shown": shown})


def _place(view: "View", change: Mapping[str, Any]) -> tuple[str, list[int]]:
    """Return the activation to change and its head, if it is one of a head."""
    part = change.get("part")
    if part not in PARTS:
        raise UserError(f"A change must be of one of {', '.join(PARTS)}; got '{part}'.{nearest(str(part), PARTS)}")
    name = f"blocks.{view.layer(change.get('layer', -1))}.{PARTS[part]}"
    return name, [view.head(change.get("head", -1))] if part == "head" else []
