"""Train a sparse autoencoder on any activation of a model: takes batches of activations, returns the autoencoder.

Inputs are divided by one number, so that the mean square of their entries is 1; at the end it is multiplied into the
weights. N activations of a batch, C width, F features.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.autoencoder import ActivationPlace, SparseAutoencoder, check_kind, top
from sayso.lens.names import Opened, activation_names, network_of, unknown
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer

BUFFER_ROWS = 64  # rows whose activations are shuffled together


@dataclass(frozen=True)
class AutoencoderTraining:
    """Settings of the training. Raises `UserError` for values out of range."""

    kind: str = "topk"
    """topk or jumprelu."""
    features: int = 4096
    """Number of features, F."""
    k: int = 32
    """Active features of an activation: exactly (topk), or the mean that the loss aims at (jumprelu)."""
    steps: int = 1000
    batch: int = 2048
    """Activations in a step."""
    rate: float = 1e-3
    """Learning rate of Adam; it decreases linearly to 0 over the last fifth of the steps."""
    dead_after: int = 100
    """Steps without activity after which a feature counts as dead and is trained on what the others leave (AuxK)."""
    sparsity: float = 0.3
    """Weight of (active / k - 1)^2 in the loss of jumprelu, reached linearly in the first half of the steps."""
    bandwidth: float = 0.1
    """Distance from the threshold within which an input of jumprelu changes it, as a kernel estimate."""

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if not 1 <= self.k <= self.features:
            raise UserError(f"k must be from 1 to {self.features:,}, the number of features; got {self.k}.")
        if self.steps < 1 or self.batch < 2:
            raise UserError(
                f"Training needs at least 1 step and batches of 2 activations; got {self.steps} and {self.batch}."
            )


@dataclass(frozen=True)
class Step:
    """Measures of one step."""

    number: int
    """From 1."""
    variance_explained: float
    """Of the batch."""
    active: float
    """Mean number of active features."""
    dead: float
    """Share of features that count as dead."""


def train_autoencoder(
    model: Transformer | Opened,
    ids: Ids,
    name: str,
    settings: AutoencoderTraining = AutoencoderTraining(),
    *,
    skip: int = 1,
    generator: torch.Generator | None = None,
    progress: Callable[[Step], None] = lambda _: None,
) -> SparseAutoencoder:
    """Return a sparse autoencoder of an activation [B, T, C] on rows of ids, which are repeated as often as needed.

    The first `skip` positions of each row are left out: their activations are unlike all others. Raises `UserError` for
    an unknown name, activations with heads, and rows without other positions, and as `trace` does.
    """
    batches = activation_batches(model, ids, name, settings.batch, skip=skip, generator=generator)
    return fit_autoencoder(batches, ActivationPlace(name), settings, generator=generator, progress=progress)


def fit_autoencoder(
    batches: Iterable[Tensor],
    place: ActivationPlace,
    settings: AutoencoderTraining = AutoencoderTraining(),
    *,
    generator: torch.Generator | None = None,
    progress: Callable[[Step], None] = lambda _: None,
) -> SparseAutoencoder:
    """Return a sparse autoencoder of batches of activations [N, C], one for each step.

    Training ends early if there are fewer batches than steps. Raises `UserError` for no batch.
    """
    left = iter(batches)
    first = next(left, None)
    if first is None:
        raise UserError("A sparse autoencoder needs at least one batch of activations; got none.")
    scale = first.float().square().mean().sqrt().clamp_min(1e-12)
    found = _initialized(first.float() / scale, place, settings, generator)
    optimizer = torch.optim.Adam(found.parameters(), lr=settings.rate, betas=(0.9, 0.999))
    idle = torch.zeros(settings.features, device=first.device)
    for number, part in enumerate(islice(chain([first], left), settings.steps), 1):
        optimizer.param_groups[0]["lr"] = settings.rate * min(1.0, 5 * (1 - (number - 1) / settings.steps))
        x = part.float() / scale
        with torch.enable_grad():
            loss, features, error = _loss(found, x, idle >= settings.dead_after, settings, number)
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        with torch.no_grad():
            found.W_dec.div_(found.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-8))
            idle = torch.where((features > 0).any(0), 0, idle + 1)
            active, dead = (features > 0).sum(-1).float().mean(), (idle >= settings.dead_after).float().mean()
        progress(Step(number, 1 - error.item(), active.item(), dead.item()))
    with torch.no_grad():  # features scale with the inputs
        for weight in (found.b_enc, found.b_dec, found.threshold):
            if weight is not None:
                weight.mul_(scale)
    return found.requires_grad_(False)


def activation_batches(
    model: Transformer | Opened,
    ids: Ids,
    name: str,
    size: int,
    *,
    skip: int = 1,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yield shuffled activations [size, C] of rows of ids, forever. Errors as in `train_autoencoder`."""
    network = network_of(model)
    rows, known = rows_of(network, ids), activation_names(network)
    if name not in known:
        raise unknown(name, known)
    if rows.shape[1] <= skip:
        raise UserError(f"Rows need more than the {skip} positions that are left out; got {rows.shape[1]}.")
    dimensions = trace(network, rows[:1], name)[name].dim()
    if dimensions != 3:
        raise UserError(f"'{name}' has heads; choose an activation [B, T, C], such as 'blocks.0.hook_attn_out'.")
    return _shuffled(network, rows, name, size, skip, generator)


