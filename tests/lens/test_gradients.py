"""Attributions by gradients and the exact linear map, against definitions and in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import gradient_x_input, integrated_gradients, linear_map, token_contributions, trace
from sayso.model import Transformer

from .conftest import OURS, made

TARGET, CONTRAST = 11, 42


def logit(model: Transformer, ids: Tensor, embedded: Tensor, position: int = -1) -> Tensor:
    """Return the logit difference for given token embeddings, with patterns computed in the model's precision."""
    names = ("logits", "*.hook_pattern")
    found = trace(model, ids, names, interventions={"hook_embed": lambda _: embedded})["logits"][:, position]
    return found[:, TARGET] - found[:, CONTRAST]


def test_gradient_x_input_is_the_slope_along_each_embedding(network: Transformer, ids: Tensor) -> None:
    """Scaling one token's embedding by 1 + e changes the logit difference by e times its score."""
    model, step = network.double(), 1e-6
    found = gradient_x_input(model, ids, TARGET, CONTRAST, position=9)
    x = trace(model, ids, "hook_embed")["hook_embed"]
    for time in (0, 4, 9, 11):
        high, low = x.clone(), x.clone()
        high[:, time] *= 1 + step
        low[:, time] *= 1 - step
        slope = (logit(model, ids, high, 9) - logit(model, ids, low, 9)) / (2 * step)
        torch.testing.assert_close(found[:, time], slope, rtol=1e-3, atol=1e-5)
    assert (found[:, 10:] == 0).all()


def test_integrated_gradients_are_complete(network: Transformer, ids: Tensor) -> None:
    """The scores sum to the change of the logit from the baseline, within the tolerance."""
    model = network.double()
    found = integrated_gradients(model, ids, TARGET, CONTRAST, tolerance=1e-2)
    x = trace(model, ids, "hook_embed")["hook_embed"]
    baseline = (model.embed.weight.detach().mean(0) * model.config.embed_scale).expand_as(x)
    change = logit(model, ids, x) - logit(model, ids, baseline)
    torch.testing.assert_close(found.change, change)
    torch.testing.assert_close(found.scores.sum(-1) - change, found.gap)
    assert (found.gap.abs() <= 1e-2 * change.abs().clamp_min(1)).all(), found.steps


def test_steps_double_until_the_tolerance_or_the_limit(ours: Transformer, ids: Tensor) -> None:
    model = ours.double()
    assert integrated_gradients(model, ids, TARGET, tolerance=1e9).steps == 16
    assert integrated_gradients(model, ids, TARGET, tolerance=0, most_steps=64).steps == 64
    assert integrated_gradients(model, ids, TARGET, tolerance=0, most_steps=8).steps == 8


def test_a_baseline_may_be_given_for_each_token(ours: Transformer, ids: Tensor) -> None:
    """A token that equals its baseline has no score, and a baseline of the input explains nothing."""
    x = trace(ours, ids[0], "hook_embed")["hook_embed"][0]
    only = x.clone()
    only[3] = 0.5
    scores = integrated_gradients(ours, ids[0], TARGET, baseline=only, most_steps=32).scores[0]
    assert scores[3] != 0
    assert (scores[[0, 1, 2, 4, 11]] == 0).all()
    assert not integrated_gradients(ours, ids[0], TARGET, baseline=x).scores.any()
    with pytest.raises(UserError, match=r"\(32,\) or one for each token \(12, 32\); got \(3, 32\)"):
        integrated_gradients(ours, ids, TARGET, baseline=x[:3])


def test_the_products_of_the_linear_map_add_up_to_the_logits(network: Transformer, ids: Tensor) -> None:
    """In float64 within 1e-10, for every shape, at any position; logits before a soft cap."""
    model = network.double()
    cap = model.config.logit_cap
    with torch.no_grad():
        expected = trace(model, ids[0], "logits")["logits"][0]
        expected = cap * torch.atanh(expected / cap) if cap else expected
    for position in (-1, 5):
        found = linear_map(model, ids[0], position=position)
        assert found.inputs.shape == (12 if position == -1 else 6, 32)
        difference = (found.logits - expected[position]).abs().max()
        assert difference < (1e-6 if cap else 1e-10)  # atanh loses digits near the cap
        products = sum(found.matrix(t) @ x for t, x in enumerate(found.inputs)) + found.head @ found.constant
        torch.testing.assert_close(products, found.logits, rtol=0, atol=1e-10)
        parts = found.contributions(TARGET, CONTRAST).sum() + found.bias(TARGET, CONTRAST)
        torch.testing.assert_close(parts, found.logits[TARGET] - found.logits[CONTRAST], rtol=0, atol=1e-10)
        assert (found.constant.abs().max() > 0) == bool(model.config.biases)


