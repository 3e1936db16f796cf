"""Sparse autoencoders: an activation as a sum of few features out of many (Bricken et al. 2023).

    f = act((x - b_dec) W_enc + b_enc),  x ~ f W_dec + b_dec

act keeps the k largest (TopK, Gao et al. 2024) or those above a threshold of their own (JumpReLU, Rajamanoharan et al.
2024). Takes activations, returns features and their sum. N activations, C width, F features.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sayso.base.errors import UserError, nearest
from sayso.lens.steering import SteeringVector

KINDS = ("topk", "jumprelu")


@dataclass(frozen=True)
class ActivationPlace:
    """Where the activations of a sparse autoencoder come from."""

    name: str
    """Name of the activation, such as `blocks.6.hook_resid_post`."""
    model: str = ""
    """Name of the model, for people."""


@dataclass(frozen=True)
class Quality:
    """How well features describe activations."""

    variance_explained: float
    """1 minus the squared error of the sums, divided by the squared distance of the activations from their mean."""
    active: float
    """Mean number of active features of an activation (L0)."""
    density: Tensor
    """Share of the activations on which each feature is active, [F]."""

    @property
    def dead(self) -> float:
        """Share of the features that were never active."""
        return (self.density == 0).float().mean().item()


class SparseAutoencoder(nn.Module):
    """A TopK autoencoder if `k` is given, else a JumpReLU one. Weights have the names and shapes of SAELens."""

    def __init__(self, width: int, features: int, place: ActivationPlace, k: int | None = None) -> None:
        super().__init__()
        if k is not None and not 1 <= k <= features:
            raise UserError(f"k must be from 1 to {features:,}, the number of features; got {k}.")
        self.place, self.k = place, k
        self.centers = True
        """Whether the bias of the decoder is subtracted from the input."""
        self.W_enc = nn.Parameter(torch.zeros(width, features))
        self.b_enc = nn.Parameter(torch.zeros(features))
        self.W_dec = nn.Parameter(torch.zeros(features, width))
        self.b_dec = nn.Parameter(torch.zeros(width))
        self.threshold = nn.Parameter(torch.zeros(features)) if k is None else None

    @property
    def kind(self) -> str:
        """Topk or jumprelu."""
        return "jumprelu" if self.k is None else "topk"

    def before(self, x: Tensor) -> Tensor:
        """Return what features are before the activation function, [..., F], for activations [..., C]."""
        x = x.to(self.W_enc)
        return (x - self.b_dec if self.centers else x) @ self.W_enc + self.b_enc

    def encode(self, x: Tensor) -> Tensor:
        """Return the features [..., F] of activations [..., C]."""
        h = self.before(x)
        if self.k is not None:
            return top(h, self.k)
        assert self.threshold is not None
        return h.relu() * (h > self.threshold)

    def decode(self, features: Tensor) -> Tensor:
        """Return the sum [..., C] of features [..., F]."""
        return features @ self.W_dec + self.b_dec

    def forward(self, x: Tensor) -> Tensor:
        """Return what remains of activations [..., C] as a sum of features."""
        return self.decode(self.encode(x))

    def steering(self, feature: int) -> SteeringVector:
        """Return the direction that a feature writes, of length 1, as a steering vector of its stream."""
        self._check([feature])
        direction = self.W_dec[feature].detach()
        return SteeringVector(self.place.name, direction / direction.norm().clamp_min(1e-12))

    def without(self, features: Sequence[int]) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return the intervention that removes what features add to the activation, and leaves the rest of it."""
        self._check(features)
        chosen = list(features)

        def change(x: Tensor) -> Tensor:
            with torch.no_grad():
                return x - (self.encode(x)[..., chosen] @ self.W_dec[chosen]).to(x)

        return {self.place.name: change}

    def _check(self, features: Sequence[int]) -> None:
        if bad := [feature for feature in features if not 0 <= feature < len(self.W_dec)]:
            raise UserError(f"A feature must be from 0 to {len(self.W_dec) - 1:,}; got {bad[0]}.")


def measure_autoencoder(autoencoder: SparseAutoencoder, parts: Iterable[Tensor]) -> Quality:
    """Return how well an autoencoder describes activations, given in parts [..., C], such as `read_corpus` yields.

    Raises `UserError` for another width and for no activations.
    """
    width, count = autoencoder.W_enc.shape[0], 0
    error = total = torch.zeros((), dtype=torch.float64)
    mean = torch.zeros(width, dtype=torch.float64)
    active = torch.zeros(autoencoder.W_enc.shape[1], dtype=torch.float64)
    for part in parts:
        if part.shape[-1] != width:
            raise UserError(f"This autoencoder is of activations of width {width}; got {part.shape[-1]}.")
        with torch.no_grad():
            x = part.flatten(0, -2).to(autoencoder.W_enc)
            features = autoencoder.encode(x)
            error = error + (x - autoencoder.decode(features)).double().square().sum().cpu()
        count, mean, total = count + len(x), mean + x.double().sum(0).cpu(), total + x.double().square().sum().cpu()
        active = active + (features > 0).double().sum(0).cpu()
    if not count:
        raise UserError("Quality needs at least one activation; got none.")
    spread = total - mean.square().sum() / count
    return Quality(1 - (error / spread).item(), (active.sum() / count).item(), (active / count).float())


def top(h: Tensor, k: int) -> Tensor:
    """Return h [..., F] with all but the k largest, and negative ones, set to 0."""
    values, places = h.topk(min(k, h.shape[-1]), dim=-1, sorted=False)
    return torch.zeros_like(h).scatter(-1, places, values.relu())


def check_kind(kind: str) -> None:
    """Raise `UserError` for a kind of autoencoder that does not exist."""
    if kind not in KINDS:
        raise UserError(f"A sparse autoencoder must be one of {', '.join(KINDS)}; got '{kind}'.{nearest(kind, KINDS)}")
