"""Losses of reinforcement learning, compared with brute force in float64, and their invariants."""

import math

import pytest
import torch
from torch import Tensor

from sayso.loss.advantage import gae, group_advantages, whiten
from sayso.loss.kl import adapt_beta, kl_estimate
from sayso.loss.logprobs import target_logprobs
from sayso.loss.next_token import IGNORE, token_logprobs
from sayso.loss.policy import METHODS, PolicyMethod, averaged, token_losses
from sayso.loss.value import explained_variance, value_losses
from sayso.model import ModelConfig, Transformer

VOCABULARY = 11


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Return normally distributed numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_model() -> Transformer:
    """Return a tiny model in float64 with only random weights."""
    model = Transformer(ModelConfig(VOCABULARY, 2, 16, 2, 2, 8, 32, context=32)).double()
    for number, weight in enumerate(model.parameters()):
        weight.data = drawn(*weight.shape, seed=number) * 0.3
    return model


def rows(lengths: tuple[int, ...], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, targets and documents [B, T]: replies from the third token on, padded to a width."""
    generator = torch.Generator().manual_seed(3)
    ids, targets = torch.zeros(len(lengths), width, dtype=torch.long), torch.full((len(lengths), width), IGNORE)
    documents = torch.full((len(lengths), width), -1, dtype=torch.int32)
    for row, length in enumerate(lengths):
        text = torch.randint(0, VOCABULARY, (length,), generator=generator)
        ids[row, :length], documents[row, :length] = text, row
        targets[row, 2 : length - 1] = text[3:]
    return ids, targets, documents


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_logprobs_are_the_log_softmax_of_all_logits(temperature: float) -> None:
    """Log-probabilities and entropies equal those computed from all logits."""
    model, (ids, targets, documents) = some_model(), rows((7, 9), 10)
    with torch.no_grad():
        found = target_logprobs(model, ids, targets, documents, temperature)
        for row, length in enumerate((7, 9)):
            logits = model(ids[row : row + 1, :length])[0]
            for t in range(10):
                target = int(targets[row, t])
                if target == IGNORE:
                    assert [float(x[row, t]) for x in found] == [0, 0, 0]
                    continue
                weights = (logits[t] / temperature).exp()
                p = weights / weights.sum()
                assert math.isclose(float(found.logprobs[row, t]), math.log(p[target]), abs_tol=1e-12)
                assert math.isclose(float(found.entropy[row, t]), -float((p * p.log()).sum()), abs_tol=1e-12)
                plain = logits[t, target] - logits[t].logsumexp(0)
                assert math.isclose(float(found.plain[row, t]), float(plain), abs_tol=1e-12)
    if temperature == 1:
        torch.testing.assert_close(found.logprobs.float(), token_logprobs(model, ids, targets, documents).float())


def test_chunks_give_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recomputing the logits in chunks changes neither values nor gradients."""
    model, given = some_model(), rows((7, 9), 10)
    gradients = []
    for chunk in (2**22, 3 * VOCABULARY):
        monkeypatch.setitem(__import__("sayso.loss.logprobs", fromlist=["CHUNK"]).CHUNK, "cpu", chunk)
        model.zero_grad()
        result = target_logprobs(model, *given, 0.8, learn_entropy=True)
        (result.logprobs.sum() + 0.1 * result.entropy.sum()).backward()
        gradients.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])
    assert len(gradients[0]) > 5
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def exact_kl(policy: Tensor, reference: Tensor) -> Tensor:
    """Return sum_v p_v (log p_v - log r_v) of logits [..., V], as [...]."""
    log_p, log_r = policy.log_softmax(-1), reference.log_softmax(-1)
    return (log_p.exp() * (log_p - log_r)).sum(-1)


