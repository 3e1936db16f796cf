"""Steering vectors: directions of the residual stream that change what a model writes.

    happy = sayso.lens.steering_vector(model, positive, negative, "blocks.6.hook_resid_post")
    with sayso.lens.steered(model, happy, 4.0):
        model.generate("Today I")

Takes contrast pairs of prompts, returns the mean difference of their activations (Turner et al. 2023; Rimsky et al.
2024). B batch, T time, C width, N prompts.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sayso.base.errors import UserError
from sayso.lens.names import Opened, activation_names, network_of, unknown
from sayso.lens.targets import index_of
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer

STREAMS = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post")


@dataclass(frozen=True)
class SteeringVector:
    """A direction to add to one residual stream."""

    name: str
    """Name of the stream, such as `blocks.6.hook_resid_post`."""
    direction: Tensor
    """What strength 1 adds at every position, [C]."""

    def intervention(self, strength: float = 1.0) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return the intervention that adds the vector, for `trace`."""
        return {self.name: lambda x: x + strength * self.direction.to(x)}


def steering_vector(
    model: Transformer | Opened,
    positive: Sequence[Ids],
    negative: Sequence[Ids],
    name: str,
    *,
    position: int | None = -1,
) -> SteeringVector:
    """Return the mean of a stream for the positive prompts minus that for the negative ones.

    Prompts are rows of ids of any length; each counts with its stream at `position`, or its mean over all positions if
    that is None. Raises `UserError` for another name than a residual stream's, another number of negative prompts, and
    as `trace` does.
    """
    network = network_of(model)
    _check_stream(network, name)
    if not positive or len(positive) != len(negative):
        raise UserError(
            f"Contrast pairs need as many negative as positive prompts, and at least one; got {len(positive)} positive "
            f"and {len(negative)} negative."
        )
    means = (
        torch.stack([_read(network, ids, name, position) for ids in side]).mean(0) for side in (positive, negative)
    )
    first, second = means
    return SteeringVector(name, first - second)


@contextmanager
def steered(model: Transformer | Opened, vector: SteeringVector, strength: float = 1.0) -> Iterator[None]:
    """Add a steering vector at every position of all passes of a model inside the `with` block, as when it generates.

    Meanwhile, a CPU model generates with torch instead of the native code. Raises `UserError` for a stream that the
    model does not have, a direction of another width, and the embedding, `blocks.0.hook_resid_pre`.
    """
    network = network_of(model)
    _check_stream(network, vector.name)
    if vector.direction.shape != (network.config.width,):
        raise UserError(
            f"A steering vector of this model must have {network.config.width} numbers; got "
            f"{tuple(vector.direction.shape)}."
        )
    handle = _writer(network, vector.name).register_forward_hook(lambda _, __, y: y + strength * vector.direction.to(y))
    try:
        yield
    finally:
        handle.remove()


def _read(model: Transformer, ids: Ids, name: str, position: int | None) -> Tensor:
    rows = rows_of(model, ids)
    if len(rows) > 1:
        raise UserError(f"Each prompt of a contrast pair must be one row of ids; got {len(rows)} rows.")
    x = trace(model, rows, name)[name][0]
    return x.mean(0) if position is None else x[index_of(position, len(x))]


def _check_stream(model: Transformer, name: str) -> None:
    known = activation_names(model)
    if name not in known:
        raise unknown(name, known)
    if not name.endswith(STREAMS):
        raise UserError(f"Steering adds to a residual stream, such as 'blocks.0.hook_resid_post'; got '{name}'.")


def _writer(model: Transformer, name: str) -> nn.Module:
    """Return the module whose output a residual stream adds last, the identity if there is no norm."""
    found = re.fullmatch(r"blocks\.(\d+)\.hook_resid_(\w+)", name)
    assert found
    layer, place = int(found[1]), found[2]
    if place == "mid":
        return model.get_submodule(f"blocks.{layer}.attention_post_norm")
    if place == "pre" and not layer:
        raise UserError("Steering while generating starts after block 0; got the stream before it: choose another.")
    return model.get_submodule(f"blocks.{layer - (place == 'pre')}.mlp_post_norm")
