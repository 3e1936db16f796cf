"""Sparse autoencoders recover planted directions, follow their definitions, and are files in SAELens' format."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import (
    ActivationPlace,
    AutoencoderTraining,
    SparseAutoencoder,
    activation_batches,
    fit_autoencoder,
    load_autoencoder,
    max_examples,
    measure_autoencoder,
    save_autoencoder,
    trace,
    train_autoencoder,
)
from sayso.lens.autoencoder_training import _auxiliary, _jump
from sayso.model import Transformer

NAME = "blocks.1.hook_resid_post"
ROWS = torch.randint(50, (9, 8), generator=torch.Generator().manual_seed(4))
SMALL = AutoencoderTraining(features=64, k=3, steps=300, batch=256, rate=1e-2, dead_after=40)


def planted(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return 40 directions in 32 dimensions, and activations far from 0 that are sums of 3 of them."""
    directions = torch.nn.functional.normalize(torch.randn(40, 32, generator=generator), dim=1)
    chosen = torch.rand(256 * 40, 40, generator=generator).argsort(1) < 3
    return directions, (chosen * (1 + torch.rand(chosen.shape, generator=generator))) @ directions * 7 + 3


def random(kind: str = "topk") -> SparseAutoencoder:
    found = SparseAutoencoder(32, 20, ActivationPlace(NAME, "tiny"), 4 if kind == "topk" else None)
    for weight in found.parameters():
        torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(weight.numel()))
    return found.requires_grad_(False)


@pytest.mark.parametrize("kind", ["topk", "jumprelu"])
def test_planted_directions_are_recovered(kind: str) -> None:
    """From activations of any scale; training is the same for the same generator."""
    directions, x = planted(torch.Generator().manual_seed(0))
    told = []
    settings = replace(SMALL, kind=kind)
    found = fit_autoencoder(
        x.split(256) * 8, ActivationPlace("x"), settings, generator=torch.Generator().manual_seed(1),
        progress=told.append,
    )  # fmt: skip
    quality = measure_autoencoder(found, x.split(999))
    assert quality.variance_explained > 0.95
    assert quality.active == pytest.approx(3, abs=0.01 if kind == "topk" else 0.3)
    cosines = torch.nn.functional.normalize(found.W_dec, dim=1) @ directions.T
    assert (cosines.amax(0) > 0.9).float().mean() > 0.95
    assert [step.number for step in told] == list(range(1, 301))
    assert told[-1].variance_explained == pytest.approx(quality.variance_explained, abs=0.05)
    assert told[-1].variance_explained > told[0].variance_explained
    torch.testing.assert_close(found.W_dec.norm(dim=1), torch.ones(64))


def test_features_are_those_of_the_definition() -> None:
    x = torch.randn(5, 7, 32, generator=torch.Generator().manual_seed(2))
    for kind in ("topk", "jumprelu"):
        found = random(kind)
        h = (x - found.b_dec) @ found.W_enc + found.b_enc
        if kind == "topk":
            least = h.sort(-1, descending=True).values[..., 3:4]
            expected = torch.where(h >= least, h, 0).clamp_min(0)
        else:
            assert (found.threshold < 0).any()
            expected = torch.where(h > found.threshold.clamp_min(0), h, 0)
        torch.testing.assert_close(found.encode(x), expected)
        torch.testing.assert_close(found(x), expected @ found.W_dec + found.b_dec)


def test_quality_is_that_of_all_parts_together() -> None:
    found, x = random(), torch.randn(60, 32, generator=torch.Generator().manual_seed(2)) + 2
    quality = measure_autoencoder(found, x.split(7))
    expected = 1 - (x - found(x)).square().sum() / (x - x.mean(0)).square().sum()
    assert quality.variance_explained == pytest.approx(expected.item(), abs=1e-4)
    active = found.encode(x) > 0
    assert quality.active == pytest.approx(active.float().sum(1).mean().item())
    torch.testing.assert_close(quality.density, active.float().mean(0))
    assert quality.dead == pytest.approx((~active.any(0)).float().mean().item())