def test_kl_estimates_have_the_mean_and_the_gradient_they_promise() -> None:
    """Over a whole small vocabulary: k1 and k3 have the exact mean; k2 and k3+ have the exact gradient, k1 has none."""
    logits, reference = drawn(6, seed=1).requires_grad_(), drawn(6, seed=2)
    truth = exact_kl(logits, reference)
    (wanted,) = torch.autograd.grad(truth, logits)
    for kind in ("k1", "k2", "k3", "k3+"):
        logs = logits.log_softmax(0)
        p = logs.exp().detach()  # tokens are drawn: their weights carry no gradient
        mean = (p * kl_estimate(logs, reference.log_softmax(0), kind)).sum()
        (slope,) = torch.autograd.grad(mean, logits)
        assert bool(torch.isclose(mean, truth, rtol=1e-9)) == (kind != "k2")
        assert torch.allclose(slope, wanted, atol=1e-9) == (kind in ("k2", "k3+"))
        assert torch.allclose(slope, torch.zeros(6, dtype=torch.float64), atol=1e-12) == (kind == "k1")


def test_kl_of_equal_models_is_zero_and_k3_is_never_negative() -> None:
    """For equal models every estimate is 0; k3 is at least 0 for any two."""
    logs, others = drawn(50), drawn(50, seed=1)
    for kind in ("k1", "k2", "k3", "k3+"):
        assert float(kl_estimate(logs, logs, kind).abs().max()) == 0
    assert float(kl_estimate(logs, others, "k3").min()) >= 0


def test_the_adaptive_weight_follows_the_target() -> None:
    """It grows above the target, shrinks below it, and changes by at most a fifth of its proportion."""
    assert adapt_beta(0.1, 6, 6, 64, 1000) == 0.1
    assert math.isclose(adapt_beta(0.1, 60, 6, 100, 1000), 0.1 * 1.02)
    assert math.isclose(adapt_beta(0.1, 0, 6, 100, 1000), 0.1 * 0.98)
    assert 0.1 < adapt_beta(0.1, 6.3, 6, 100, 1000) < 0.1 * 1.02


def test_group_advantages_agree_with_the_papers() -> None:
    """Every baseline and scale, compared with the formula for each reply."""
    scores = drawn(4, 5)
    for p in range(4):
        group = scores[p].tolist()
        mean = sum(group) / 5
        deviation = math.sqrt(sum((x - mean) ** 2 for x in group) / 4)
        for i, score in enumerate(group):
            others = (sum(group) - score) / 4
            assert math.isclose(group_advantages(scores, "group", "group")[p, i], (score - mean) / (deviation + 1e-4))
            assert math.isclose(group_advantages(scores, "group", "none")[p, i], score - mean, abs_tol=1e-12)
            assert math.isclose(group_advantages(scores, "others", "none")[p, i], score - others, abs_tol=1e-12)
            assert math.isclose(group_advantages(scores, "batch", "none")[p, i], score - scores.mean(), abs_tol=1e-12)
    by_batch = group_advantages(scores, "group", "batch")
    torch.testing.assert_close(by_batch * (scores.std() + 1e-4), group_advantages(scores, "group", "none"))
    assert not group_advantages(torch.full((1, 4), 0.3), "group", "group").any()


def test_the_baseline_of_the_others_is_unbiased() -> None:
    """Over all pairs of replies, the expected gradient is exact; with the group's mean it is half."""
    logits, rewards = drawn(3).requires_grad_(), torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
    (truth,) = torch.autograd.grad((logits.softmax(0) * rewards).sum(), logits)
    found = {}
    for baseline in ("others", "group"):
        logs = logits.log_softmax(0)
        p, total = logs.exp().detach(), torch.zeros((), dtype=torch.float64)
        for a in range(3):
            for b in range(3):
                advantage = group_advantages(rewards[[a, b]][None], baseline, "none")[0]
                total = total + p[a] * p[b] * (advantage * logs[[a, b]]).mean()
        (found[baseline],) = torch.autograd.grad(total, logits)
    torch.testing.assert_close(found["others"], truth)
    torch.testing.assert_close(found["group"], truth / 2)


