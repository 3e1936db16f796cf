"""A trace shows what the model computes, by name, and interventions change it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import activation_names, trace
from sayso.model import Transformer
from sayso.weights.quantize.model import bits_of

from .conftest import OURS


def test_the_explicit_pass_equals_the_fast_one(any_network: Transformer, ids: Tensor) -> None:
    """With every activation taken out, the logits are those of the model, for every shape and kind of weights."""
    found = trace(any_network, ids, "*")
    assert tuple(found) == activation_names(any_network)
    with torch.no_grad():
        torch.testing.assert_close(found["logits"], any_network(ids), rtol=0, atol=1e-5)


def test_without_norms_the_scale_is_one(ids: Tensor) -> None:
    """The names are the same, and what a sublayer reads is the residual stream, or what replaces it."""
    model = Transformer(replace(OURS, norm="none", qk_norm="none", mlp="relu")).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=generator)
        expected = model(ids)
    found = trace(model, ids, "*")
    torch.testing.assert_close(found["logits"], expected, rtol=0, atol=1e-4)
    assert (found["ln_final.hook_scale"] == 1).all()
    assert found["blocks.1.ln2.hook_normalized"].equal(found["blocks.1.hook_resid_mid"])
    nothing = trace(model, ids, "logits", interventions={"ln_final.hook_normalized": torch.zeros_like})
    assert not nothing["logits"].any()


def test_partial_traces_equal_full_ones(any_network: Transformer, ids: Tensor) -> None:
    """An activation is the same whether the others are wanted, which takes the fused operations apart, or not."""
    full = trace(any_network, ids, "*")
    for name, x in full.activations.items():
        size = x[x.isfinite()].abs().max().clamp_min(1).item()
        torch.testing.assert_close(trace(any_network, ids, name)[name], x, rtol=0, atol=1e-5 * size)


def test_replacing_an_activation_by_itself_changes_nothing(any_network: Transformer, ids: Tensor) -> None:
    """Every name is a place where the pass continues with what the intervention returns.

    The results of heads are products with quantized weights whose inputs are not rounded, unlike those of the layer.
    """
    seen: list[Tensor] = []

    def same(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    with torch.no_grad():
        expected = any_network(ids)
    names = [name for name in activation_names(any_network) if not name.endswith("hook_result")]
    found = trace(any_network, ids, "logits", interventions=dict.fromkeys(names, same))
    assert len(seen) == len(names)
    torch.testing.assert_close(found["logits"], expected, rtol=0, atol=1e-5)
    found = trace(any_network, ids, "logits", interventions={"*.hook_result": same})
    torch.testing.assert_close(found["logits"], expected, rtol=0, atol=0.2 if bits_of(any_network) else 2e-5)


def test_every_activation_matters(network: Transformer, ids: Tensor) -> None:
    """A change at any name changes the logits: none is a copy that the pass does not use."""
    before = trace(network, ids, "logits")["logits"]
    for name in activation_names(network):
        noise = torch.Generator().manual_seed(3)
        change = {name: lambda x, noise=noise: x + 0.1 * torch.randn(x.shape, generator=noise)}
        after = trace(network, ids, "logits", interventions=change)["logits"]
        assert (after - before).abs().max() > 1e-5, name


def test_shapes_are_those_of_transformer_lens(ours: Transformer, ids: Tensor) -> None:
    """[B, T, ...], and [B, H, T, T] for scores and patterns; keys and values have their own heads."""
    found = trace(ours, ids, "*")
    stream, head, key = (2, 12, 32), (2, 12, 4, 8), (2, 12, 2, 8)
    wanted = {
        "hook_embed": stream, "blocks.1.hook_resid_pre": stream, "blocks.1.ln1.hook_scale": (2, 12, 1),
        "blocks.1.ln1.hook_normalized": stream, "blocks.1.attn.hook_q": head, "blocks.1.attn.hook_k": key,
        "blocks.1.attn.hook_v": key, "blocks.1.attn.hook_rot_q": head, "blocks.1.attn.hook_rot_k": key,
        "blocks.1.attn.q_norm.hook_scale": (2, 12, 4, 1), "blocks.1.attn.hook_attn_scores": (2, 4, 12, 12),
        "blocks.1.attn.hook_pattern": (2, 4, 12, 12), "blocks.1.attn.hook_z": head,
        "blocks.1.attn.hook_result": (2, 12, 4, 32), "blocks.1.hook_attn_out": stream,
        "blocks.1.hook_resid_mid": stream, "blocks.1.mlp.hook_pre": (2, 12, 64),
        "blocks.1.mlp.hook_pre_linear": (2, 12, 64), "blocks.1.mlp.hook_post": (2, 12, 64),
        "blocks.1.hook_mlp_out": stream, "blocks.1.hook_resid_post": stream, "ln_final.hook_normalized": stream,
        "logits": (2, 12, 50),
    }  # fmt: skip
    assert {name: tuple(found[name].shape) for name in wanted} == wanted


def test_parts_fit_together(network: Transformer, ids: Tensor) -> None:
    """The stream is the sum of what was written to it, and heads are what their patterns make of the values."""
    found = trace(network, ids, "*")
    parts = sum(found[name] for name in found if name.endswith("_embed"))
    torch.testing.assert_close(parts, found["blocks.0.hook_resid_pre"])
    for layer in range(3):
        at = {name.split(".", 2)[2]: found[name] for name in found if name.startswith(f"blocks.{layer}.")}
        torch.testing.assert_close(at["hook_resid_pre"] + at["hook_attn_out"], at["hook_resid_mid"])
        torch.testing.assert_close(at["hook_resid_mid"] + at["hook_mlp_out"], at["hook_resid_post"])
        values = at["attn.hook_v"].repeat_interleave(4 // at["attn.hook_v"].shape[2], dim=2)
        mixed = torch.einsum("bhts,bshd->bthd", at["attn.hook_pattern"], values)
        torch.testing.assert_close(mixed, at["attn.hook_z"], rtol=1e-4, atol=1e-5)
        if network.config.norm_place == "pre":
            bias = network.blocks[layer].attention.out.bias
            written = at["attn.hook_result"].sum(2) + (0 if bias is None else bias)
            torch.testing.assert_close(written, at["hook_attn_out"], rtol=1e-4, atol=1e-5)


def test_patterns_are_causal_distributions_within_the_window(network: Transformer, ids: Tensor) -> None:
    """Each row sums to one over the visible keys."""
    found = trace(network, ids, "blocks.*.attn.hook_pattern")
    distance = torch.arange(12)[:, None] - torch.arange(12)
    for layer, window in enumerate(network.config.layer_windows):
        pattern = found[f"blocks.{layer}.attn.hook_pattern"]
        hidden = (distance < 0) | (distance >= (window or 12))
        assert (pattern[..., hidden] == 0).all()
        assert (pattern[..., ~hidden] > 0).all()
        torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 4, 12))


def test_norm_scale_and_normalized_are_their_definitions(ours: Transformer, gpt2: Transformer, ids: Tensor) -> None:
    """RMS norm: x / scale; layer norm: the same of the centered x; both without gain and bias."""
    found = trace(ours, ids)
    x, eps = found["blocks.1.hook_resid_mid"], ours.config.norm_eps
    torch.testing.assert_close(found["blocks.1.ln2.hook_scale"], (x.square().mean(-1, keepdim=True) + eps).sqrt())
    torch.testing.assert_close(found["blocks.1.ln2.hook_normalized"], x / found["blocks.1.ln2.hook_scale"])
    found = trace(gpt2, ids)
    x = found["blocks.1.hook_resid_mid"]
    scale = (x.var(-1, correction=0, keepdim=True) + eps).sqrt()
    torch.testing.assert_close(found["blocks.1.ln2.hook_scale"], scale)
    with torch.no_grad():
        norm = gpt2.blocks[1].mlp_norm
        normalized = found["blocks.1.ln2.hook_normalized"] * norm.weight + norm.bias
        torch.testing.assert_close(normalized, norm(x))


def test_rows_of_a_batch_are_independent(ours: Transformer, ids: Tensor) -> None:
    both, second = trace(ours, ids), trace(ours, ids[1].tolist())
    for name in both:
        torch.testing.assert_close(both[name][1:], second[name], rtol=1e-4, atol=1e-5)


def test_a_trace_stops_after_the_last_wanted_activation(ours: Transformer, ids: Tensor) -> None:
    """Nothing later is computed, and a trace of nothing computes nothing."""

    def fail(*_: object) -> None:
        raise AssertionError("computed too much")

    ours.blocks[1].mlp.up.register_forward_hook(fail)
    assert "blocks.1.hook_attn_out" in trace(ours, ids, ["blocks.0.mlp.hook_post", "blocks.1.hook_attn_out"])
    with pytest.raises(AssertionError, match="too much"):
        trace(ours, ids, "blocks.1.hook_mlp_out")
    ours.embed.register_forward_hook(fail)
    assert len(trace(ours, ids, [])) == 0
    assert len(trace(ours, ids, lambda name: False)) == 0


def test_default_names_leave_out_only_results(ours: Transformer, ids: Tensor) -> None:
    assert set(activation_names(ours)) - set(trace(ours, ids)) == {f"blocks.{n}.attn.hook_result" for n in range(3)}


def test_a_zeroed_sublayer_is_one_with_zero_weights(ours: Transformer, ids: Tensor) -> None:
    found = trace(ours, ids, "logits", interventions={"blocks.1.hook_attn_out": torch.zeros_like})
    with torch.no_grad():
        ours.blocks[1].attention.out.weight.zero_()
        torch.testing.assert_close(found["logits"], ours(ids), rtol=0, atol=1e-5)


def test_interventions_apply_in_turn_to_copies(ours: Transformer, ids: Tensor) -> None:
    """Two keys that match a name compose; the embedding that was recorded first is not changed by a later edit."""
    twice = {"blocks.0.hook_resid_pre": lambda x: x.mul_(2), "blocks.0.*pre": lambda x: x + 1}
    names = ["hook_embed", "blocks.0.hook_resid_pre"]
    before, after = trace(ours, ids, names), trace(ours, ids, names, interventions=twice)
    torch.testing.assert_close(after[names[1]], before[names[1]] * 2 + 1)
    assert torch.equal(after["hook_embed"], before["hook_embed"])


def test_a_changed_embedding_reaches_the_token_shift(ids: Tensor, request: pytest.FixtureRequest) -> None:
    """The shift adds the embeddings that the pass continues with, also of the tokens before."""
    from .conftest import made

    shifted = made(replace(OURS, shift=2))
    found = trace(shifted, ids, ["hook_shift_embed"], interventions={"hook_embed": torch.zeros_like})
    assert not found["hook_shift_embed"].any()


def test_gradients_reach_activations(ours: Transformer, ids: Tensor) -> None:
    """With gradients=True a trace can be differentiated; without, nothing is kept for it."""
    name = "blocks.1.attn.hook_pattern"
    found = trace(ours, ids, [name, "logits"], gradients=True)
    (gradient,) = torch.autograd.grad(found["logits"][:, -1].square().sum(), found[name])
    assert gradient.abs().max() > 0
    assert not trace(ours, ids, "logits")["logits"].requires_grad


def test_bfloat16_models_are_traced_in_their_dtype(ours: Transformer, ids: Tensor) -> None:
    model = ours.to(torch.bfloat16)
    found = trace(model, ids, "*")
    assert found["blocks.0.attn.hook_pattern"].dtype == found["logits"].dtype == torch.bfloat16
    with torch.no_grad():
        torch.testing.assert_close(found["logits"], model(ids), rtol=0.1, atol=0.1)


def test_reward_models_have_a_score(reward: Transformer, ids: Tensor) -> None:
    from sayso.model.score import token_scores

    with torch.no_grad():
        expected = token_scores(reward, ids, torch.zeros_like(ids))
    torch.testing.assert_close(trace(reward, ids, "score")["score"], expected, rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="'logits' is not an activation of this model, which has a scalar head"):
        trace(reward, ids, "logits")


def test_opened_models_are_traced_too(ours: Transformer, ids: Tensor) -> None:
    found = trace(SimpleNamespace(module=ours), ids, "logits")
    assert torch.equal(found["logits"], trace(ours, ids, "logits")["logits"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.1.attn.hook_patern", "Did you mean 'blocks.1.attn.hook_pattern'?"),
        ("blocks.3.hook_resid_pre", "which has blocks 0 to 2. Did you mean"),
        ("blocks.*.hook_nothing", "is not an activation of this model"),
        ("blocks.0.attn.hook_rot_q", "which has no rotary positions in this layer"),
        ("blocks.0.mlp.hook_pre_linear", "which has no gate in its MLP"),
        ("blocks.0.attn.q_norm.hook_scale", "which has no norm of queries and keys"),
        ("blocks.0.ln1_post.hook_scale", "which has no norms after its sublayers"),
        ("logit", "is not an activation of this model. Did you mean 'logits'?"),
    ],
)
def test_unknown_names_are_explained(gpt2: Transformer, ids: Tensor, name: str, message: str) -> None:
    for mistake in ({"names": name}, {"names": "logits", "interventions": {name: torch.zeros_like}}):
        with pytest.raises(UserError) as error:
            trace(gpt2, ids, **mistake)
        assert message in str(error.value)
        assert str(error.value).startswith(f"'{name}'")


def test_a_name_that_was_not_traced_is_told(ours: Transformer, ids: Tensor) -> None:
    with pytest.raises(UserError, match=r"no 'blocks.0.hook_resid_pre'; pass it in names\. Did you mean 'blocks.0"):
        trace(ours, ids, "blocks.0.hook_resid_post")["blocks.0.hook_resid_pre"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, 1:], r"on 'hook_embed' got \(2, 12, 32\) and returned \(2, 11, 32\)"),
        (lambda x: None, "must return a tensor; that on 'hook_embed' returned NoneType"),
    ],
)
def test_interventions_of_another_shape_are_refused(ours: Transformer, ids: Tensor, change, message: str) -> None:
    with pytest.raises(UserError, match=message):
        trace(ours, ids, "logits", interventions={"hook_embed": change})


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("text", "got text: pass model.ids"),
        ([], "must be one row of integers"),
        ([[1, 2], [3]], "must be one row of integers"),
        ([1.5, 2.0], "must be one row of integers"),
        ([[[1]]], "must be one row of integers"),
        ([1, 50], "from 0 to 49; got 50"),
        ([-1], "from 0 to 49; got -1"),
        ([1] * 33, "at most 32 ids, the model's context; got 33"),
    ],
)
def test_ids_that_the_model_cannot_take_are_refused(ours: Transformer, ids, message: str) -> None:
    with pytest.raises(UserError, match=message):
        trace(ours, ids)
