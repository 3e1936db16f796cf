"""Preference losses, compared with their formulas in plain float64, and their invariants."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.loss.preference import dpo_loss, ipo_loss, kto_drift, kto_loss, orpo_loss, simpo_loss

BETA, SMOOTHING, MARGIN = 0.3, 0.2, 0.7
logprob = st.floats(-60, -0.01)
replies = st.tuples(logprob, logprob, st.integers(1, 40))  # of the policy, of the reference, and the length
pairs = st.lists(st.tuples(replies, replies), min_size=1, max_size=5)


def tensors(made: list) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return policy, reference and lengths [2B] of pairs, chosen first."""
    rows = [pair[0] for pair in made] + [pair[1] for pair in made]
    return tuple(torch.tensor([row[k] for row in rows], dtype=torch.float64) for k in range(3))


def log_sigmoid(x: float) -> float:
    """Return log sigmoid(x) without overflow."""
    return min(x, 0.0) - math.log(1 + math.exp(-abs(x)))


def log_odds(logprob: float, length: int) -> float:
    """Return the log-odds of the geometric mean of a reply's probabilities."""
    p = math.exp(logprob / length)
    return math.log(p / (1 - p))


def log_ratio(reply: tuple) -> float:
    """Return the log-ratio of policy and reference for a reply."""
    return reply[0] - reply[1]


FORMULAS = {
    "dpo": lambda w, b: -log_sigmoid(BETA * (log_ratio(w) - log_ratio(b))),
    "cdpo": lambda w, b: (
        -(1 - SMOOTHING) * log_sigmoid(BETA * (log_ratio(w) - log_ratio(b)))
        - SMOOTHING * log_sigmoid(-BETA * (log_ratio(w) - log_ratio(b)))
    ),
    "robust": lambda w, b: (
        (
            -(1 - SMOOTHING) * log_sigmoid(BETA * (log_ratio(w) - log_ratio(b)))
            + SMOOTHING * log_sigmoid(-BETA * (log_ratio(w) - log_ratio(b)))
        )
        / (1 - 2 * SMOOTHING)
    ),
    "ipo": lambda w, b: (log_ratio(w) - log_ratio(b) - 1 / (2 * BETA)) ** 2,
    "ipo of means": lambda w, b: (log_ratio(w) / w[2] - log_ratio(b) / b[2] - 1 / (2 * BETA)) ** 2,
    "orpo": lambda w, b: -w[0] / w[2] - BETA * log_sigmoid(log_odds(w[0], w[2]) - log_odds(b[0], b[2])),
    "simpo": lambda w, b: -log_sigmoid(BETA * (w[0] / w[2] - b[0] / b[2]) - MARGIN),
}
OURS = {
    "dpo": lambda p, r, n: dpo_loss(p, r, BETA),
    "cdpo": lambda p, r, n: dpo_loss(p, r, BETA, SMOOTHING),
    "robust": lambda p, r, n: dpo_loss(p, r, BETA, SMOOTHING, robust=True),
    "ipo": lambda p, r, n: ipo_loss(p, r, BETA),
    "ipo of means": lambda p, r, n: ipo_loss(p, r, BETA, n),
    "orpo": lambda p, r, n: orpo_loss(p, n, BETA),
    "simpo": lambda p, r, n: simpo_loss(p, n, BETA, MARGIN),
}


@pytest.mark.parametrize("name", FORMULAS)
@settings(deadline=None, max_examples=40)
@given(made=pairs)
def test_a_loss_of_pairs_follows_its_formula(name: str, made: list) -> None:
    """Each pair's loss equals the paper's formula, computed with the `math` module."""
    found = OURS[name](*tensors(made)).losses.tolist()
    assert found == pytest.approx([FORMULAS[name](w, b) for w, b in made], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_gradient_of_a_loss_is_that_of_its_formula(name: str) -> None:
    """Autograd agrees with finite differences for every log-probability of the policy."""
    policy, reference, lengths = tensors([((-7.0, -6.5, 4), (-9.0, -9.5, 6)), ((-2.0, -2.5, 3), (-1.0, -1.5, 2))])
    policy.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: OURS[name](p, reference, lengths).losses, policy)


