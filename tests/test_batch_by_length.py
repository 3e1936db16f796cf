"""Rows of similar length are batched together."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sayso.batch.by_length import by_length


@given(lengths=st.lists(st.integers(1, 50), max_size=40), tokens=st.integers(1, 200))
def test_every_row_is_in_one_batch_that_fits(lengths: list[int], tokens: int) -> None:
    """Batches are sorted by length, none is empty, and only a batch of one row may exceed the limit."""
    found = list(by_length(lengths, tokens))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    order = [lengths[index] for batch in found for index in batch]
    assert order == sorted(lengths)
    assert all(batch and (len(batch) == 1 or len(batch) * lengths[batch[-1]] <= tokens) for batch in found)


@given(lengths=st.lists(st.integers(1, 50), min_size=2, max_size=40), tokens=st.integers(1, 200))
def test_a_batch_ends_only_where_the_next_row_would_not_fit(lengths: list[int], tokens: int) -> None:
    """Batches are as full as the limit allows."""
    found = list(by_length(lengths, tokens))
    for batch, following in itertools.pairwise(found):
        assert (len(batch) + 1) * lengths[following[0]] > tokens


def test_no_rows_make_no_batch() -> None:
    """No batch is yielded."""
    assert list(by_length([], 8)) == []
