"""Path patching equals the two passes of its definition, and finds a circuit that a model was trained to have."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import (
    LogitDifference,
    Places,
    attribution_patch,
    patch,
    path_patch,
    rank_correlation,
    trace,
)
from sayso.model import ModelConfig, Transformer

from .test_patch import CLEAN, CORRUPT, METRIC

RECEIVERS = {
    "queries": {"blocks.2.attn.hook_q": [0, 3]},
    "keys and values": {"blocks.1.attn.hook_k": [1], "blocks.2.attn.hook_v": None},
    "patterns": {"blocks.2.attn.hook_pattern": [2]},
    "neurons": {"blocks.1.mlp.hook_pre": None},
    "logits": {"blocks.2.hook_resid_post": None},
}


def by_hand(model: Transformer, receivers: dict, time: int | slice, freeze_mlps: bool, position: int) -> Tensor:
    """Return the metric for each sender [L, H], by two complete passes with interventions."""
    kept = trace(model, CORRUPT, ["*.hook_z", "*.hook_mlp_out"])
    clean, effects = trace(model, CLEAN, "*.hook_z"), []
    for layer in range(model.config.layers):
        for head in range(model.config.heads):
            frozen = {
                name: (lambda _, kept=x: kept)
                for name, x in kept.activations.items()
                if name.endswith("hook_z") or freeze_mlps
            }
            name = f"blocks.{layer}.attn.hook_z"
            sent = kept[name].clone()
            sent[:, time, head] = clean[name][:, time, head]
            frozen[name] = lambda _, sent=sent: sent
            got = trace(model, CORRUPT, list(receivers), interventions=frozen)
            changes = {}
            for receiver, heads in receivers.items():

                def change(x: Tensor, receiver=receiver, heads=heads, got=got) -> Tensor:
                    if heads is None:
                        return got[receiver]
                    for one in heads:
                        at = (slice(None), one) if receiver.endswith("pattern") else (slice(None), slice(None), one)
                        x[at] = got[receiver][at]
                    return x

                changes[receiver] = change
            logits = trace(model, CORRUPT, "logits", interventions=changes)["logits"]
            effects.append(METRIC(logits[:, position]).mean())
    return torch.stack(effects).view(model.config.layers, -1)


@pytest.mark.parametrize("freeze_mlps", [False, True], ids=["mlps", "no mlps"])
@pytest.mark.parametrize("receivers", RECEIVERS.values(), ids=RECEIVERS)
def test_a_sweep_equals_two_passes_for_each_sender(ours: Transformer, receivers: dict, freeze_mlps: bool) -> None:
    if freeze_mlps and "blocks.1.mlp.hook_pre" in receivers:
        receivers = {"blocks.2.hook_resid_mid": None}
    found = path_patch(ours, CORRUPT, CLEAN, METRIC, receivers, freeze_mlps=freeze_mlps, rows=5)
    expected = by_hand(ours, receivers, slice(None), freeze_mlps, -1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    before = METRIC(trace(ours, CORRUPT, "logits")["logits"][:, -1]).mean()
    assert (found[0] - before).abs().max() > 1e-3


def test_positions_are_swept_one_by_one(ours: Transformer) -> None:
    receivers = {"blocks.2.attn.hook_k": [1]}
    found = path_patch(ours, CORRUPT, CLEAN, METRIC, receivers, by_position=True, position=4, rows=9)
    assert found.shape == (3, 6, 4)
    for time in range(6):
        expected = by_hand(ours, receivers, time, False, 4)
        torch.testing.assert_close(found[:, time], expected, rtol=1e-4, atol=1e-4)


def test_every_shape_of_model_has_paths(any_network: Transformer) -> None:
    receivers = {"blocks.1.attn.hook_q": [1], "blocks.2.hook_resid_post": None}
    found = path_patch(any_network, CORRUPT, CLEAN, METRIC, receivers)
    expected = by_hand(any_network, receivers, slice(None), False, -1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_there_is_no_path_backwards(ours: Transformer) -> None:
    """Heads of the receiver's block and of later ones leave the metric as it was."""
    before = METRIC(trace(ours, CORRUPT, "logits")["logits"][:, -1]).mean()
    found = path_patch(ours, CORRUPT, CLEAN, METRIC, {"blocks.1.attn.hook_q": None})
    torch.testing.assert_close(found[1:], before.expand(2, 4), rtol=1e-5, atol=1e-5)
    assert (found[0] - before).abs().max() > 1e-3