@settings(deadline=None, max_examples=40)
@given(
    made=st.lists(st.tuples(replies, st.booleans()), min_size=1, max_size=6),
    drift=st.floats(0, 5, allow_subnormal=False),
)
def test_kto_follows_its_formula(made: list, drift: float) -> None:
    """Desirable and undesirable replies with different weights."""
    policy, reference, _ = tensors([(reply, reply) for reply, _ in made])
    good = torch.tensor([liked for _, liked in made])
    count = len(made)
    found = kto_loss(
        policy[:count],
        reference[:count],
        good,
        torch.tensor(drift, dtype=torch.float64),
        BETA,
        desirable=1.5,
        undesirable=0.5,
    ).losses

    def formula(reply: tuple, liked: bool) -> float:
        if liked:
            return 1.5 * (1 - 1 / (1 + math.exp(-BETA * (log_ratio(reply) - drift))))
        return 0.5 * (1 - 1 / (1 + math.exp(-BETA * (drift - log_ratio(reply)))))

    assert found.tolist() == pytest.approx([formula(*row) for row in made], rel=1e-7, abs=1e-9)


def test_the_drift_is_a_mean_at_least_zero_without_gradient() -> None:
    """It is the mean log-ratio on mismatched replies, clamped at zero."""
    policy = torch.tensor([-1.0, -2.0, -4.5], requires_grad=True)
    drift = kto_drift(policy, torch.tensor([-3.0, -2.0, -4.0]))
    assert drift.item() == pytest.approx((2 + 0 - 0.5) / 3)
    assert not drift.requires_grad
    assert kto_drift(policy, torch.zeros(3)).item() == 0


def test_initial_losses() -> None:
    """If policy and reference are equal: DPO ln 2 with margin 0, IPO 1 / (2 beta)^2, KTO one half."""
    same = torch.tensor([-5.0, -7.0, -6.0, -8.0])
    losses, rewards = dpo_loss(same, same, 0.1)
    assert losses.tolist() == pytest.approx([math.log(2)] * 2)
    assert rewards.tolist() == [0] * 4
    for smoothing in (0.1, 0.4):
        assert dpo_loss(same, same, 0.1, smoothing).losses.tolist() == pytest.approx([math.log(2)] * 2)
        assert dpo_loss(same, same, 0.1, smoothing, robust=True).losses.tolist() == pytest.approx([math.log(2)] * 2)
    assert ipo_loss(same, same, 0.1).losses.tolist() == pytest.approx([25.0] * 2)
    good = torch.tensor([True, False, True, False])
    found = kto_loss(same, same, good, kto_drift(same, same), 0.1, desirable=1.0, undesirable=0.8).losses
    assert found.tolist() == pytest.approx([0.5, 0.4, 0.5, 0.4])


@settings(deadline=None, max_examples=40)
@given(made=pairs)
def test_swapping_the_sides_negates_the_margin(made: list) -> None:
    """DPO's losses of a pair and of its mirror differ by the margin, IPO's by 2 m / beta."""
    policy, reference, _ = tensors(made)
    swapped = [torch.cat(x.chunk(2)[::-1]) for x in (policy, reference)]
    for loss, of_margin in ((dpo_loss, 1.0), (ipo_loss, 2 / BETA**2)):
        there, back = loss(policy, reference, BETA), loss(*swapped, BETA)
        margin = there.rewards.chunk(2)[0] - there.rewards.chunk(2)[1]
        assert torch.allclose(margin, back.rewards.chunk(2)[1] - back.rewards.chunk(2)[0])
        assert torch.allclose(back.losses - there.losses, margin * of_margin, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(made=pairs)
def test_robust_dpo_is_unbiased_by_mislabeled_pairs(made: list) -> None:
    """Its expectation over mislabeled pairs is DPO's loss on the correct pairs."""
    policy, reference, _ = tensors(made)
    swapped = [torch.cat(x.chunk(2)[::-1]) for x in (policy, reference)]
    right = dpo_loss(policy, reference, BETA, SMOOTHING, robust=True).losses
    wrong = dpo_loss(*swapped, BETA, SMOOTHING, robust=True).losses
    assert torch.allclose((1 - SMOOTHING) * right + SMOOTHING * wrong, dpo_loss(policy, reference, BETA).losses)


def test_a_certain_reply_has_odds_with_a_gradient() -> None:
    """A reply whose tokens all have probability 1 in float32 has a finite loss and gradient."""
    policy = torch.tensor([0.0, -3.0], requires_grad=True)
    loss = orpo_loss(policy, torch.tensor([3.0, 3.0]), 0.1).losses.sum()
    (slope,) = torch.autograd.grad(loss, policy)
    assert loss.isfinite()
    assert slope.isfinite().all()


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, 1.0])
def test_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    """It must be at least 0 and less than 0.5."""
    with pytest.raises(UserError, match=r"--smoothing .* less than 0\.5"):
        dpo_loss(torch.zeros(2), torch.zeros(2), 0.1, smoothing)
