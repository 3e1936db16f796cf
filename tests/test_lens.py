"""The attention that the lens shows is the attention that the model used."""

from dataclasses import replace

import pytest
import torch

from sayso.lens.attention import attention_weights, pattern
from sayso.model import ModelConfig, Transformer

SHAPE = ModelConfig(vocab_size=50, layers=3, width=24, heads=4, kv_heads=2, head_size=6, mlp_width=32, context=32)


@pytest.fixture(scope="module", params=[{}, {"windows": (4, 0), "attention_cap": 2.0}], ids=["plain", "windows"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """A small Transformer with grouped heads and random weights."""
    torch.manual_seed(1)
    network = Transformer(replace(SHAPE, **request.param)).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return network


def test_weights_are_causal_and_sum_to_one(model: Transformer) -> None:
    """[L, H, T, T]: every row is a distribution over the positions up to its own."""
    weights = attention_weights(model, range(10))
    assert weights.shape == (3, 4, 10, 10)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4, 10))
    assert (weights.triu(1) == 0).all()


def test_weights_times_values_are_the_layer_output(model: Transformer) -> None:
    """In every layer, mixing its values by the shown weights gives what its fused attention really put out."""
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(attention: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        seen.append((attention.project(*inputs[:2])[2].transpose(1, 2), output))

    handles = [block.attention.register_forward_hook(keep) for block in model.blocks]
    with torch.inference_mode():
        model(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    weights = attention_weights(model, ids)
    for layer, (v, output) in enumerate(seen):
        mixed = weights[layer] @ v[0].repeat_interleave(2, dim=0)
        again = model.blocks[layer].attention.out(mixed.transpose(0, 1).flatten(1))
        torch.testing.assert_close(again, output[0], rtol=1e-4, atol=1e-5)


def test_looking_changes_nothing(model: Transformer) -> None:
    """The model gives the same logits after the lens was used, and no hook is left behind."""
    ids = torch.tensor([[1, 2, 3]])
    before = model(ids)
    attention_weights(model, [1, 2, 3])
    assert torch.equal(model(ids), before)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_pattern_prefers_a_head_that_points() -> None:
    """A head that looks at the token before scores one; one that rests on the first or on itself scores nothing."""
    previous = torch.diag(torch.ones(5), -1)
    previous[0, 0] = 1
    resting = torch.zeros(6, 6)
    resting[:, 0] = 1
    spread = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    found = pattern(torch.stack([previous, resting, torch.eye(6), spread])[None])[0]
    assert found[0] == 1
    assert found[1] == found[2] == 0
    assert 0 < found[3] < 0.5
