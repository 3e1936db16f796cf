"""Lenses with a matrix for each layer, which read streams better than the model's last norm and head alone.

    lens = sayso.lens.jacobian_lens(model, rows)
    sayso.lens.logit_lens(model, ids, lens=lens)

A lens maps a stream x to W x + b before the norm and the head. The tuned lens is trained to predict what the model
predicts (Belrose et al. 2023); the Jacobian lens is the mean derivative of the last stream, and is not trained.
N streams, B batch, T time, C width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import atomic_file
from sayso.lens.forward import blocks_of, embedded, through
from sayso.lens.names import Opened
from sayso.lens.patching import BLIND, differentiable
from sayso.lens.readout import Lens, logprobs_of, with_logits
from sayso.lens.tracing import Ids, Trace, rows_of, trace
from sayso.model import Transformer


@dataclass(frozen=True)
class TunedLens(Lens):
    """A lens that was trained, and what it gained on held-out rows."""

    kl: Tensor
    """Mean KL divergence from the final prediction, KL(final || lens), in nats, [N]."""
    logit_lens_kl: Tensor
    """The same of the logit lens, [N]."""


@dataclass(frozen=True)
class JacobianLens(Lens):
    """A lens of mean Jacobians, and how well the rows determine it."""

    refit_error: Tensor
    """Distance of two lenses fitted to half of the rows each, divided by the length of the lens, [N]."""
    rows: int
    """Number of rows that were used."""


def tuned_lens(
    model: Transformer | Opened,
    ids: Ids,
    *,
    steps: int = 250,
    batch: int = 8,
    rate: float = 1e-3,
    held_out: float = 0.1,
    generator: torch.Generator | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> TunedLens:
    """Return a tuned lens for all streams, trained on rows of ids [B, T] with Adam at a linearly decreasing rate.

    The loss is the KL divergence of each stream's prediction from the final one. The share `held_out` of the rows, the
    last ones, is for the measures; `progress` is called with the number of finished steps. Raises `UserError` for too
    few rows, and as `trace` does.
    """
    network = with_logits(model)
    rows, names = rows_of(network, ids), streams_of(network)
    count = max(1, round(held_out * len(rows)))
    if len(rows) <= count:
        raise UserError(f"A tuned lens needs rows to train on and held-out rows; got {len(rows)} rows.")
    train, tested = rows[:-count], rows[-count:]
    width = network.config.width
    shapes = ((width, width), (width,))
    maps = [tuple(torch.zeros(shape, device=rows.device).requires_grad_() for shape in shapes) for _ in names[:-1]]
    optimizer = torch.optim.Adam([x for each in maps for x in each], lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        chosen = torch.randint(len(train), (batch,), generator=generator).to(rows.device)
        _tune(network, trace(network, train[chosen], names), maps)
        optimizer.step()
        progress(step + 1)
    eye = torch.eye(width, device=rows.device)
    weight = torch.stack([*(eye + change.detach() for change, _ in maps), eye])
    bias = torch.stack([*(bias.detach() for _, bias in maps), torch.zeros(width, device=rows.device)])
    lens = Lens(names, weight, bias)
    plain = Lens(names, eye.expand_as(weight), torch.zeros_like(lens.bias))
    kl, plain_kl = (_kl(network, tested, each, batch) for each in (lens, plain))
    return TunedLens(names, lens.weight, lens.bias, kl, plain_kl)


def jacobian_lens(
    model: Transformer | Opened,
    ids: Ids,
    *,
    tolerance: float = 0.05,
    batch: int = 2,
    progress: Callable[[int, float], None] = lambda _, __: None,
) -> JacobianLens:
    """Return the Jacobian lens of a model, fitted to rows of ids [B, T] until it converges.

    W is the mean over rows and positions of the derivative of the last stream, summed over the position and all later
    ones, by the stream at the position: what a small change here makes the model say, now or later. Batches of rows
    are added until the largest refit error is at most the tolerance, or there are no more; `progress` is called with
    the number of rows and this error. Each batch takes C backward passes. Raises `UserError` for a quantized model,
    fewer than two batches of rows, and as `trace` does.
    """
    network = differentiable(with_logits(model))
    rows, names = rows_of(network, ids), streams_of(network)
    if batch < 1 or len(rows) < 2 * batch:
        raise UserError(f"A Jacobian lens needs at least two batches of rows; got {len(rows)} rows and batch={batch}.")
    sums = torch.zeros(2, len(names), network.config.width, network.config.width, device=rows.device)
    counts = [0, 0]
    for number, part in enumerate(rows.split(batch)):
        sums[number % 2] += _jacobians(network, part).float()
        counts[number % 2] += len(part)
        if min(counts):
            halves = sums / torch.tensor(counts, device=rows.device)[:, None, None, None]
            weight = sums.sum(0) / sum(counts)
            error = (halves[0] - halves[1]).flatten(1).norm(dim=1) / weight.flatten(1).norm(dim=1)
            progress(sum(counts), error.max().item())
            if error.max() <= tolerance:
                break
    return JacobianLens(names, weight, torch.zeros_like(weight[..., 0]), error, sum(counts))


def save_lens(lens: Lens, path: str | Path) -> None:
    """Write a lens to a safetensors file."""
    tensors = {"weight": lens.weight, "bias": lens.bias}
    with atomic_file(Path(path)) as temporary:
        save_file(
            {name: x.cpu().contiguous() for name, x in tensors.items()}, temporary, {"names": "\n".join(lens.names)}
        )


def load_lens(path: str | Path) -> Lens:
    """Return the lens in a file that `save_lens` wrote. Raises `UserError` for another file."""
    try:
        with safe_open(path, "pt") as file:
            names = tuple((file.metadata() or {})["names"].split("\n"))
            return Lens(names, file.get_tensor("weight"), file.get_tensor("bias"))
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"'{path}' is not a lens that save_lens wrote ({error}).") from error


def streams_of(model: Transformer) -> tuple[str, ...]:
    """Return the names of the streams before the first block and after each."""
    return ("blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(model.config.layers)))


def _tune(model: Transformer, found: Trace, maps: Sequence[tuple[Tensor, ...]]) -> None:
    """Set the gradients of maps of all streams but the last, one stream at a time to bound the memory of the logits."""
    *streams, last = found.activations.values()
    with torch.no_grad():
        final = logprobs_of(model, last)
    for x, (change, bias) in zip(streams, maps, strict=True):
        with torch.enable_grad():
            read = logprobs_of(model, (x + F.linear(x.float(), change, bias)).to(x))
            change.grad, bias.grad = torch.autograd.grad(_divergence(final, read).mean(), (change, bias))


def _jacobians(model: Transformer, ids: Tensor) -> Tensor:
    """Return the sum over rows, and mean over positions, of the Jacobians of the last stream, [N, C, C]."""
    with torch.enable_grad():
        streams = [embedded(model, ids, BLIND).detach().requires_grad_()]
        for layer, _ in enumerate(blocks_of(model)):
            streams.append(through(model, streams[-1], BLIND, layer, last=layer))
        outputs = streams[-1].sum((0, 1))
        rows = [
            torch.stack([x.sum(0).mean(0) for x in torch.autograd.grad(output, streams, retain_graph=True)])
            for output in outputs
        ]
    return torch.stack(rows, dim=1)


def _divergence(final: Tensor, read: Tensor) -> Tensor:
    """Return KL(final || read) of log-probabilities [..., V], in nats."""
    return (final.exp() * (final - read)).sum(-1)


def _kl(model: Transformer, rows: Tensor, lens: Lens, batch: int) -> Tensor:
    """Return the mean divergence of each stream's prediction from the final one, [N]."""
    total = torch.zeros(len(lens.names), device=rows.device)
    with torch.no_grad():
        for part in rows.split(batch):
            found = trace(model, part, lens.names)
            final = logprobs_of(model, found[lens.names[-1]])
            read = [logprobs_of(model, lens(name, found[name])) for name in lens.names]
            total += torch.stack([_divergence(final, each).sum() for each in read])
    return total / rows.numel()
