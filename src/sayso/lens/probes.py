"""Linear probes: whether a label can be read from activations by a linear classifier, and whether that means something.

Takes activations and labels, returns a classifier with its held-out accuracy and that of a control task, in which every
word has a random label: a probe that learns both has merely memorized words (Hewitt & Liang 2019).
N examples, C width, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.judge.statistics.estimate import Estimate, proportion

METHODS = ("logistic", "least-squares")
_Fit = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier of activations: class = argmax(W x + b)."""

    weight: Tensor
    """[K, C]."""
    bias: Tensor
    """[K]."""
    accuracy: Estimate
    """On held-out examples, with Wilson's 95 % interval."""
    majority: float
    """Share of the most frequent class among the held-out examples: the accuracy of a probe that ignores its input."""
    control: Estimate | None
    """Held-out accuracy on the control task, if `words` were given."""

    def predict(self, x: Tensor) -> Tensor:
        """Return the class [...] of activations [..., C]."""
        return F.linear(x.to(self.weight), self.weight, self.bias).argmax(-1)

    @property
    def selectivity(self) -> float | None:
        """Accuracy minus that on the control task."""
        return None if self.control is None else self.accuracy.mean - self.control.mean


def fit_probe(
    x: Tensor,
    labels: Tensor,
    *,
    words: Tensor | None = None,
    method: str = "logistic",
    decay: float = 1e-2,
    held_out: float = 0.25,
    generator: torch.Generator | None = None,
) -> LinearProbe:
    """Return a linear probe of labels [N], integers from 0, fitted to activations [N, C].

    method: logistic (by L-BFGS) or least-squares (ridge regression to one-hot labels, in closed form); `decay` is the
    L2 penalty for standardized activations. `held_out` is the share of the examples to test on, drawn by `generator`.
    `words` [N] names the word of each example, such as its token, for the control task. Raises `UserError` for
    activations and labels that do not fit, and a share that leaves nothing to fit or to test.
    """
    x, labels = x.detach().float().cpu(), torch.as_tensor(labels).cpu()
    _check(x, labels, words, method)
    order = torch.randperm(len(x), generator=generator)
    test = round(held_out * len(x))
    if not 0 < test < len(x):
        raise UserError(f"held_out must leave examples to fit and to test; got {held_out:g} of {len(x)}.")
    train, tested = order[test:], order[:test]
    classes = int(labels.max()) + 1
    fit = _logistic if method == "logistic" else _least_squares
    weight, bias = _fitted(x[train], labels[train], classes, fit, decay)
    control = None
    if words is not None:
        _, indices = torch.as_tensor(words).cpu().unique(return_inverse=True)
        drawn = labels[torch.randint(len(labels), (int(indices.max()) + 1,), generator=generator)][indices]
        control = _accuracy(*_fitted(x[train], drawn[train], classes, fit, decay), x[tested], drawn[tested])
    accuracy = _accuracy(weight, bias, x[tested], labels[tested])
    majority = labels[tested].bincount().max().item() / test
    return LinearProbe(weight, bias, accuracy, majority, control)


def _check(x: Tensor, labels: Tensor, words: Tensor | None, method: str) -> None:
    if method not in METHODS:
        raise UserError(f"A probe is fitted by one of {', '.join(METHODS)}; got '{method}'.{nearest(method, METHODS)}")
    sizes = [len(labels), *([] if words is None else [len(words)])]
    if x.dim() != 2 or labels.dim() != 1 or any(size != len(x) for size in sizes):
        raise UserError(
            f"A probe needs activations [N, C], and one label and word for each; got {tuple(x.shape)} and "
            f"{' and '.join(map(str, sizes))}."
        )
    if labels.is_floating_point() or len(labels.unique()) < 2 or labels.min() < 0:
        raise UserError("Labels must be integers from 0, of at least two classes.")


def _fitted(x: Tensor, labels: Tensor, classes: int, fit: _Fit, decay: float) -> tuple[Tensor, Tensor]:
    """Return weight [K, C] and bias [K], fitted to standardized activations and then expressed in the given ones."""
    mean, spread = x.mean(0), x.std(0).clamp_min(1e-6)
    weight, bias = fit((x - mean) / spread, F.one_hot(labels, classes).float(), decay)
    weight = weight / spread
    return weight, bias - weight @ mean


def _least_squares(x: Tensor, targets: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    gram = (x.T @ x).double() / len(x) + decay * torch.eye(x.shape[1], dtype=torch.float64)
    middle = targets.mean(0)
    return torch.linalg.solve(gram, (x.T @ (targets - middle)).double() / len(x)).T.float(), middle


def _logistic(x: Tensor, targets: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(targets.shape[1], x.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), targets) + decay / 2 * weight.square().sum()
        value.backward()
        return value.item()

    with torch.enable_grad():
        optimizer.step(loss)
    return weight.detach(), bias.detach()


def _accuracy(weight: Tensor, bias: Tensor, x: Tensor, labels: Tensor) -> Estimate:
    right = F.linear(x, weight, bias).argmax(-1) == labels
    return proportion(int(right.sum()), len(labels))