def _shuffled(
    model: Transformer, rows: Tensor, name: str, size: int, skip: int, generator: torch.Generator | None
) -> Iterator[Tensor]:
    rest = None
    while True:
        for part in rows[torch.randperm(len(rows), generator=generator)].split(BUFFER_ROWS):
            x = trace(model, part, name)[name][:, skip:].flatten(0, 1)
            x = x if rest is None else torch.cat((rest, x))
            x = x[torch.randperm(len(x), generator=generator)]
            *whole, rest = x.split(size)
            if len(rest) == size:
                whole, rest = [*whole, rest], None
            yield from whole


def _initialized(
    x: Tensor, place: ActivationPlace, settings: AutoencoderTraining, generator: torch.Generator | None
) -> SparseAutoencoder:
    """Return an autoencoder with random directions, read as they are written, around the mean of a batch."""
    k = settings.k if settings.kind == "topk" else None
    found = SparseAutoencoder(x.shape[1], settings.features, place, k).to(x.device)
    directions = torch.randn(settings.features, x.shape[1], generator=generator).to(x.device)
    with torch.no_grad():
        found.W_dec.copy_(directions / directions.norm(dim=1, keepdim=True))
        found.W_enc.copy_(found.W_dec.T)
        found.b_dec.copy_(x.mean(0))
        if found.threshold is not None:  # as many features are active as shall be in the end
            share = 1 - settings.k / settings.features
            found.threshold.fill_(float(found.before(x).flatten()[: 1 << 20].quantile(share).clamp_min(1e-3)))
    return found


def _loss(
    found: SparseAutoencoder, x: Tensor, dead: Tensor, settings: AutoencoderTraining, number: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, the features [N, F], and the share of the variance that they leave."""
    spread = (x - x.mean(0)).square().sum().clamp_min(1e-12)
    h, sparsity = found.before(x), torch.zeros((), device=x.device)
    if found.threshold is None:
        features = top(h, settings.k)
    else:
        features, active = _jump(h, found.threshold.relu(), settings.bandwidth)
        weight = settings.sparsity * min(1.0, 2 * number / settings.steps)
        sparsity = weight * (active / settings.k - 1).square()
    rest = x - found.decode(features)
    error = rest.square().sum() / spread
    return error + sparsity + _auxiliary(found, h, rest.detach(), dead), features.detach(), error.detach()


def _jump(h: Tensor, threshold: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    """Return JumpReLU features and the mean number of active ones, both with straight-through gradients.

    The derivatives by the threshold are those of the expectation, by a rectangular kernel (Rajamanoharan et al. 2024).
    """
    above = (h > threshold).float()
    near = ((h - threshold).abs() < bandwidth / 2).float() / bandwidth
    step = -near * threshold
    jump = step * threshold.detach()
    features = h * above + (jump - jump.detach())
    return features, (above + step - step.detach()).sum(-1).mean()


def _auxiliary(found: SparseAutoencoder, h: Tensor, rest: Tensor, dead: Tensor) -> Tensor:
    """Return 1/32 of the error with which dead features predict what the others leave (AuxK, Gao et al. 2024)."""
    count = int(dead.sum())
    if not count:
        return torch.zeros((), device=h.device)
    chosen = top(h.masked_fill(~dead, float("-inf")), min(count, max(1, rest.shape[1] // 2)))
    predicted = chosen @ found.W_dec
    return (rest - predicted).square().sum() / rest.square().sum().clamp_min(1e-12) / 32
