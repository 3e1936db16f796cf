"""Outlier features that were planted are found, and keeping them makes 8 bits accurate."""

import pytest
import torch
from torch import Tensor, nn

from sayso.base.errors import UserError
from sayso.lens import outlier_features, rounding_effect, trace
from sayso.model import Transformer
from sayso.model.adapters import linear_layers
from sayso.weights.quantize.integers import Grid
from sayso.weights.quantize.quantize import QuantizeMethod, quantize_model
from sayso.weights.quantize.scheme import Scheme

from .conftest import OURS, made

ROWS = torch.randint(50, (5, 12), generator=torch.Generator().manual_seed(4))


@pytest.fixture
def planted() -> Transformer:
    """A model whose inputs are large in dimension 5 of blocks 0 and 1, and in dimension 9 of the MLP of block 0."""
    model = made(OURS)
    with torch.no_grad():
        for norm in (model.blocks[0].attention_norm, model.blocks[1].mlp_norm):
            norm.weight[5] = 60
        model.blocks[0].mlp_norm.weight[9] = 50
    return model


def inputs(model: Transformer) -> Tensor:
    """Return the magnitudes of the inputs of attention and MLP, [L, 2, N, T, C]."""
    found, layers = trace(model, ROWS, "*hook_resid_*"), []
    with torch.no_grad():
        for layer, block in enumerate(model.blocks):
            first = block.attention_norm(found[f"blocks.{layer}.hook_resid_pre"])
            second = block.mlp_norm(found[f"blocks.{layer}.hook_resid_mid"])
            layers.append(torch.stack((first, second)).abs())
    return torch.stack(layers)


def test_outliers_are_those_of_the_definition(planted: Transformer) -> None:
    """In enough blocks and at enough positions; in batches that do not divide the rows."""
    x = inputs(planted)
    for threshold, layers, positions in ((6.0, 0.5, 0.06), (6.0, 0.3, 0.06), (3.0, 0.3, 0.9), (6.0, 0.3, 0.95)):
        found = outlier_features(
            planted, ROWS, threshold=threshold, least_layers=layers, least_positions=positions, batch=2
        )
        torch.testing.assert_close(found.peaks, x.amax((2, 3)), rtol=1e-4, atol=1e-4)
        large = x >= threshold
        torch.testing.assert_close(found.layers, large.flatten(1, 3).any(1).float().mean(0))
        torch.testing.assert_close(found.positions, large.any(0).any(0).float().mean((0, 1)))
        expected = (found.layers >= layers) & (found.positions >= positions)
        assert sorted(found.dimensions.tolist()) == expected.nonzero().flatten().tolist()
    assert outlier_features(planted, ROWS, threshold=6.0, least_layers=0.5).dimensions.tolist() == [5]
    ordered = outlier_features(planted, ROWS, threshold=6.0, least_layers=0.3, least_positions=0.0).dimensions
    highest = x.amax((0, 1, 2, 3))[ordered]
    assert (highest.diff() <= 0).all()


class Fake(nn.Module):
    """A linear layer that rounds weights and inputs to 8 bits by its own arithmetic, except some columns."""

    def __init__(self, layer: nn.Linear, kept: Tensor) -> None:
        super().__init__()
        self.weight, self.kept = layer.weight.detach(), kept

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., R] for x [..., C]."""
        scale = self.weight.abs().amax(1, keepdim=True) / 127
        rest = x.clone()
        rest[..., self.kept] = 0
        step = rest.abs().amax(-1, keepdim=True) / 127
        rounded = ((rest / step).round() * step) @ ((self.weight / scale).round() * scale).T
        return rounded + x[..., self.kept] @ self.weight[:, self.kept].T


def perplexity(model: Transformer) -> float:
    with torch.no_grad():
        logits = model(ROWS)[:, :-1]
        return nn.functional.cross_entropy(logits.flatten(0, 1), ROWS[:, 1:].flatten()).exp().item()


def test_perplexities_are_those_of_models_with_rounded_blocks(planted: Transformer) -> None:
    found = rounding_effect(planted, ROWS, threshold=20.0, batch=2)
    assert found.plain == pytest.approx(perplexity(planted), rel=1e-5)
    peaks: dict[str, Tensor] = {}
    own = linear_layers(planted)
    hooks = [
        layer.register_forward_pre_hook(lambda _, x, name=name: peaks.update({name: x[0].abs().amax((0, 1))}))
        for name, layer in own.items()
    ]
    perplexity(planted)
    for hook in hooks:
        hook.remove()
    for side, figures in (("naive", found.naive), ("aware", found.aware)):
        for block in (0, 1, None):
            for name, layer in own.items():
                kept = (peaks[name] >= (20.0 if side == "aware" else 1e9)).nonzero().flatten()
                inside = block is None or name.startswith(f"blocks.{block}.")
                planted.set_submodule(name, Fake(layer, kept) if inside else layer)
            total = found.naive_all if side == "naive" else found.aware_all
            expected = total if block is None else figures[block].item()
            assert perplexity(planted) == pytest.approx(expected, rel=1e-3)
        for name, layer in own.items():
            planted.set_submodule(name, layer)
    counts = [
        [(int((x >= 20).sum()), len(x)) for name, x in peaks.items() if name.startswith(f"blocks.{block}.")]
        for block in range(3)
    ]
    shares = torch.tensor([sum(kept for kept, _ in block) / sum(size for _, size in block) for block in counts])
    torch.testing.assert_close(found.columns, shares)


def test_keeping_outliers_makes_eight_bits_accurate(planted: Transformer) -> None:
    """A block with an outlier loses more from naive rounding; nothing of the model stays changed."""
    found = rounding_effect(planted, ROWS, threshold=20.0)
    assert abs(found.naive[0] - found.plain) > 2 * abs(found.aware[0] - found.plain)
    assert all(type(layer).__name__ == "Linear" for layer in linear_layers(planted).values())
    assert len(linear_layers(planted)) == 21


def test_bad_input_is_refused(planted: Transformer) -> None:
    with pytest.raises(UserError, match="rows of at least 2 ids"):
        rounding_effect(planted, [3])
    quantize_model(planted, Scheme(Grid(8)), QuantizeMethod())
    with pytest.raises(UserError, match="this model's have 8 bits"):
        rounding_effect(planted, ROWS)
    assert outlier_features(planted, ROWS).peaks.shape == (3, 2, 32)