def test_gae_is_the_discounted_sum_of_residuals() -> None:
    """Compared with the double sum of the paper; masked positions are skipped."""
    rewards, values = drawn(2, 6), drawn(2, 6, seed=1)
    mask = torch.tensor([[1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 1, 1]], dtype=torch.bool)
    advantages, returns = gae(rewards, values, mask, 0.9, 0.7)
    for row in range(2):
        places = mask[row].nonzero()[:, 0].tolist()
        value = [float(values[row, t]) for t in places] + [0.0]
        delta = [float(rewards[row, t]) + 0.9 * value[n + 1] - value[n] for n, t in enumerate(places)]
        for n, t in enumerate(places):
            wanted = sum((0.9 * 0.7) ** k * delta[n + k] for k in range(len(places) - n))
            assert math.isclose(float(advantages[row, t]), wanted)
            assert math.isclose(float(returns[row, t]), wanted + value[n])
    assert not advantages[~mask].any()
    assert not returns[~mask].any()
    whole, _ = gae(rewards, torch.zeros_like(values), mask, 1.0, 1.0)
    assert math.isclose(float(whole[1, 1]), float(rewards[1, 1:].sum()))


def test_whitening_counts_only_what_is_masked() -> None:
    """Mean 0 and variance 1 over the mask; elsewhere zero."""
    x, mask = drawn(3, 8) * 5 + 2, drawn(3, 8, seed=4) > 0
    white = whiten(x, mask)
    assert abs(float(white[mask].mean())) < 1e-12
    assert math.isclose(float(white[mask].std(correction=0)), 1, rel_tol=1e-6)
    assert not white[~mask].any()


def brute(method: PolicyMethod, new: list[float], old: list[float], advantage: list[float], constant: float) -> float:
    """Return the contribution of one reply to the sum of the losses, by the papers' formulas."""
    length, low, high = len(new), 1 - method.low, 1 + method.high
    ratios = [math.exp(a - b) for a, b in zip(new, old, strict=True)]
    if method.ratio == "mean":
        ratios = [math.prod(ratios) ** (1 / length)] * length
    if method.ratio == "product":
        ratios = [math.prod(ratios)] * length
    losses = []
    for lp, r, a in zip(new, ratios, advantage, strict=True):
        if method.ratio == "none":
            losses.append(-a * lp)
        elif method.weight:
            losses.append(-a * min(r, method.high) * lp)
        else:
            loss = -min(a * r, a * min(max(r, low), high))
            losses.append(min(loss, method.dual * -a) if method.dual and a < 0 else loss)
    return sum(losses) / {"tokens": 1, "replies": length, "constant": constant}[method.average]


@pytest.mark.parametrize("method", [*METHODS.values(), PolicyMethod("group", dual=1.3)])
def test_every_variant_follows_its_formula(method: PolicyMethod) -> None:
    """The sum over a padded batch equals that of the formula, and the divisor is correct."""
    lengths = (3, 6, 1)
    mask = torch.arange(8)[None] < torch.tensor(lengths)[:, None]
    new, old = -drawn(3, 8).abs(), -drawn(3, 8, seed=1).abs()
    advantages = drawn(3, 1, seed=2).expand(3, 8)
    losses, figures = token_losses(method, new, old, advantages, mask)
    found, count = averaged(losses, mask, method.average, 12.0)
    each = [tuple(x[row, :n].tolist() for x in (new, old, advantages)) for row, n in enumerate(lengths)]
    assert math.isclose(float(found), sum(brute(method, *given, 12.0) for given in each))
    assert count == (10 if method.average == "tokens" else 3)
    assert {name: len(x) for name, x in figures.items()} == {"ratio": 10, "clip_fraction": 10, "kl_step": 10}


