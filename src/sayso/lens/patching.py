"""Activation patching: finds which activations of a clean prompt restore its answer in a corrupt one.

    effects = sayso.lens.patch(model, corrupt, clean, sayso.lens.LogitDifference(mary, john))  # [L, T]

Takes two prompts of the same length and a metric, returns the metric for each patched place (Meng et al. 2022; Wang et
al. 2022). The places of a layer are patched in batches, and each batch starts at its layer, from the stream of the
corrupt run. Attribution patching estimates all of them by one backward pass (Nanda 2023; Kramar et al. 2024).
B batch, T time, C width, L layers, H heads, D head size, V vocabulary, N patches in a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.forward import Probe, read, through
from sayso.lens.names import Opened, activation_names, select
from sayso.lens.readout import with_logits
from sayso.lens.targets import Metric, index_of
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer
from sayso.weights.quantize.model import bits_of

ALL = slice(None)
Slot = tuple[slice | int, ...]


@dataclass(frozen=True)
class Places:
    """Which activations of each block to patch, and how finely."""

    site: str = "hook_resid_pre"
    """Name inside a block, such as `hook_mlp_out` or `attn.hook_z`."""
    by_position: bool = True
    """Whether to patch each position separately; of patterns and scores, each row."""
    by_head: bool = False
    """Whether to patch each head separately."""

    def __post_init__(self) -> None:
        if self.by_head and not self.site.startswith("attn."):
            raise UserError(f"'{self.site}' has no heads; patch 'attn.hook_z' by head, or set by_head=False.")

    def axes(self) -> tuple[int, ...]:
        """Return the dimensions, without the batch, of which each index is patched separately."""
        position, head = (2, 1) if self.site.endswith(("hook_pattern", "hook_attn_scores")) else (1, 2)
        return *((position,) if self.by_position else ()), *((head,) if self.by_head else ())

    def slots(self, shape: Sequence[int]) -> Iterator[Slot]:
        """Yield the index of each patch into an activation of this shape, positions before heads."""
        axes = self.axes()
        for chosen in product(*(range(shape[axis]) for axis in axes)):
            at = dict(zip(axes, chosen, strict=True))
            yield tuple(at.get(axis, ALL) for axis in range(len(shape)))


def patch(
    model: Transformer | Opened,
    corrupt: Ids,
    clean: Ids,
    metric: Metric,
    places: Places = Places(),
    *,
    position: int = -1,
    rows: int = 128,
) -> Tensor:
    """Return the metric of the corrupt prompt with each place patched from the clean one: [L], [L, T] or [L, T, H].

    `metric` takes the logits [B, V] at `position` and returns a number, or one for each row, which are averaged. `rows`
    bounds the rows of a batch. Raises `UserError` for prompts of different lengths, and as `trace` does.
    """
    network = with_logits(model)
    there, here = paired(network, corrupt, clean)
    where, names = index_of(position, there.shape[1]), _sites(network, places)
    streams = trace(network, there, "blocks.*.hook_resid_pre")
    source = trace(network, here, names)
    effects = []
    with torch.no_grad():
        for layer, name in enumerate(names):
            x, given = streams[f"blocks.{layer}.hook_resid_pre"], source[name]
            slots = list(places.slots(given.shape))
            size = max(1, rows // len(there))
            for chunk in (slots[first : first + size] for first in range(0, len(slots), size)):
                probe = Probe((name,), partial(_replaced, given=given, slots=chunk))
                y = through(network, x.repeat(len(chunk), 1, 1), probe, layer)[:, where]
                logits = read(network, y, BLIND).view(len(chunk), len(there), -1)
                effects += [torch.as_tensor(metric(one)).float().mean() for one in logits]
    shape = [source[names[0]].shape[axis] for axis in places.axes()]
    return torch.stack(effects).view(len(names), *shape)


def attribution_patch(
    model: Transformer | Opened,
    corrupt: Ids,
    clean: Ids,
    metric: Metric,
    places: Places = Places(),
    *,
    position: int = -1,
) -> Tensor:
    """Return the estimated change of the metric by each patch, [L], [L, T] or [L, T, H], from one backward pass.

    It is the difference of the activations times the gradient in the corrupt run; `patch` measures what this estimates,
    plus the metric of the corrupt prompt. Raises `UserError` as `patch` does, and for a quantized model.
    """
    network = differentiable(with_logits(model))
    there, here = paired(network, corrupt, clean)
    where, names = index_of(position, there.shape[1]), _sites(network, places)
    source = trace(network, here, names)
    with torch.enable_grad():
        found = trace(
            network, there, (*names, "logits"), interventions=LEAF | dict.fromkeys(names, _same), gradients=True
        )
        value = torch.as_tensor(metric(found["logits"][:, where])).mean()
        gradients = torch.autograd.grad(value, [found[name] for name in names])
    effects = []
    for name, gradient in zip(names, gradients, strict=True):
        change = (source[name] - found[name].detach()).nan_to_num(0) * gradient  # masked scores: inf - inf
        summed = [axis for axis in range(change.dim()) if axis not in places.axes()]
        effects.append(change.sum(summed).float() if summed else change.float())
        if places.axes() == (2, 1):
            effects[-1] = effects[-1].mT
    return torch.stack(effects)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return Spearman's rank correlation of two tensors of effects, such as estimated and exact ones; ties share ranks.

    It is NaN if one of them is constant. Raises `UserError` for another number of effects.
    """
    if first.shape != second.shape or first.numel() < 2:
        raise UserError(
            f"A rank correlation needs two or more effects, and the same number of effects; got {tuple(first.shape)} "
            f"and {tuple(second.shape)}."
        )
    ranks = torch.stack([_ranks(x.flatten()) for x in (first, second)])
    return torch.corrcoef(ranks)[0, 1].item()


