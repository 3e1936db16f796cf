"""E-processes: at most 1 on average under the hypothesis, whenever one stops; and they find what is there."""

import itertools
import math

import numpy as np
import pytest
import ville

from sayso.base.errors import UserError
from sayso.judge.statistics.sequential import in_blocks, log_e_higher, log_e_preferred, log_e_shares

RUNS, ALPHA = 4_000, 0.05


def binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_the_expected_evidence_for_a_preference_is_at_most_one(rate: float, n: int) -> None:
    """By enumeration; exactly one at a half, and above it where the preference is real."""
    expected = sum(binomial(n, k, rate) * math.exp(log_e_preferred(k, n - k)) for k in range(n + 1))
    assert expected <= 1 + 1e-9
    if rate == 0.5:
        assert expected == pytest.approx(1)
    assert sum(binomial(n, k, 0.7) * math.exp(log_e_preferred(k, n - k)) for k in range(n + 1)) > 1


@pytest.mark.parametrize("block", [(1, 1), (3, 1), (2, 3)])
@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.1, 0.1), (0.9, 0.9), (0.6, 0.4), (0.9, 0.1)])
def test_the_expected_evidence_for_a_higher_rate_is_at_most_one(a: float, b: float, block: tuple[int, int]) -> None:
    """By enumeration of two blocks, for every pair of rates of which the second is not higher."""
    many = [2 * one for one in block]
    expected = sum(
        binomial(many[0], one, a) * binomial(many[1], other, b) * math.exp(log_e_higher(one, other, 2, block=block))
        for one, other in itertools.product(range(many[0] + 1), range(many[1] + 1))
    )
    assert expected <= 1 + 1e-9


def test_a_block_may_stop_at_any_time() -> None:
    """On average over the next block the evidence is not larger: a supermartingale where rates are equal."""
    now = math.exp(log_e_higher(3, 6, 10))
    after = sum(
        0.3 ** (one + other) * 0.7 ** (2 - one - other) * math.exp(log_e_higher(3 + one, 6 + other, 11))
        for one, other in itertools.product((0, 1), (0, 1))
    )
    assert after <= now + 1e-9


def test_equal_models_watched_after_every_rating_are_rarely_called_different() -> None:
    """In at most 5 % of 4,000 runs, in either direction."""
    draw = np.random.default_rng(0)
    ratings = draw.random((2, RUNS, 200)) < 0.7
    a, b = ratings.cumsum(-1)
    blocks = np.arange(1, 201)
    for first, second in ((a, b), (b, a)):
        ever = np.zeros(RUNS, bool)
        for part in np.array_split(np.arange(RUNS), 20):
            ever[part] = (log_e_higher(first[part], second[part], blocks) > math.log(1 / ALPHA)).any(-1)
        assert ever.mean() <= ALPHA
    wins = (draw.random((RUNS, 300)) < 0.5).cumsum(-1)
    looks = log_e_preferred(wins, np.arange(1, 301) - wins)
    assert (looks > math.log(1 / ALPHA)).any(-1).mean() <= ALPHA


def test_a_better_model_is_found() -> None:
    """Nearly always within 300 ratings each, at 0.8 against 0.6, and never in the other direction."""
    draw = np.random.default_rng(1)
    a = (draw.random((200, 300)) < 0.6).cumsum(-1)
    b = (draw.random((200, 300)) < 0.8).cumsum(-1)
    blocks = np.arange(1, 301)
    assert (log_e_higher(a, b, blocks) > math.log(1 / ALPHA)).any(-1).mean() > 0.95
    assert not (log_e_higher(b, a, blocks) > math.log(1 / ALPHA)).any()
    assert log_e_preferred(70, 30) > math.log(20) > log_e_preferred(55, 45)


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.7])
def test_the_evidence_for_a_preference_is_that_of_another_library(rate: float) -> None:
    """After every comparison. Its bet is on all rates, so it is the mean of the bets in both directions."""
    won = np.random.default_rng(3).random(300) < rate
    wins, losses = won.cumsum(), (~won).cumsum()
    both = np.logaddexp(log_e_preferred(wins, losses), log_e_preferred(losses, wins)) - math.log(2)
    assert both == pytest.approx(ville.BernoulliTest(0.5).fit(won).log_e_values_, abs=0.01)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.8), (0.4, 0.85), (0.7, 0.7)])
def test_a_higher_rate_is_found_no_later_than_by_another_library(a: float, b: float) -> None:
    """In total over six streams of observations in turn; neither finds a difference where there is none."""
    ours, theirs = 0, 0
    for seed in range(6):
        draw, many = np.random.default_rng(seed), 300
        seen = np.stack([draw.random(many) < a, draw.random(many) < b])
        found = log_e_higher(*seen.cumsum(-1), np.arange(1, many + 1)) > math.log(1 / ALPHA)
        test = ville.BettingABTest(alpha=ALPHA, grid=2000).fit(seen.T.ravel(), np.tile([0, 1], many))
        stop = test.stopping_time()
        assert found.any() == (stop is not None) == (a < b)
        if stop is not None:
            ours, theirs = ours + 2 * (int(found.argmax()) + 1), theirs + stop
    assert ours <= theirs


def test_only_complete_blocks_are_read() -> None:
    """In the order in which observations came."""
    assert in_blocks([1, 0, 1], [1, 1], (1, 1)) == (1, 2, 2)
    assert in_blocks([1, 0, 1, 1, 1], [0, 1], (2, 1)) == (3, 1, 2)
    assert in_blocks([1, 1], [], (1, 1)) == (0, 0, 0)
    assert log_e_higher(0, 0, 0) == pytest.approx(0)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5)])
def test_the_expected_evidence_of_a_mismatch_is_one(shares: tuple[float, ...]) -> None:
    """By enumeration of seven observations."""
    n = 7
    total = 0.0
    for counts in itertools.product(range(n + 1), repeat=len(shares)):
        if sum(counts) == n:
            ways = math.factorial(n) / math.prod(map(math.factorial, counts))
            chance = ways * math.prod(share**count for share, count in zip(shares, counts, strict=True))
            total += chance * math.exp(log_e_shares(counts, shares))
    assert total == pytest.approx(1)


def test_a_mismatch_of_shares_is_found() -> None:
    assert log_e_shares((5_000, 5_500), (0.5, 0.5)) > math.log(20)
    assert log_e_shares((500, 510), (0.5, 0.5)) < 0
    several = log_e_shares(([5, 50], [5, 40]), (0.5, 0.5))
    assert np.allclose(several, [log_e_shares((5, 5), (0.5, 0.5)), log_e_shares((50, 40), (0.5, 0.5))])


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: log_e_preferred(-1, 2), "Counts must not be negative"),
        (lambda: log_e_higher(3, 0, 2), "more successes than observations"),
        (lambda: log_e_higher(0, 3, 2), "more successes than observations"),
        (lambda: log_e_higher(0, 0, 2, block=(1, 0)), "A block needs an observation of each model; got 1 and 0."),
        (lambda: log_e_shares((1, 2), (0.5, 0.6)), "add up to 1"),
        (lambda: log_e_shares((1, 2), (1.0,)), "a share above 0 for each group"),
        (lambda: log_e_shares((1, 2), (1.0, 0.0)), "a share above 0 for each group"),
    ],
)
def test_counts_that_cannot_be_are_refused(call: object, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        call()  # type: ignore[operator]