@pytest.mark.parametrize("method", METHODS.values())
def test_at_ratio_one_every_variant_is_the_policy_gradient(method: PolicyMethod) -> None:
    """Before the first update nothing is clipped, and a token's gradient is -A, up to the averaging."""
    mask = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]], dtype=torch.bool)
    new = (-drawn(2, 4).abs()).requires_grad_()
    advantages = drawn(2, 1).expand(2, 4)
    losses, figures = token_losses(method, new, new.detach(), advantages, mask)
    averaged(losses, mask, method.average, 4.0)[0].backward()
    shares = {"tokens": [[1.0], [1.0]], "replies": [[1 / 3], [1.0]], "constant": [[0.25], [0.25]]}
    share = torch.tensor(shares[method.average], dtype=torch.float64)
    if method.ratio == "product":  # the whole reply's log-probability, once
        share = torch.ones(2, 1, dtype=torch.float64)
    torch.testing.assert_close(new.grad, (-advantages * share).where(mask, 0.0))
    assert not figures["clip_fraction"].any()
    assert not figures["kl_step"].any()
    assert bool((figures["ratio"] == 1).all())


def test_a_clipped_token_has_no_gradient_except_in_cispo() -> None:
    """CISPO keeps the gradient with a bounded weight."""
    old, mask = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.bool)
    advantages = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    far = torch.tensor([[2.0, -2.0]], dtype=torch.float64)  # further than any clip, in the direction of the advantage
    slopes = {}
    for name in ("ppo", "dapo", "cispo"):
        new = far.clone().requires_grad_()
        token_losses(METHODS[name], new, old, advantages, mask)[0].sum().backward()
        slopes[name] = new.grad
    assert not slopes["ppo"].any()
    assert not slopes["dapo"].any()
    torch.testing.assert_close(slopes["cispo"], torch.tensor([[-5.0, math.exp(-2.0)]], dtype=torch.float64))


@pytest.mark.parametrize("name", METHODS)
def test_padding_changes_nothing(name: str) -> None:
    """Losses, counts and gradients depend neither on the padding nor on the split of a batch."""
    method, model = METHODS[name], some_model()
    results = []
    for width, parts in ((9, 1), (20, 1), (20, 3)):
        model.zero_grad()
        sums, counts = [], []
        given = rows((6, 9, 4), width)
        old, advantages = torch.full((3, width), -2.0).double(), drawn(3, 1).expand(3, width)
        for part in range(parts):
            ids, targets, documents = (x.tensor_split(parts)[part] for x in given)
            mask = targets != IGNORE
            logprobs = target_logprobs(model, ids, targets, documents).logprobs
            losses, _ = token_losses(
                method, logprobs, old.tensor_split(parts)[part], advantages.tensor_split(parts)[part], mask
            )
            total, count = averaged(losses, mask, method.average, 7.0)
            total.backward()
            sums.append(float(total.detach()))
            counts.append(count)
        results.append((sum(sums), sum(counts), [w.grad.clone() for w in model.parameters() if w.grad is not None]))
    for total, count, gradients in results[1:]:
        assert math.isclose(total, results[0][0], rel_tol=1e-9)
        assert count == results[0][1]
        for one, other in zip(gradients, results[0][2], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_the_value_loss_is_clipped_near_the_old_value() -> None:
    """Half the larger of the plain and the clipped square; explained variance is at most 1."""
    values, old, returns = drawn(4), drawn(4, seed=1), drawn(4, seed=2)
    for n in range(4):
        v, o, r = (float(x[n]) for x in (values, old, returns))
        clipped = min(max(v, o - 0.2), o + 0.2)
        wanted = 0.5 * max((v - r) ** 2, (clipped - r) ** 2)
        assert math.isclose(float(value_losses(values, old, returns, 0.2)[n]), wanted)
        assert math.isclose(float(value_losses(values, old, returns, 0)[n]), 0.5 * (v - r) ** 2)
    mask = torch.ones(4, dtype=torch.bool)
    assert explained_variance(returns, returns, mask) == 1
    assert abs(explained_variance(torch.zeros(4).double(), returns, mask)) < 1e-12
    assert explained_variance(-returns, returns, mask) < 0
    assert math.isnan(explained_variance(values, torch.ones(4).double(), mask))
