"""The decision about a canary: seldom wrong however often one looks, and made when there is a difference."""

import itertools
import math

import numpy as np
import pytest
import ville
from numpy.typing import NDArray

from sayso.base.errors import UserError
from sayso.judge.canary import ALPHA, CanaryCounts, CanaryOutcomes, block_of, judge_canary, log_evidence
from sayso.judge.statistics.sequential import log_e_higher, log_e_preferred

LIMIT = math.log(1 / ALPHA)


def histories(
    share: float, liked: tuple[float, float], failed: tuple[float, float], preferred: float, runs: int = 400
) -> CanaryCounts:
    """Counts after each block of many runs, in which there is a comparison of two replies per block, too."""
    draw, block, blocks = np.random.default_rng(round(100 * share)), block_of(share), 50

    def counted(many: int, rate: float) -> NDArray[np.int64]:
        return draw.binomial(many, rate, (runs, blocks)).cumsum(-1)

    wins, number = counted(1, preferred), np.arange(1, blocks + 1)
    rated = (counted(block[0], liked[0]), counted(block[1], liked[1]))
    broken = (counted(block[0], failed[0]), counted(block[1], failed[1]))
    return CanaryCounts(rated, number, broken, number, (number - wins, wins))


def ever(counts: CanaryCounts, share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each run, whether the evidence for and against the candidate is enough at any look."""

    def part(one: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        liked, failed, preferred = ((a[one], b[one]) for a, b in (counts.liked, counts.failed, counts.preferred))
        some = CanaryCounts(liked, counts.rated_blocks, failed, counts.all_blocks, preferred)
        better, worse = log_evidence(some, block_of(share))
        return (better > LIMIT).any(-1), (worse > LIMIT).any(-1)

    found = [part(slice(start, start + 200)) for start in range(0, len(np.asarray(counts.liked[0])), 200)]
    return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_equal_models_watched_after_every_outcome_are_rarely_promoted_or_rolled_back(share: float) -> None:
    """In at most 5 % of 4,000 runs each."""
    promoted, rolled_back = ever(histories(share, (0.7, 0.7), (0.02, 0.02), 0.5, runs=4_000), share)
    assert promoted.mean() <= ALPHA
    assert rolled_back.mean() <= ALPHA


def test_a_difference_is_found() -> None:
    """And never taken for one in the other direction."""
    share = 0.5
    promoted, rolled_back = ever(histories(share, (0.4, 0.85), (0.02, 0.02), 0.7), share)
    assert promoted.mean() > 0.9
    assert rolled_back.mean() < 0.001
    promoted, rolled_back = ever(histories(share, (0.85, 0.4), (0.02, 0.02), 0.3), share)
    assert rolled_back.mean() > 0.9
    assert promoted.mean() < 0.001
    promoted, rolled_back = ever(histories(share, (0.7, 0.7), (0.01, 0.4), 0.5), share)
    assert rolled_back.mean() > 0.9, "it fails"
    assert promoted.mean() <= ALPHA


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_the_expected_evidence_is_at_most_one_if_the_models_are_equal(share: float, rate: float) -> None:
    """By enumeration of all outcomes of one block of ratings, one of failures, and a comparison."""
    block, expected = block_of(share), np.zeros(2)
    ranges = [range(one + 1) for one in (*block, *block)]
    for a, b, c, d, won in itertools.product(*ranges, (0, 1)):
        chance = 0.5 * math.prod(
            math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
            for n, k in zip((*block, *block), (a, b, c, d), strict=True)
        )
        counts = CanaryCounts((a, b), 1, (c, d), 1, (1 - won, won))
        expected += chance * np.exp(log_evidence(counts, block))
    assert (expected <= 1 + 1e-9).all()
    assert (expected > 0.8).all(), "little is given away"


@pytest.mark.parametrize(
    ("rates", "state"), [((0.4, 0.85), "better"), ((0.85, 0.4), "worse"), ((0.7, 0.7), "undecided")]
)
def test_the_verdict_agrees_with_another_library(rates: tuple[float, float], state: str) -> None:
    """About the difference in liked conversations, which came in turn from both models."""
    for seed in range(4):
        draw = np.random.default_rng(seed)
        seen = np.stack([draw.random(120) < rate for rate in rates])
        liked = seen.tolist()
        every = [[False] * 120] * 2
        verdict = judge_canary(CanaryOutcomes((liked[0], liked[1]), (every[0], every[1])), 0.5)
        low, high = ville.BettingABTest(alpha=ALPHA, grid=2000).fit(seen.T.ravel(), np.tile([0, 1], 120)).interval()
        assert verdict.state == ("better" if low > 0 else "worse" if high < 0 else "undecided") == state


def test_evidence_of_several_kinds_is_combined_as_by_another_library() -> None:
    counts = CanaryCounts((30, 18), 40, (1, 3), 45, (3, 8))
    better, worse = log_evidence(counts, (1, 1))
    kinds = [log_e_higher(30, 18, 40), log_e_preferred(8, 3)]
    assert math.exp(better) == pytest.approx(ville.evalues.combine(np.exp(kinds)))
    kinds = [log_e_higher(18, 30, 40), log_e_preferred(3, 8), log_e_higher(1, 3, 45)]
    assert math.exp(worse) == pytest.approx(ville.evalues.combine(np.exp(kinds)))


def bet(right: tuple[int, int], blocks: int, block: tuple[int, int]) -> float:
    """The evidence that the second rate is higher, by the formula, one pair of rates after the other."""
    rates, bets = [(place + 0.5) / 24 for place in range(24)], []
    for low, high in itertools.combinations(rates, 2):
        common = (block[0] * low + block[1] * high) / sum(block)
        ratio = 1.0
        for rate, many, good in ((low, block[0], right[0]), (high, block[1], right[1])):
            ratio *= (rate / common) ** good * ((1 - rate) / (1 - common)) ** (blocks * many - good)
        bets.append(ratio)
    return sum(bets) / len(bets)


def test_the_evidence_is_the_mean_of_its_kinds() -> None:
    """Against the formula: ratings and comparisons for a candidate; against it, failures too."""
    won = [(place + 0.5) / 24 for place in range(12, 24)]
    better, worse = log_evidence(CanaryCounts((11, 6), 6, (1, 3), 9, (3, 8)), (2, 1))
    preferred = sum((2 * rate) ** 8 * (2 - 2 * rate) ** 3 for rate in won) / 12
    worse_preferred = sum((2 * rate) ** 3 * (2 - 2 * rate) ** 8 for rate in won) / 12
    assert math.exp(better) == pytest.approx((bet((11, 6), 6, (2, 1)) + preferred) / 2)
    against = [bet((6, 11), 6, (1, 2)), worse_preferred, bet((1, 3), 9, (2, 1))]
    assert math.exp(worse) == pytest.approx(sum(against) / 3)


@pytest.mark.parametrize(
    ("share", "block"), [(0.1, (9, 1)), (0.5, (1, 1)), (0.3, (2, 1)), (0.9, (1, 9)), (0.01, (99, 1))]
)
def test_a_block_has_the_shares_of_the_models(share: float, block: tuple[int, int]) -> None:
    assert block_of(share) == block


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_share_is_between_none_and_all(share: float) -> None:
    with pytest.raises(UserError, match="The share of a canary must be above 0 and below 1; got"):
        block_of(share)


def outcomes(liked: tuple[int, int], assigned: tuple[int, int], failed: tuple[int, int] = (0, 0)) -> CanaryOutcomes:
    """Thirty rated conversations in each arm, with given numbers of liked ones, of conversations and of failures."""
    good = tuple([True] * many + [False] * (30 - many) for many in liked)
    broken = tuple([True] * one + [False] * (many - one) for many, one in zip(assigned, failed, strict=True))
    return CanaryOutcomes((good[0], good[1]), (broken[0], broken[1]))


@pytest.mark.parametrize(
    ("given", "state", "says"),
    [
        (
            outcomes((15, 15), (50, 50)),
            "undecided",
            "15 of 30 rated conversations of the candidate were liked",
        ),
        (outcomes((8, 27), (50, 50)), "better", "evidence that it is better"),
        (outcomes((27, 8), (50, 50)), "worse", "8 of 30 rated conversations of the candidate were liked"),
        (outcomes((15, 15), (50, 50), (0, 20)), "worse", "20 of 50 conversations failed, and 0 of 50 of the current"),
        (
            outcomes((8, 27), (99, 30)),
            "mismatch",
            "30 of 129 conversations went to the candidate, which is not",
        ),
        (outcomes((27, 8), (99, 30)), "worse", "that it is worse"),
        (CanaryOutcomes(([], []), ([], [])), "undecided", "0 of 0 rated conversations"),
        (CanaryOutcomes(([], []), ([], []), (2, 20)), "better", "preferred 20 times, the current model's 2"),
        (CanaryOutcomes(([], []), ([], []), (9999, 0)), "worse", "that it is worse above 5e+21:1"),
    ],
)
def test_the_verdict_says_what_it_rests_on(given: CanaryOutcomes, state: str, says: str) -> None:
    verdict = judge_canary(given, 0.5)
    assert verdict.state == state
    assert says in verdict.said


def test_outcomes_that_wait_for_a_block_do_not_count_yet() -> None:
    """With a share of a tenth, nine conversations of the current model belong to one of the candidate."""
    few = CanaryOutcomes(([True] * 8, [False]), ([], []))
    assert judge_canary(few, 0.1).log_worse == pytest.approx(0)
    assert judge_canary(CanaryOutcomes(([True] * 9, [False]), ([], [])), 0.1).log_worse > 0