def test_jumprelu_has_the_published_gradients() -> None:
    """By the features above the threshold; by the threshold where an input is within half the bandwidth of it."""
    h = torch.tensor([[0.2, 0.49, 0.52, 0.9]], requires_grad=True)
    threshold = torch.full((4,), 0.5, requires_grad=True)
    features, active = _jump(h, threshold, 0.1)
    torch.testing.assert_close(features, torch.tensor([[0, 0, 0.52, 0.9]]))
    assert active == 2
    by_h, by_threshold = torch.autograd.grad(features.sum(), (h, threshold), retain_graph=True)
    torch.testing.assert_close(by_h, torch.tensor([[0, 0, 1.0, 1]]))
    torch.testing.assert_close(by_threshold, torch.tensor([0, -5.0, -5, 0]))
    torch.testing.assert_close(torch.autograd.grad(active, threshold)[0], torch.tensor([0, -10.0, -10, 0]))


def test_dead_features_learn_what_the_others_leave() -> None:
    found = random().requires_grad_(True)
    x = torch.randn(6, 32, generator=torch.Generator().manual_seed(2))
    dead = torch.arange(20) % 2 == 0
    loss = _auxiliary(found, found.before(x), x, dead)
    (gradient,) = torch.autograd.grad(loss, found.W_dec)
    assert not gradient[~dead].any()
    assert gradient[dead].any()
    assert _auxiliary(found, found.before(x), x, dead & False) == 0


def test_features_count_as_dead_after_idle_steps() -> None:
    """None before, some after; from then on their loss makes a difference."""
    _, x = planted(torch.Generator().manual_seed(0))

    def made(dead_after: int) -> tuple[Tensor, list[float]]:
        told: list[float] = []
        found = fit_autoencoder(
            x.split(256)[:12], ActivationPlace("x"), replace(SMALL, features=2048, dead_after=dead_after),
            generator=torch.Generator().manual_seed(1), progress=lambda step: told.append(step.dead),
        )  # fmt: skip
        return found.W_dec, told

    weights, told = made(5)
    assert told[:4] == [0] * 4
    assert told[4] > 0
    without, never = made(1000)
    assert never == [0] * 12
    assert not torch.equal(weights, without)
    assert torch.equal(made(12)[0], without)  # dead only after the last step


def test_batches_have_each_activation_once_a_round(ours: Transformer) -> None:
    """Shuffled, without the first positions of the rows."""
    batches = activation_batches(ours, ROWS, NAME, 9, skip=2, generator=torch.Generator().manual_seed(0))
    first = torch.cat([*islice(batches, 6)])
    expected = trace(ours, ROWS, NAME)[NAME][:, 2:].flatten(0, 1)
    order = torch.cdist(first, expected).argmin(1)
    assert sorted(order.tolist()) == list(range(54))
    assert order.tolist() != list(range(54))
    assert all(len(batch) == 9 for batch in islice(batches, 20))
    odd = activation_batches(ours, ROWS, NAME, 10, skip=0)
    assert [len(batch) for batch in islice(odd, 20)] == [10] * 20


def test_an_autoencoder_of_a_model_explains_its_activations(ours: Transformer) -> None:
    settings = AutoencoderTraining(features=64, k=8, steps=80, batch=32, rate=5e-3)
    found = train_autoencoder(ours, ROWS, NAME, settings, skip=0, generator=torch.Generator().manual_seed(0))
    assert found.place.name == NAME
    x = trace(ours, ROWS, NAME)[NAME]
    assert measure_autoencoder(found, [x]).variance_explained > 0.6
    examples = max_examples(ours, ROWS, NAME, 2, encode=found.encode)
    torch.testing.assert_close(examples.values[:, 0], found.encode(x).amax((0, 1)))


def test_features_steer_and_are_removed(ours: Transformer) -> None:
    found = random()
    vector = found.steering(3)
    assert vector.name == NAME
    torch.testing.assert_close(vector.direction, found.W_dec[3] / found.W_dec[3].norm())
    x = trace(ours, ROWS, NAME)[NAME]
    feature = int(found.encode(x).sum((0, 1)).argmax())
    changed = trace(ours, ROWS, NAME, interventions=found.without([feature]))[NAME]
    expected = x - found.encode(x)[..., feature, None] * found.W_dec[feature]
    torch.testing.assert_close(changed, expected)
    assert (changed - x).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["topk", "jumprelu"])
