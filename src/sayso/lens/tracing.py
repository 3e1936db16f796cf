"""Activations of a forward pass by name: takes a model and ids, returns a `Trace`; interventions change them.

    trace = sayso.lens.trace(model, model.ids("The cat sat"), "blocks.*.attn.hook_pattern")
    trace["blocks.0.attn.hook_pattern"]  # [1, H, T, T]

B batch, T time, V vocabulary.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.lens.forward import Probe, forward
from sayso.lens.names import Names, Opened, activation_names, network_of, select
from sayso.model import Transformer

Ids = Tensor | Sequence[int] | Sequence[Sequence[int]]
"""Token ids: one row [T], or several rows of the same length [B, T]."""
Interventions = Mapping[str, Callable[[Tensor], Tensor]]
"""Name or glob pattern -> function of the activation that returns its replacement."""


@dataclass(frozen=True)
class Trace:
    """Activations by name: `trace[name]` is a tensor whose first dimensions are [B, T], or [B, H, T, T]."""

    activations: dict[str, Tensor]
    """The activations, in the order of the forward pass."""
    ids: Tensor
    """The token ids [B, T]."""

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.activations:
            raise UserError(f"This trace has no '{name}'; pass it in names.{nearest(name, self.activations)}")
        return self.activations[name]

    def __contains__(self, name: object) -> bool:
        return name in self.activations

    def __iter__(self) -> Iterator[str]:
        return iter(self.activations)

    def __len__(self) -> int:
        return len(self.activations)


def trace(
    model: Transformer | Opened,
    ids: Ids,
    names: Names = None,
    *,
    interventions: Interventions | None = None,
    gradients: bool = False,
) -> Trace:
    """Return the activations of a forward pass; it stops when it has computed the last one that is wanted.

    `names` are names or glob patterns, or a predicate of a name; omit them for all names except `hook_result`.
    Interventions whose keys match the same name apply in turn, each to a copy. `gradients` keeps what autograd needs.
    Raises `UserError` for ids that the model cannot take, unknown names, and interventions that change a shape.
    """
    network = network_of(model)
    known = activation_names(network)
    wanted, rows = select(names, known), rows_of(network, ids)
    changes = matched(interventions or {}, known)
    found: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> Tensor:
        for change in changes.get(name, ()):
            x = changed(name, change, x)
        if name in wanted_set:
            found[name] = x
        return x

    wanted_set = frozenset(wanted)
    with torch.set_grad_enabled(gradients):
        observe(network, rows, wanted, see, also=changes)
    return Trace({name: found[name] for name in wanted}, rows)


def rows_seen(model: Transformer, rows: Tensor, position: int) -> Tensor:
    """Return the part of rows [B, T] on which the prediction after a position depends."""
    return rows if model.looks_ahead else rows[:, : position + 1]


def at_position(found: Trace, position: int) -> Trace:
    """Return a trace of activations [B, T, ...] with one position, [B, 1, ...]."""
    return Trace({name: x[:, position : position + 1].clone() for name, x in found.activations.items()}, found.ids)


class _Done(Exception):  # noqa: N818 - not an error: ends a forward pass early
    """All that is wanted has been seen."""


def observe(
    model: Transformer,
    ids: Tensor,
    wanted: Collection[str],
    see: Callable[[str, Tensor], Tensor],
    also: Collection[str] = (),
) -> None:
    """Run a forward pass on ids [B, T] that ends when all `wanted` activations were given to `see`.

    `see(name, x)` returns what the pass continues with; it is also called for the names in `also`.
    """
    left = set(wanted)

    def look(name: str, x: Tensor) -> Tensor:
        y = see(name, x)
        if name in left:
            left.remove(name)
            if not left:
                raise _Done
        return y

    if left:
        with suppress(_Done):
            forward(model, ids, Probe({*wanted, *also}, look))


def matched(interventions: Interventions, known: Sequence[str]) -> dict[str, list[Callable[[Tensor], Tensor]]]:
    """Return the functions to apply to each name. Raises `UserError` for a key that matches none."""
    changes: dict[str, list[Callable[[Tensor], Tensor]]] = {}
    for pattern, change in interventions.items():
        for name in select(pattern, known):
            changes.setdefault(name, []).append(change)
    return changes


def changed(name: str, change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return what an intervention makes of a copy of an activation. Raises `UserError` if it has another shape."""
    y = change(x.clone())
    if not isinstance(y, Tensor):
        raise UserError(f"An intervention must return a tensor; that on '{name}' returned {type(y).__name__}.")
    if y.shape != x.shape:
        raise UserError(
            f"An intervention must return the shape that it gets; that on '{name}' got {tuple(x.shape)} and returned "
            f"{tuple(y.shape)}."
        )
    return y.to(x)


def rows_of(model: Transformer, ids: Ids | str) -> Tensor:
    """Return token ids as [B, T] on the model's device. Raises `UserError` for ids that the model cannot take."""
    if isinstance(ids, str):
        raise UserError("A trace needs token ids; got text: pass model.ids(text).")
    try:
        rows = ids if isinstance(ids, Tensor) else torch.tensor([*ids])
    except (TypeError, ValueError) as error:
        raise UserError(f"Token ids must be one row of integers, or several of the same length ({error}).") from error
    if rows.is_floating_point() or rows.dim() not in (1, 2) or not rows.numel():
        raise UserError(
            f"Token ids must be one row of integers, or several of the same length; got {rows.dtype} of shape "
            f"{tuple(rows.shape)}."
        )
    config = model.config
    if rows.shape[-1] > config.context:
        raise UserError(f"A row must have at most {config.context:,} ids, the model's context; got {rows.shape[-1]:,}.")
    if (bad := rows[(rows < 0) | (rows >= config.vocab_size)]).numel():
        raise UserError(f"Token ids must be from 0 to {config.vocab_size - 1:,}; got {bad[0]}.")
    return torch.atleast_2d(rows).to(model.device, torch.long)
