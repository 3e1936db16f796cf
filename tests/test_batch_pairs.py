"""Batches of pairs: two replies after the same prompt, of which only the replies are trained on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.batch.pairs import PairBatches

PAIRS = [([1, 2, 3], [4, 5], [6]), ([7], [8, 9, 10, 11], [12]), ([13, 14], [15], [16, 17, 18])]

some_ids = st.lists(st.integers(0, 999), min_size=1, max_size=60)
some_pairs = st.lists(
    st.tuples(some_ids, some_ids, some_ids).filter(lambda pair: pair[1] != pair[2]), min_size=1, max_size=6
)


@settings(deadline=None)
@given(pairs=some_pairs, rows=st.integers(1, 4), step=st.integers(0, 5), context=st.integers(120, 200))
def test_a_pair_is_two_rows_with_the_reply_trained(pairs, rows, step, context) -> None:
    """Rows i and B + i are those of a pair; each id of the reply is the target of the position before it."""
    batch = PairBatches(pairs, rows, context, 0).batch(step)
    assert len(batch.ids) == 2 * rows
    for i in range(2 * rows):
        index = int(batch.documents[i, 0])
        assert index == int(batch.documents[(i + rows) % (2 * rows), 0])
        prompt, reply = pairs[index][0], pairs[index][1 if i < rows else 2]
        size = len(prompt) + len(reply)
        assert batch.ids[i, :size].tolist() == [*prompt, *reply]
        assert batch.targets[i, len(prompt) - 1 : size - 1].tolist() == list(reply)
        assert int((batch.targets[i] >= 0).sum()) == len(reply)
        assert (batch.documents[i, size:] == -1).all()
        assert (batch.documents[i, :size] == index).all()


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_a_batch_of_pairs_is_split_by_pairs(parts: int) -> None:
    """Each part has both rows of its pairs, the chosen ones first."""
    batch = PairBatches(PAIRS, 3, 64, 0).batch(0)
    split = batch.split(parts)
    assert len(split) == min(parts, 3)
    sides = [part.ids.chunk(2) for part in split]
    assert torch.equal(torch.cat([side[0] for side in sides] + [side[1] for side in sides]), batch.ids)
    assert all(torch.equal(*(part.documents[:, 0].chunk(2))) for part in split)


def test_every_pair_occurs_once_per_epoch() -> None:
    """For any batch size; the steps can be requested in any order."""
    batches = PairBatches(PAIRS, 2, 64, 0)
    later = batches.batch(4)
    seen = [int(batches.batch(step).documents[i, 0]) for step in range(6) for i in range(2)]
    assert [sorted(seen[start : start + 3]) for start in range(0, 12, 3)] == [[0, 1, 2]] * 4
    assert torch.equal(batches.batch(4).ids, later.ids)
    assert batches.steps_per_epoch == 2


def test_rows_are_as_wide_as_the_longest_one() -> None:
    """The width is rounded up to a multiple of 16, and at most the context."""
    for size, width in ((64, 64), (65, 80), (195, 200)):
        pair = ([1], [2] * 4, [3] * (size - 1))
        assert PairBatches([pair], 1, 200, 0).batch(0).ids.shape == (2, width)


@pytest.mark.parametrize(
    ("pair", "rule"),
    [
        (([1] * 10, [2], [3] * 3), "context of 12 tokens; pair 1 has 13.*longer context"),
        (([], [2], [3]), "pair 1 has an empty one"),
        (([1], [], [3]), "pair 1 has an empty one"),
        (([1], [2], []), "pair 1 has an empty one"),
        (([1], [2, 3], (2, 3)), "pair 1 are the same"),
    ],
)
def test_an_invalid_pair_is_an_error_with_its_number(pair, rule: str) -> None:
    """It is too long, has an empty part, or two equal replies."""
    with pytest.raises(UserError, match=rule):
        PairBatches([([1], [2], [3]), pair], 1, 12, 0)


def test_no_pairs_are_an_error() -> None:
    """It has the command that gathers some."""
    with pytest.raises(UserError, match="sayso gather"):
        PairBatches([], 1, 12, 0)
