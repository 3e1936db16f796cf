"""Which pair comes next: disputed ones, then begun ones, then those of the models that are hardest to tell apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.feedback.priority import OpenPair, disagreement, in_order, is_finished, uncertainty

VOTES = st.tuples(*[st.integers(0, 6)] * 3)


def test_the_order_is_the_rule() -> None:
    """The larger the disagreement the earlier; begun before fresh; least certain models first; then the oldest."""
    pairs = [
        OpenPair(1, (0, 0, 0), ("a", "b")),  # compared often, and clearly
        OpenPair(2, (1, 0, 0), ("a", "b")),
        OpenPair(3, (2, 0, 1), ("a", "b")),
        OpenPair(4, (1, 0, 1), ("a", "b")),
        OpenPair(5, (0, 0, 0), ("c", "b")),  # never compared
        OpenPair(6, (0, 0, 0), ("b", "c")),
        OpenPair(7, (0, 0, 0), ("a", "c")),  # compared often, and evenly
        OpenPair(8, (0, 1, 0), ("a", "c")),
    ]
    results = {("a", "b"): (50, 0, 2), ("a", "c"): (25, 2, 25)}
    assert [one.id for one in in_order(pairs, results)] == [4, 3, 2, 8, 5, 6, 7, 1]


@given(votes=VOTES, needed=st.integers(1, 5))
def test_a_pair_is_finished_with_enough_and_a_majority(votes: tuple[int, int, int], needed: int) -> None:
    """Or with two more than enough; never with fewer than enough."""
    given = sum(votes)
    majority = any(votes) and max(votes) * 2 > given
    assert is_finished(votes, needed) == (given >= needed and (majority or given >= needed + 2))
    assert (disagreement(votes) == 0) == (given == max(votes))


@pytest.mark.parametrize("votes", [(0, 0, 0), (3, 1, 5), (40, 0, 2)])
def test_uncertainty_is_that_of_the_rate_of_wins(votes: tuple[int, int, int]) -> None:
    """As drawn from the posterior distribution."""
    wins, ties, losses = votes
    drawn = np.random.default_rng(0).beta(1 + wins + ties / 2, 1 + losses + ties / 2, 200_000)
    assert uncertainty(votes) == pytest.approx(drawn.std(), rel=0.01)