def test_contributions_of_tokens_are_those_of_the_linear_map(network: Transformer, ids: Tensor) -> None:
    """For each target, at any position, without the matrices."""
    model = network.double()
    for position in (-1, 5):
        whole = linear_map(model, ids[0], position=position)
        found = token_contributions(model, ids[0], [TARGET, CONTRAST], position=position)
        for row, target in enumerate((TARGET, CONTRAST)):
            torch.testing.assert_close(found.tokens[row], whole.contributions(target), rtol=0, atol=1e-10)
            torch.testing.assert_close(found.bias[row], whole.bias(target), rtol=0, atol=1e-10)
    assert all(weight.grad is None for weight in model.parameters())
    with pytest.raises(UserError, match="from 0 to 49; got 50"):
        token_contributions(model, ids[0], [1, 50])
    with pytest.raises(UserError, match="one prediction; got 2 rows"):
        token_contributions(model, ids, [1])


@pytest.mark.parametrize("kind", ["swiglu", "relu2"])
def test_a_matrix_is_the_product_of_a_block_written_out(ids: Tensor, kind: str) -> None:
    """For one block: norm, values, pattern, output, plus the stream; gate, up, down, plus the stream; norm."""
    model = made(replace(OURS, layers=1, kv_heads=4, mlp=kind)).double()
    found, at = linear_map(model, ids[0]), trace(model, ids[0], "*")
    with torch.no_grad():
        block, eye = model.blocks[0], torch.eye(32, dtype=torch.float64)
        pre, post = at["blocks.0.mlp.hook_pre"][0, -1], at["blocks.0.mlp.hook_post"][0, -1]
        gate = torch.nn.functional.silu(pre) if kind == "swiglu" else pre.relu()
        torch.testing.assert_close(
            post, gate * (at["blocks.0.mlp.hook_pre_linear"][0, -1] if kind == "swiglu" else pre)
        )
        for token in (0, 5, 11):
            scale = at["blocks.0.ln1.hook_scale"][0, token]
            value = block.attention.value.weight * (block.attention_norm.weight / scale)
            weights = at["blocks.0.attn.hook_pattern"][0, :, -1, token].repeat_interleave(8)
            middle = block.attention.out.weight @ (weights[:, None] * value) + (eye if token == 11 else 0)
            up = block.mlp.up.weight * (block.mlp_norm.weight / at["blocks.0.ln2.hook_scale"][0, -1])
            after = middle + block.mlp.down.weight @ (gate[:, None] * (up @ middle))
            last = (model.norm.weight / at["ln_final.hook_scale"][0, -1])[:, None] * after
            torch.testing.assert_close(found.matrices[token], last, rtol=1e-9, atol=1e-10)


def test_the_map_of_a_float32_model_is_computed_in_float64(ours: Transformer, ids: Tensor) -> None:
    found = linear_map(ours, ids[0])
    assert found.matrices.dtype == torch.float64
    assert ours.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(found.logits.float(), ours(ids)[0, -1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ids": [[1, 2], [3, 4]]}, "one prediction; got 2 rows"),
        ({"ids": [1, 2], "position": 2}, "A position must be from -2 to 1"),
    ],
)
def test_linear_map_refuses(ours: Transformer, given: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        linear_map(ours, **given)


def test_targets_outside_the_vocabulary_are_refused(ours: Transformer, ids: Tensor) -> None:
    with pytest.raises(UserError, match="from 0 to 49; got 50"):
        gradient_x_input(ours, ids, 50)
    with pytest.raises(UserError, match="from 0 to 49; got -1"):
        linear_map(ours, [1, 2]).contributions(-1)