def test_saved_autoencoders_are_read_again(kind: str, tmp_path: Path) -> None:
    """With the keys and shapes that SAELens reads."""
    found, x = random(kind), torch.randn(9, 32, generator=torch.Generator().manual_seed(2))
    there = load_autoencoder(save_autoencoder(found, tmp_path / "sae"))
    torch.testing.assert_close(there.encode(x), found.encode(x), rtol=0, atol=0)
    assert (there.kind, there.place) == (kind, ActivationPlace(NAME, "tiny"))
    facts = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    usual = {"d_in": 32, "d_sae": 20, "dtype": "float32", "apply_b_dec_to_input": True, "normalize_activations": "none"}
    assert facts.items() >= (usual | {"architecture": kind, "reshape_activations": "none"}).items()
    assert facts["metadata"]["hook_name"] == NAME
    assert facts.get("k") == (4 if kind == "topk" else None)
    shapes = {name: tuple(x.shape) for name, x in load_file(tmp_path / "sae" / "sae_weights.safetensors").items()}
    expected = {"W_enc": (32, 20), "W_dec": (20, 32), "b_enc": (20,), "b_dec": (32,)}
    assert shapes == expected | ({"threshold": (20,)} if kind == "jumprelu" else {})


def saelens(folder: Path, **facts: object) -> dict[str, Tensor]:
    """Write random weights as SAELens does, and return them."""
    weights = {name: x.clone() for name, x in random().state_dict().items()}
    folder.mkdir()
    save_file(weights, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": 32, "d_sae": 20} | facts))
    return weights


def test_saelens_files_mean_what_they_say(tmp_path: Path) -> None:
    """Standard ones, inputs that are not centered, directions whose lengths count, and older places of k and name."""
    x = torch.randn(9, 32, generator=torch.Generator().manual_seed(2))
    w = saelens(tmp_path / "old", architecture="standard", apply_b_dec_to_input=False, hook_name=NAME)
    found = load_autoencoder(tmp_path / "old")
    torch.testing.assert_close(found.encode(x), (x @ w["W_enc"] + w["b_enc"]).relu())
    assert found.place.name == NAME
    saelens(tmp_path / "older", architecture="topk", activation_fn_kwargs={"k": 3}, rescale_acts_by_decoder_norm=True)
    found = load_autoencoder(tmp_path / "older")
    h = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * w["W_dec"].norm(dim=1)
    values, places = h.topk(3)
    features = torch.zeros_like(h).scatter(-1, places, values.relu())
    torch.testing.assert_close(found.encode(x), features)
    torch.testing.assert_close(found(x), features / w["W_dec"].norm(dim=1) @ w["W_dec"] + w["b_dec"])


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"architecture": "gated"}, "topk, jumprelu, standard; '.*' has 'gated'"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations 'none'; '.*' has 'layer_norm'"),
        ({"reshape_activations": "hook_z"}, "reshape_activations 'none'"),
        ({"architecture": "topk"}, "needs k; '.*' has None"),
        ({"architecture": "jumprelu"}, "does not have the weights that cfg.json describes: 'threshold'"),
        ({"d_sae": 21}, "does not have the weights"),
    ],
)
def test_files_of_other_kinds_are_refused(facts: dict, message: str, tmp_path: Path) -> None:
    saelens(tmp_path / "sae", **facts)
    with pytest.raises(UserError, match=message):
        load_autoencoder(tmp_path / "sae")
    (tmp_path / "sae" / "cfg.json").unlink()
    with pytest.raises(UserError):
        load_autoencoder(tmp_path / "sae")


def test_bad_input_is_refused(ours: Transformer) -> None:
    for call, message in (
        (lambda: AutoencoderTraining(kind="relu"), "one of topk, jumprelu; got 'relu'"),
        (lambda: AutoencoderTraining(features=8, k=9), "k must be from 1 to 8, the number of features; got 9"),
        (lambda: AutoencoderTraining(steps=0), "at least 1 step"),
        (lambda: SparseAutoencoder(8, 4, ActivationPlace("x"), 5), "k must be from 1 to 4"),
        (lambda: fit_autoencoder([], ActivationPlace("x")), "at least one batch"),
        (lambda: train_autoencoder(ours, ROWS, "blocks.1.hook_resid_posts"), "Did you mean"),
        (lambda: train_autoencoder(ours, ROWS, "blocks.1.attn.hook_z"), "'blocks.1.attn.hook_z' has heads"),
        (lambda: train_autoencoder(ours, ROWS, NAME, skip=8), "more than the 8 positions that are left out; got 8"),
        (lambda: random().steering(20), "A feature must be from 0 to 19; got 20"),
        (lambda: random().without([-1]), "A feature must be from 0 to 19; got -1"),
        (lambda: measure_autoencoder(random(), []), "at least one activation"),
        (lambda: measure_autoencoder(random(), [torch.zeros(2, 31)]), "of width 32; got 31"),
    ):
        with pytest.raises(UserError, match=message):
            call()