def test_the_last_heads_reach_the_logits_only_directly(ours: Transformer) -> None:
    """For the last block, the path to the logits is the whole effect of a head."""
    found = path_patch(ours, CORRUPT, CLEAN, METRIC, {"blocks.2.hook_resid_post": None})
    whole = patch(ours, CORRUPT, CLEAN, METRIC, Places("attn.hook_z", by_position=False, by_head=True))
    torch.testing.assert_close(found[2], whole[2], rtol=1e-4, atol=1e-4)
    assert (found[0] - whole[0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("receivers", "message"),
    [
        ({}, "at least one receiver"),
        ({"blocks.1.attn.hook_z": [0]}, "must not be what a head writes"),
        ({"blocks.1.hook_attn_out": None}, "got 'blocks.1.hook_attn_out'"),
        ({"logits": None}, "must be inside a block"),
        ({"blocks.1.attn.hook_qq": None}, "Did you mean 'blocks.1.attn.hook_q'?"),
        ({"blocks.1.attn.hook_k": [2]}, "must be from 0 to 1; got 2"),
        ({"blocks.1.mlp.hook_pre": [0]}, "has no heads; omit them"),
    ],
)
def test_receivers_that_cannot_be_patched_are_refused(ours: Transformer, receivers: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        path_patch(ours, CORRUPT, CLEAN, METRIC, receivers)
    assert message in str(error.value)


def test_rank_correlation_is_spearmans() -> None:
    """With ties, of any shape."""
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randint(6, (4, 5), generator=generator).float() for _ in range(2))
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first.flatten(), second.flatten()).statistic)
    assert rank_correlation(first, first.exp()) == pytest.approx(1)
    with pytest.raises(UserError, match=r"the same number of effects; got \(4, 5\) and \(4,\)"):
        rank_correlation(first, first[:, 0])


def repeated(count: int, half: int, generator: torch.Generator) -> Tensor:
    """Return rows of different tokens that occur twice in the same order, [count, 2 * half]."""
    drawn = torch.rand(count, 16, generator=generator).argsort(-1)[:, :half]
    return torch.cat((drawn, drawn), dim=1)


@pytest.fixture(scope="module")
def copier() -> Transformer:
    """A model trained for seconds to repeat rows of any length, which needs an induction circuit."""
    shape = ModelConfig(16, 2, 32, 2, 2, 16, 8, context=32, qk_norm="none", mlp="gelu")
    model, generator = Transformer(shape).initialize(torch.Generator().manual_seed(3)), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3)
    for step in range(240):
        half = 3 + step % 6
        rows = repeated(32, half, generator)
        logits = model(rows[:, :-1])[:, half:]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, half + 1 :].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3
    return model.eval()


def test_the_circuit_of_a_trained_model_is_found_by_patching(copier: Transformer) -> None:
    """Heads of block 0 tell those of block 1 through their keys which token came before (Olsson et al. 2022).

    The clean rows end at a token (index 3 of the first half) whose successor is the answer. In the corrupt ones, it has
    changed places with the token at index 6, and another token follows it. Almost all of the effect goes through keys.
    Attribution patching ranks the heads' outputs as exact patching does.
    """
    clean = repeated(16, 8, torch.Generator().manual_seed(5))[:, :12]
    corrupt = clean.clone()
    corrupt[:, [3, 6]] = clean[:, [6, 3]]
    metric = LogitDifference(clean[:, 4], clean[:, 7])
    before, after = (metric(trace(copier, ids, "logits")["logits"][:, -1]).mean() for ids in (corrupt, clean))
    assert before < -5
    assert after > 5
    restored = {
        name: (path_patch(copier, corrupt, clean, metric, {f"blocks.1.attn.hook_{name}": None}) - before)[0].sum()
        / (after - before)
        for name in "qkv"
    }
    assert restored["k"] > 0.8
    assert max(abs(restored["q"]), abs(restored["v"])) < 0.1
    by_position = path_patch(
        copier, corrupt, clean, metric, {"blocks.1.attn.hook_k": None}, by_position=True
    )[0] - before  # fmt: skip
    assert set(by_position.sum(-1).topk(2).indices.tolist()) == {4, 7}  # what follows the two places
    heads = Places("attn.hook_z", by_head=True)
    exact = patch(copier, corrupt, clean, metric, heads) - before
    estimate = attribution_patch(copier, corrupt, clean, metric, heads)
    assert rank_correlation(exact, estimate) > 0.8
    decisive = exact[1, -1].sum() / (after - before)
    assert decisive > 0.8  # the heads of block 1 at the last token