def _ranks(x: Tensor) -> Tensor:
    """Return the rank of each number, from 0; equal numbers get the mean of their ranks."""
    _, groups, counts = x.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts + 1) / 2).double()[groups]


def _same(x: Tensor) -> Tensor:
    return x  # an activation that an intervention returns is one that the pass continues with


LEAF: dict[str, Callable[[Tensor], Tensor]] = {"hook_embed": lambda x: x.detach().requires_grad_()}
"""Intervention that starts the graph of autograd at the token embeddings."""
BLIND = Probe((), lambda _, x: x)
"""A probe that shows nothing."""


def differentiable(model: Transformer) -> Transformer:
    """Return a model. Raises `UserError` for a quantized one, whose kernels have no gradients."""
    if bits := bits_of(model):
        raise UserError(f"Gradients need weights in floating point; this model's have {bits} bits: load the original.")
    return model


def paired(model: Transformer, corrupt: Ids, clean: Ids) -> tuple[Tensor, Tensor]:
    """Return both prompts as ids [B, T]. Raises `UserError` if they do not have the same shape."""
    there, here = rows_of(model, corrupt), rows_of(model, clean)
    if there.shape != here.shape:
        raise UserError(
            "The corrupt and the clean prompt must have the same number of tokens; got "
            f"{tuple(there.shape)} and {tuple(here.shape)}."
        )
    return there, here


def _sites(model: Transformer, places: Places) -> tuple[str, ...]:
    wanted = [f"blocks.{layer}.{places.site}" for layer in range(model.config.layers)]
    return select(wanted, activation_names(model))


def _replaced(_: str, x: Tensor, *, given: Tensor, slots: Sequence[Slot]) -> Tensor:
    """Return x [N * B, ...] with the slot of each patch taken from `given` [B, ...]."""
    patched = x.clone().unflatten(0, (len(slots), -1))
    for one, slot in zip(patched, slots, strict=True):
        one[slot] = given[slot]
    return patched.flatten(0, 1)
