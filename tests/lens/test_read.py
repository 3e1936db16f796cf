"""Readings of a trace: logit lens, direct attribution, scores of heads, rollout and value-weighted attention."""

import math

import pytest
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import (
    direct_attribution,
    head_scores,
    logit_lens,
    repeated_ids,
    rollout,
    trace,
    value_weighted,
)
from sayso.lens.heads import _attended
from sayso.model import Transformer
from sayso.weights.quantize.model import bits_of

TARGET, CONTRAST = 11, 42


def test_logit_lens_reads_each_stream_with_the_last_norm_and_head(network: Transformer, ids: Tensor) -> None:
    """Every measure equals its definition, and the last row is the model's prediction."""
    found = logit_lens(network, ids, k=3)
    assert found.names == ("blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(3)))
    streams = trace(network, ids, found.names)
    with torch.no_grad():
        final = network(ids).log_softmax(-1)
        for row, name in enumerate(found.names):
            logprobs = network.head(network.norm(streams[name])).log_softmax(-1)
            values, top = logprobs.topk(3)
            assert torch.equal(found.top[row], top)
            torch.testing.assert_close(found.top_logprobs[row], values)
            entropy = torch.distributions.Categorical(logits=logprobs).entropy()
            torch.testing.assert_close(found.entropy[row], entropy, rtol=1e-4, atol=1e-5)
            kl = torch.nn.functional.kl_div(logprobs, final, log_target=True, reduction="none").sum(-1)
            torch.testing.assert_close(found.kl[row], kl, rtol=1e-3, atol=1e-4)
    assert torch.equal(found.targets, final.argmax(-1))
    assert (found.target_ranks[-1] == 0).all()
    assert found.kl[-1].abs().max() < 1e-4
    assert found.kl[0].min() > 1e-3


def test_logit_lens_follows_given_targets_and_streams(ours: Transformer, ids: Tensor) -> None:
    names = ["blocks.1.hook_resid_mid"]
    targets = (ids + 1) % 50
    found = logit_lens(ours, ids, names=names, targets=targets)
    with torch.no_grad():
        logits = ours.head(ours.norm(trace(ours, ids, names)[names[0]]))
    for row, time in ((0, 3), (1, 11)):
        target = targets[row, time]
        assert found.target_ranks[0, row, time] == (logits[row, time] > logits[row, time, target]).sum()
        expected = logits[row, time].log_softmax(-1)[target]
        torch.testing.assert_close(found.target_logprobs[0, row, time], expected)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"names": "blocks.*.attn.hook_z"},
            "reads residual streams, such as 'blocks.2.hook_resid_post'; got 'blocks.0",
        ),
        ({"k": 0}, "k must be from 1 to 50"),
        ({"k": 51}, "k must be from 1 to 50"),
        ({"targets": [1, 2]}, "one token for each id"),
    ],
)
def test_logit_lens_refuses(ours: Transformer, ids: Tensor, more: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        logit_lens(ours, ids, **more)


def test_reward_models_have_no_logits_to_explain(reward: Transformer, ids: Tensor) -> None:
    for explain in (logit_lens, lambda *given: direct_attribution(*given, 1)):
        with pytest.raises(UserError, match="a reward model has a score"):
            explain(reward, ids)


@pytest.mark.parametrize("contrast", [None, CONTRAST])
def test_direct_attributions_sum_to_the_logit(any_network: Transformer, ids: Tensor, contrast: int | None) -> None:
    """For every shape; what quantized layers lose by rounding their inputs is the rest."""
    rounds, cap = bits_of(any_network) is not None, any_network.config.logit_cap
    for position in (-1, 4):
        found = direct_attribution(any_network, ids, TARGET, contrast, position=position)
        with torch.no_grad():
            logits = any_network(ids)[:, position].double()
            logits = cap * torch.atanh(logits / cap) if cap else logits
        expected = logits[:, TARGET] - (0 if contrast is None else logits[:, contrast])
        torch.testing.assert_close(found.logit.double(), expected, rtol=1e-3 if cap else 1e-5, atol=1e-4)
        assert found.rest.abs().max() < (0.2 if rounds else 1e-4)
        torch.testing.assert_close(found.total + found.rest, found.logit)
        parts = sum(found.inputs.values()) + found.layers.sum((1, 2)) + found.last_bias
        torch.testing.assert_close(parts, found.total)


def test_parts_are_what_heads_and_neurons_write(ours: Transformer, ids: Tensor) -> None:
    """A head's part is its result, and a neuron's its activation times its output row, read by norm and head."""
    names = ["ln_final.hook_scale", "blocks.1.attn.hook_result", "blocks.1.mlp.hook_post", "hook_embed"]
    found, streams = direct_attribution(ours, ids, TARGET, CONTRAST), trace(ours, ids, names)
    with torch.no_grad():
        reader = (ours.unembed.weight[TARGET] - ours.unembed.weight[CONTRAST]) * ours.norm.weight
        reader = reader / streams["ln_final.hook_scale"][:, -1]
        results = torch.einsum("bhc,bc->bh", streams["blocks.1.attn.hook_result"][:, -1], reader)
        torch.testing.assert_close(found.heads[:, 1], results, rtol=1e-4, atol=1e-5)
        written = streams["blocks.1.mlp.hook_post"][:, -1, :, None] * ours.blocks[1].mlp.down.weight.T
        torch.testing.assert_close(
            found.neurons[:, 1], torch.einsum("bmc,bc->bm", written, reader), rtol=1e-4, atol=1e-5
        )
        embedded = (streams["hook_embed"][:, -1] * reader).sum(-1)
        torch.testing.assert_close(found.inputs["hook_embed"], embedded)


def test_each_row_may_have_its_own_target(ours: Transformer, ids: Tensor) -> None:
    both = direct_attribution(ours, ids, [TARGET, 5], torch.tensor([1, CONTRAST]))
    for row, (target, contrast) in enumerate([(TARGET, 1), (5, CONTRAST)]):
        one = direct_attribution(ours, ids[row], target, contrast)
        torch.testing.assert_close(both.heads[row], one.heads[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(both.logit[row], one.logit[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"target": 50}, "from 0 to 49; got 50"),
        ({"target": 1, "contrast": -1}, "from 0 to 49; got -1"),
        ({"target": [1, 2, 3]}, "or one for each of the 2; got 3"),
        ({"target": 1, "position": 12}, "from -12 to 11 in a row of 12 ids; got 12"),
    ],
)
def test_direct_attribution_refuses(ours: Transformer, ids: Tensor, more: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        direct_attribution(ours, ids, **more)


def test_head_scores_equal_their_definitions(network: Transformer, ids: Tensor) -> None:
    """Each is a mean over the positions that count, computed here position by position."""
    found = head_scores(network, ids)
    patterns = trace(network, ids, "blocks.*.attn.hook_pattern")
    for layer, head in ((0, 1), (2, 3)):
        sums: dict[str, list[float]] = {}
        for row, tokens in enumerate(ids.tolist()):
            pattern = patterns[f"blocks.{layer}.attn.hook_pattern"][row, head].tolist()
            for time, weights in enumerate(pattern):
                earlier = [s for s in range(time) if tokens[s] == tokens[time]]
                after = [s + 1 for s in earlier if s + 1 < time]
                counted = {
                    "previous": [time - 1] if time else [], "own": [time], "first": [0] if time else [],
                    "duplicate": earlier, "induction": after,
                }  # fmt: skip
                for name, keys in counted.items():
                    if keys:
                        sums.setdefault(name, []).append(sum(weights[s] for s in keys))
                entropy = -sum(w * math.log(w) for w in weights if w > 0)
                sums.setdefault("entropy", []).append(entropy)
                sums.setdefault("distance", []).append(sum(w * (time - s) for s, w in enumerate(weights[: time + 1])))
        for name, values in sums.items():
            assert getattr(found, name)[layer, head].item() == pytest.approx(sum(values) / len(values), abs=1e-5), name


def test_a_score_without_positions_is_not_a_number(ours: Transformer) -> None:
    """In a row without repeated tokens no position counts for duplicates and induction."""
    found = head_scores(ours, [1, 2, 3])
    assert found.induction.isnan().all()
    assert found.duplicate.isnan().all()
    assert not found.previous.isnan().any()


def test_an_ideal_induction_head_scores_one() -> None:
    """On repeated random tokens, a head that looks at what followed the last occurrence has induction score 1."""
    time = 8
    keys = torch.zeros(1, time, time, dtype=torch.bool)
    for at in range(4, time):
        keys[0, at, at - 3] = True
    pattern = keys[:, None].float()
    assert _attended(pattern, keys).tolist() == [1.0]


def test_repeated_ids_repeat(ours: Transformer) -> None:
    found = repeated_ids(ours, 6, rows=3, generator=torch.Generator().manual_seed(0), first=49)
    assert found.shape == (3, 13)
    assert (found[:, 0] == 49).all()
    assert torch.equal(found[:, 1:7], found[:, 7:])
    assert all(len(set(row[1:7].tolist())) == 6 for row in found)
    assert not torch.equal(found[0], found[1])
    with pytest.raises(UserError, match="at most 32 ids"):
        repeated_ids(ours, 20, generator=torch.Generator())
    with pytest.raises(UserError, match="length must be from 1 to 50"):
        repeated_ids(ours, 0, generator=torch.Generator())


def test_rollout_multiplies_half_attention_and_half_identity(network: Transformer, ids: Tensor) -> None:
    found = rollout(network, ids)
    patterns = trace(network, ids, "blocks.*.attn.hook_pattern")
    for row in range(2):
        mixed = torch.eye(12)
        for layer in range(3):
            mean = patterns[f"blocks.{layer}.attn.hook_pattern"][row].mean(0)
            mixed = (mean / 2 + torch.eye(12) / 2) @ mixed
            torch.testing.assert_close(found[layer, row], mixed, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 2, 12))


def test_value_weighted_attention_weighs_by_what_is_written(any_network: Transformer, ids: Tensor) -> None:
    """Each weight is multiplied by the norm of what the head writes if it attends to that token alone."""
    found = value_weighted(any_network, ids)
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]))
    layer, head = 1, 2
    name = f"blocks.{layer}.attn"
    written = torch.zeros(2, 12)
    for key in range(12):
        only = torch.zeros(2, 4, 12, 12)
        only[..., key] = 1
        change = {f"{name}.hook_pattern": lambda x, only=only: only}
        result = trace(any_network, ids, f"{name}.hook_result", interventions=change)[f"{name}.hook_result"]
        written[:, key] = result[:, 0, head].norm(dim=-1)
    pattern = trace(any_network, ids, f"{name}.hook_pattern")[f"{name}.hook_pattern"][:, head]
    expected = pattern * written[:, None]
    expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(found[layer, :, head], expected, rtol=1e-3, atol=1e-5)
