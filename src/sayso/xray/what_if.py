"""What if: the prediction at a position with parts switched off, taken from another prompt, or steered.

C width, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.lens.ablation import ablation
from sayso.lens.steering import steering_vector
from sayso.lens.tracing import trace
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

SHOWN = 10
PARTS = {"head": "attn.hook_z", "attention": "hook_attn_out", "mlp": "hook_mlp_out", "steer": "hook_resid_post"}
"""What can be changed -> the activation that is."""
Interventions = dict[str, Callable[[Tensor], Tensor]]


def what_if_panel(view: "View", position: int, changes: Sequence[Mapping[str, Any]]) -> Panel:
    """Return the likeliest tokens at a position before and after some changes, and the Python that repeats them.

    A change is {"part": "head", "attention" or "mlp", "layer": ..., "head": ...}: its output becomes zero at every
    position, or with "text" or "ids" what it is in that other prompt of the same length. Or it is {"part": "steer",
    "layer": ..., "text": ..., "against": ..., "strength": ...}: the difference of the last streams of two texts is
    added to the stream after a layer. Arrays: before and after [V], probabilities; shown: the likeliest of both.
    """
    position = view.position(position)
    interventions, lines = _interventions(view, changes)
    last = f"blocks.{view.network.config.layers - 1}.hook_resid_post"
    changed = trace(view.network, view.ids, last, interventions=interventions)[last][0, position]
    with torch.no_grad():
        before, after = (
            view.network.head(view.network.norm(x)).float().softmax(-1) for x in (view.streams[-1, position], changed)
        )
    k = min(SHOWN, len(before))
    shown = torch.cat((before.topk(k).indices, after.topk(k).indices)).unique()
    lines.append('logits = sayso.lens.trace(model, ids, "logits", interventions=changes)["logits"]')
    lines.append(f"logits[0, {position}].softmax(-1)")
    meta = {"position": position, "words": view.words(shown), "python": "\n".join(lines)}
    return Panel(meta, {"before": before, "after": after, "shown": shown})


def _interventions(view: "View", changes: Sequence[Mapping[str, Any]]) -> tuple[Interventions, list[str]]:
    """Return the interventions of all changes, and the lines of Python that make them."""
    heads: dict[str, list[int]] = {}
    others: dict[str, list[int] | None] = {}
    found: Interventions = {}
    lines = ["changes = {}"]
    for change in changes:
        name, head = _place(view, change)
        if change["part"] == "steer":
            if name in found:
                raise UserError(f"The stream '{name}' can be steered once; undo the other change first.")
            made, line = _steering(view, name, change)
            found |= made
            lines.append(line)
            continue
        heads.setdefault(name, []).extend(head)
        other = view.alike(change["text"]) if "text" in change else change.get("ids")
        if others.setdefault(name, other) != other:
            raise UserError(f"All changes of '{name}' must be of one kind: switched off, or from one other prompt.")
    for name, ids in others.items():
        if ids is not None and len(ids) != view.length:
            raise UserError(f"The other prompt must have {view.length} tokens, as many as this one; got {len(ids)}.")
        kind = "zero" if ids is None else "resample"
        found |= ablation(view.network, name, kind, heads=heads[name] or None, reference=ids)
        given = f", heads={sorted(heads[name])}" if heads[name] else ""
        given += "" if ids is None else f", reference={[*ids]}"
        lines.append(f'changes |= sayso.lens.ablation(model, "{name}", "{kind}"{given})')
    return found, lines


def _place(view: "View", change: Mapping[str, Any]) -> tuple[str, list[int]]:
    """Return the activation to change and its head, if it is one of a head."""
    part = change.get("part")
    if part not in PARTS:
        raise UserError(f"A change must be of one of {', '.join(PARTS)}; got '{part}'.{nearest(str(part), PARTS)}")
    name = f"blocks.{view.layer(change.get('layer', -1))}.{PARTS[part]}"
    return name, [view.head(change.get("head", -1))] if part == "head" else []


def _steering(view: "View", name: str, change: Mapping[str, Any]) -> tuple[Interventions, str]:
    """Return the intervention that adds the difference of two texts to a stream, and the Python for it."""
    texts = [change.get("text") or "", change.get("against") or ""]
    if not all(texts):
        raise UserError("Steering needs two texts: one with what is to be added, and one without it.")
    positive, negative = (view.alike(text) for text in texts)
    strength = float(change.get("strength", 1.0))
    vector = steering_vector(view.network, [positive], [negative], name)
    made = f'sayso.lens.steering_vector(model, [{positive}], [{negative}], "{name}")'
    line = f"changes |= {made}.intervention({strength})"
    return vector.intervention(strength), line
