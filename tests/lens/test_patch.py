"""Patching and ablation equal one intervention at a time, and estimates by gradients equal their definition."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import LogitDifference, Places, ablation, attribution_patch, patch, trace
from sayso.model import Transformer
from sayso.weights.quantize.integers import Grid
from sayso.weights.quantize.quantize import QuantizeMethod, quantize_model
from sayso.weights.quantize.scheme import Scheme

CORRUPT = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 7, 8, 9]])
CLEAN = torch.tensor([[1, 2, 30, 4, 5, 6], [40, 8, 9, 7, 8, 9]])
METRIC = LogitDifference([11, 3], [42, 4])
PLACES = [
    Places(),
    Places(by_position=False),
    Places("hook_mlp_out"),
    Places("attn.hook_z", by_head=True),
    Places("attn.hook_v", by_position=False, by_head=True),
    Places("attn.hook_pattern", by_head=True),
    Places("attn.hook_attn_scores", by_position=False, by_head=True),
    Places("attn.hook_result", by_head=True),
    Places("mlp.hook_post"),
]


def by_hand(model: Transformer, places: Places, position: int = -1) -> Tensor:
    """Return the metric for each place by a complete forward pass with one intervention."""
    found = []
    for layer in range(model.config.layers):
        name = f"blocks.{layer}.{places.site}"
        clean = trace(model, CLEAN, name)[name]
        square = places.site.endswith(("pattern", "scores"))
        heads = range(clean.shape[1 if square else 2]) if places.by_head else [slice(None)]
        for time in range(6) if places.by_position else [slice(None)]:
            for head in heads:
                at = (slice(None), head, time) if square else (slice(None), time, head)

                def change(x: Tensor, at=at, clean=clean) -> Tensor:
                    x[at] = clean[at]
                    return x

                logits = trace(model, CORRUPT, "logits", interventions={name: change})["logits"]
                found.append(METRIC(logits[:, position]).mean())
    return torch.stack(found)


@pytest.mark.parametrize("places", PLACES, ids=lambda places: f"{places.site}-{places.by_position}-{places.by_head}")
def test_a_sweep_equals_one_patch_at_a_time(ours: Transformer, places: Places) -> None:
    """[L], [L, T], [L, H] or [L, T, H], in batches that do not divide the number of patches."""
    found = patch(ours, CORRUPT, CLEAN, METRIC, places, rows=9)
    heads = 2 if places.site.endswith("hook_v") else 4
    shape = [3, *([6] if places.by_position else []), *([heads] if places.by_head else [])]
    assert list(found.shape) == shape
    torch.testing.assert_close(found.flatten(), by_hand(ours, places), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "places", [Places(), Places("attn.hook_z", by_position=False, by_head=True)], ids=["stream", "heads"]
)
def test_every_shape_of_model_is_patched(any_network: Transformer, places: Places) -> None:
    found = patch(any_network, CORRUPT, CLEAN, METRIC, places, position=4)
    torch.testing.assert_close(found.flatten(), by_hand(any_network, places, 4), rtol=1e-3, atol=1e-3)


def test_patching_everything_gives_the_clean_answer(ours: Transformer) -> None:
    """The whole stream of any layer restores the answer; patches after the read position change nothing."""
    whole = patch(ours, CORRUPT, CLEAN, METRIC, Places(by_position=False))
    clean = METRIC(trace(ours, CLEAN, "logits")["logits"][:, -1]).mean()
    torch.testing.assert_close(whole, clean.expand(3), rtol=1e-4, atol=1e-5)
    early = patch(ours, CORRUPT, CLEAN, METRIC, position=2)
    corrupt = METRIC(trace(ours, CORRUPT, "logits")["logits"][:, 2]).mean()
    torch.testing.assert_close(early[:, 3:], corrupt.expand(3, 3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("places", PLACES, ids=lambda places: f"{places.site}-{places.by_position}-{places.by_head}")
def test_an_estimate_is_the_slope_of_the_patch(ours: Transformer, places: Places) -> None:
    """It equals the change of the metric by a small step towards the clean activation, scaled up to the whole one."""
    model, step = ours.double(), 1e-5
    found = attribution_patch(model, CORRUPT, CLEAN, METRIC, places)
    before = METRIC(trace(model, CORRUPT, "logits")["logits"][:, -1]).mean()
    last = found.shape[1] - 1 if places.by_position else None
    for layer, time, head in ((0, 2, 1), (1, 4, 0), (2, last, 1)):
        name = f"blocks.{layer}.{places.site}"
        clean = trace(model, CLEAN, name)[name]
        position, heads = (time if places.by_position else slice(None)), (head if places.by_head else slice(None))
        square = places.site.endswith(("pattern", "scores"))
        at = (slice(None), heads, position) if square else (slice(None), position, heads)

        def change(x: Tensor, at=at, clean=clean) -> Tensor:
            x[at] = torch.where(x[at].isfinite(), x[at] + step * (clean[at] - x[at]), x[at])
            return x

        after = METRIC(trace(model, CORRUPT, "logits", interventions={name: change})["logits"][:, -1]).mean()
        index = (layer, *([time] if places.by_position else []), *([head] if places.by_head else []))
        assert found[index].item() == pytest.approx(((after - before) / step).item(), rel=1e-3, abs=1e-4)


def test_estimates_rank_the_places_like_exact_patches(ours: Transformer) -> None:
    """Where little lies between the place and the logit, the estimate finds the same places."""
    before = METRIC(trace(ours, CORRUPT, "logits")["logits"][:, -1]).mean()
    places = Places("attn.hook_z", by_head=True)
    exact = (patch(ours, CORRUPT, CLEAN, METRIC, places) - before)[-1, -1]
    estimate = attribution_patch(ours, CORRUPT, CLEAN, METRIC, places)[-1, -1]
    assert spearmanr(exact, estimate).statistic > 0.7


def test_prompts_of_different_lengths_are_refused(ours: Transformer) -> None:
    for sweep in (patch, attribution_patch):
        with pytest.raises(UserError, match=r"the same number of tokens; got \(1, 3\) and \(1, 2\)"):
            sweep(ours, [1, 2, 3], [1, 2], METRIC)


def test_sites_that_do_not_exist_are_refused(ours: Transformer) -> None:
    with pytest.raises(UserError, match=r"Did you mean 'blocks\.0\.attn\.hook_z'"):
        patch(ours, CORRUPT, CLEAN, METRIC, Places("attn.hook_zz"))
    with pytest.raises(UserError, match="'hook_resid_mid' has no heads"):
        Places("hook_resid_mid", by_head=True)
    with pytest.raises(UserError, match="A position must be from -6 to 5"):
        patch(ours, CORRUPT, CLEAN, METRIC, position=6)


def test_quantized_models_have_no_gradients(ours: Transformer) -> None:
    quantize_model(ours, Scheme(Grid(8)), QuantizeMethod())
    with pytest.raises(UserError, match="this model's have 8 bits"):
        attribution_patch(ours, CORRUPT, CLEAN, METRIC)


def test_zeroed_heads_are_heads_without_output_weights(ours: Transformer, ids: Tensor) -> None:
    found = trace(ours, ids, "logits", interventions=ablation(ours, "blocks.1.attn.hook_z", heads=[0, 3]))
    with torch.no_grad():
        ours.blocks[1].attention.out.weight.unflatten(1, (4, 8))[:, [0, 3]] = 0
        torch.testing.assert_close(found["logits"], ours(ids), rtol=0, atol=1e-5)


def test_mean_ablation_sets_the_mean_of_the_reference(ours: Transformer, ids: Tensor) -> None:
    name, reference = "blocks.0.mlp.hook_post", torch.arange(30).view(3, 10)
    change = ablation(ours, name, "mean", reference=reference)
    mean = trace(ours, reference, name)[name].mean((0, 1))
    torch.testing.assert_close(trace(ours, ids, name, interventions=change)[name], mean.expand(2, 12, 64))
    change = ablation(ours, "blocks.0.attn.hook_v", "mean", heads=[1], reference=reference)
    before = trace(ours, ids, "*hook_v")["blocks.0.attn.hook_v"]
    after = trace(ours, ids, "*hook_v", interventions=change)["blocks.0.attn.hook_v"]
    assert torch.equal(before[:, :, 0], after[:, :, 0])
    assert after[:, :, 1].std((0, 1)).max() < 1e-6


def test_resampling_takes_rows_of_the_reference(ours: Transformer, ids: Tensor) -> None:
    name, reference = "blocks.0.attn.hook_pattern", torch.arange(48).view(4, 12)
    there, before = trace(ours, reference, name)[name], trace(ours, ids, name)[name]
    change = ablation(
        ours, name, "resample", heads=[2], reference=reference, generator=torch.Generator().manual_seed(0)
    )
    after = trace(ours, ids, name, interventions=change)[name]
    assert torch.equal(after[:, [0, 1, 3]], before[:, [0, 1, 3]])
    assert all(any(torch.equal(row[2], other[2]) for other in there) for row in after)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": "*hook_z", "kind": "zeros"}, "one of zero, mean, resample; got 'zeros'. Did you mean 'zero'?"),
        ({"names": "*hook_z", "kind": "mean"}, "The ablation 'mean' needs reference=ids"),
        ({"names": "*hook_pattern", "kind": "mean", "reference": [1]}, "has no mean over positions"),
        ({"names": "*hook_z", "heads": [4]}, "A head of 'blocks.0.attn.hook_z' must be from 0 to 3; got 4"),
        ({"names": "*hook_v", "heads": [2]}, "A head of 'blocks.0.attn.hook_v' must be from 0 to 1; got 2"),
        ({"names": "*hook_mlp_out", "heads": [0]}, "'blocks.0.hook_mlp_out' has no heads"),
        ({"names": "*hook_zed"}, "is not an activation of this model"),
    ],
)
def test_ablation_refuses(ours: Transformer, given: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        ablation(ours, **given)
    assert message in str(error.value)


def test_resampling_needs_rows_of_the_same_length(ours: Transformer, ids: Tensor) -> None:
    change = ablation(ours, "blocks.0.hook_resid_pre", "resample", reference=[1, 2, 3])
    with pytest.raises(UserError, match="as many tokens as the prompt"):
        trace(ours, ids, "logits", interventions=change)
