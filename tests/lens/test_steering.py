"""Steering adds a mean difference to a stream, in traces, in passes and in generation."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import SteeringVector, steered, steering_vector, trace
from sayso.model import Transformer
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling

NAME = "blocks.1.hook_resid_post"
POSITIVE, NEGATIVE = [[1, 2, 3], [4, 5]], [[6, 7], [8, 9, 10, 11]]


def test_the_vector_is_the_mean_difference_of_contrast_pairs(ours: Transformer) -> None:
    """At one position, or over all of them, for prompts of any lengths."""

    def stream(ids: list[int]) -> Tensor:
        return trace(ours, ids, NAME)[NAME][0]

    for position, read in ((-1, lambda x: x[-1]), (0, lambda x: x[0]), (None, lambda x: x.mean(0))):
        found = steering_vector(ours, POSITIVE, NEGATIVE, NAME, position=position)
        sides = [torch.stack([read(stream(ids)) for ids in side]).mean(0) for side in (POSITIVE, NEGATIVE)]
        torch.testing.assert_close(found.direction, sides[0] - sides[1])
        assert found.name == NAME


@pytest.mark.parametrize("name", ["blocks.1.hook_resid_pre", "blocks.0.hook_resid_mid", "blocks.2.hook_resid_post"])
def test_a_steered_model_computes_what_the_intervention_does(any_network: Transformer, ids: Tensor, name: str) -> None:
    """Inside the `with` block, and not after it."""
    vector = SteeringVector(name, torch.randn(32, generator=torch.Generator().manual_seed(0)))
    before = trace(any_network, ids, "logits")["logits"]
    expected = trace(any_network, ids, "logits", interventions=vector.intervention(-1.5))["logits"]
    assert (expected - before).abs().max() > 0.01
    with torch.no_grad():
        with steered(any_network, vector, -1.5):
            torch.testing.assert_close(any_network(ids), expected, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(trace(any_network, ids, "logits")["logits"], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(any_network(ids), before, rtol=1e-3, atol=1e-4)


def test_a_steered_model_generates_with_the_vector(ours: Transformer) -> None:
    """Greedy tokens are those of passes with the intervention; without it, there are others."""
    vector = SteeringVector(
        "blocks.0.hook_resid_post", 30 * torch.randn(32, generator=torch.Generator().manual_seed(0))
    )
    sampling = Sampling(temperature=0, max_tokens=6)
    with steered(SimpleNamespace(module=ours), vector, 2.0):
        (found,) = generate(ours, [[1, 2, 3]], sampling)
    row = [1, 2, 3]
    for _ in range(6):
        logits = trace(ours, row, "logits", interventions=vector.intervention(2.0))["logits"]
        row.append(int(logits[0, -1].argmax()))
    assert found.ids == row[3:]
    assert generate(ours, [[1, 2, 3]], sampling)[0].ids != found.ids


def test_an_error_ends_the_steering(ours: Transformer, ids: Tensor) -> None:
    vector = SteeringVector(NAME, torch.ones(32))
    with torch.no_grad():
        before = ours(ids)
        with pytest.raises(ZeroDivisionError), steered(ours, vector):
            raise ZeroDivisionError
        assert torch.equal(ours(ids), before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"negative": [[1]]}, "as many negative as positive prompts, and at least one; got 2 positive and 1 negative"),
        ({"positive": [], "negative": []}, "got 0 positive"),
        ({"name": "blocks.1.hook_mlp_out"}, "Steering adds to a residual stream"),
        ({"name": "blocks.7.hook_resid_post"}, "which has blocks 0 to 2"),
        ({"position": 2}, "A position must be from -2 to 1"),
        ({"positive": [[[1], [2]], [1]]}, "must be one row of ids; got 2 rows"),
    ],
)
def test_pairs_that_give_no_vector_are_refused(ours: Transformer, given: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        steering_vector(ours, **{"positive": POSITIVE, "negative": NEGATIVE, "name": NAME} | given)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        (NAME, 31, r"must have 32 numbers; got \(31,\)"),
        ("blocks.0.hook_resid_pre", 32, "starts after block 0"),
        ("blocks.3.hook_resid_post", 32, "which has blocks 0 to 2"),
    ],
)
def test_vectors_of_another_model_are_refused(ours: Transformer, name: str, width: int, message: str) -> None:
    with pytest.raises(UserError, match=message), steered(ours, SteeringVector(name, torch.ones(width))):
        pass
