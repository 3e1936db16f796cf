"""Linear probes against closed forms and scikit-learn-like expectations, with a control task."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError
from sayso.judge.statistics.estimate import wilson
from sayso.lens import fit_probe


def examples(count: int = 400, noise: float = 0.0, width: int = 6) -> tuple[Tensor, Tensor]:
    """Return activations and the labels 0, 1 and 2 that a plane of them tells."""
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(count, width, generator=generator) + 5
    angles = torch.atan2(x[:, 0] - 5, x[:, 1] - 5) + noise * torch.randn(count, generator=generator)
    return x, ((angles + torch.pi) / (2 * torch.pi / 3)).long() % 3


@pytest.mark.parametrize("method", ["logistic", "least-squares"])
def test_a_linear_label_is_found_and_an_unrelated_one_is_not(method: str) -> None:
    x, labels = examples()
    found = fit_probe(x, labels, method=method, generator=torch.Generator().manual_seed(1))
    assert found.accuracy.mean > 0.8
    assert found.accuracy.n == 100
    assert (found.accuracy.low, found.accuracy.high) == wilson(found.accuracy.mean, 100)
    assert (found.predict(x) == labels).float().mean() > 0.8
    assert found.predict(x.view(4, 100, 6)).shape == (4, 100)
    random = torch.randint(3, (400,), generator=torch.Generator().manual_seed(2))
    assert fit_probe(x, random, method=method, generator=torch.Generator().manual_seed(1)).accuracy.mean < 0.5


def test_the_held_out_accuracy_is_that_of_examples_not_fitted() -> None:
    """It is the accuracy of the returned weights on the first examples of the drawn order."""
    x, labels = examples(noise=0.8)
    found = fit_probe(x, labels, held_out=0.3, generator=torch.Generator().manual_seed(7))
    held = torch.randperm(400, generator=torch.Generator().manual_seed(7))[:120]
    assert found.accuracy.mean == pytest.approx((found.predict(x[held]) == labels[held]).double().mean().item())
    assert found.majority == pytest.approx(labels[held].bincount().max().item() / 120)
    assert found.control is None
    assert found.selectivity is None


def test_least_squares_minimize_the_penalized_error() -> None:
    """The gradient of the objective in standardized activations vanishes at the solution."""
    x, labels = examples(100)
    found = fit_probe(x, labels, method="least-squares", decay=0.3, held_out=0.1, generator=torch.Generator())
    rest = torch.randperm(100, generator=torch.Generator())[10:]
    mean, spread = x[rest].mean(0), x[rest].std(0)
    weight = (found.weight * spread).requires_grad_()
    bias = (found.bias + found.weight @ mean).requires_grad_()
    targets = F.one_hot(labels[rest], 3).float()
    error = (F.linear((x[rest] - mean) / spread, weight, bias) - targets).square().sum(1).mean() / 2
    gradients = torch.autograd.grad(error + 0.15 * weight.square().sum(), [weight, bias])
    assert max(gradient.abs().max() for gradient in gradients) < 1e-5


def test_logistic_regression_minimizes_the_penalized_loss() -> None:
    x, labels = examples(100)
    found = fit_probe(x, labels, decay=0.1, held_out=0.1, generator=torch.Generator())
    rest = torch.randperm(100, generator=torch.Generator())[10:]
    mean, spread = x[rest].mean(0), x[rest].std(0)
    weight = (found.weight * spread).requires_grad_()
    bias = (found.bias + found.weight @ mean).requires_grad_()
    loss = F.cross_entropy(F.linear((x[rest] - mean) / spread, weight, bias), labels[rest])
    gradients = torch.autograd.grad(loss + 0.05 * weight.square().sum(), [weight, bias])
    assert max(gradient.abs().max() for gradient in gradients) < 1e-3


def test_the_control_task_tells_memorized_words() -> None:
    """With word vectors that identify the word, random labels of words are learned as well as real ones."""
    generator = torch.Generator().manual_seed(3)
    words = torch.randint(20, (400,), generator=generator)
    labels = torch.randint(2, (20,), generator=generator)[words]
    memorized = fit_probe(F.one_hot(words, 20).float(), labels, words=words, generator=generator)
    assert memorized.accuracy.mean == memorized.control.mean == 1
    assert memorized.selectivity == 0
    x, told = examples()
    honest = fit_probe(x, told, words=words, generator=generator)
    assert honest.control.mean < 0.6
    assert honest.selectivity == honest.accuracy.mean - honest.control.mean > 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "ridge"}, "one of logistic, least-squares; got 'ridge'"),
        ({"labels": torch.zeros(9, dtype=torch.long)}, r"got \(10, 3\) and 9"),
        ({"words": torch.zeros(4)}, r"one label and word for each; got \(10, 3\) and 10 and 4"),
        ({"x": torch.zeros(10)}, "A probe needs activations"),
        ({"labels": torch.zeros(10, dtype=torch.long)}, "integers from 0, of at least two classes"),
        ({"labels": torch.arange(10) - 1}, "integers from 0"),
        ({"labels": torch.arange(10.0)}, "integers from 0"),
        ({"held_out": 0.01}, "leave examples to fit and to test; got 0.01 of 10"),
        ({"held_out": 1.0}, "leave examples to fit and to test; got 1 of 10"),
    ],
)
def test_fit_probe_refuses(given: dict, message: str) -> None:
    usual = {"x": torch.randn(10, 3), "labels": torch.arange(10) % 2}
    with pytest.raises(UserError, match=message):
        fit_probe(**usual | given)
