"""Batches of text: every token once per epoch, documents separated, determined by seed and step."""

import itertools
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.batch.order import Order, permutation
from sayso.batch.shards import Shards, write_shards
from sayso.batch.text import TextBatches


@given(first=st.integers(0, 40), number=st.integers(0, 40), count=st.integers(1, 9), seed=st.integers(0, 3))
def test_an_order_is_a_pure_function_of_seed_and_number(first: int, number: int, count: int, seed: int) -> None:
    """Samples are those of the permutations, in any order of requests."""
    order = Order(seed, count)
    expected = [(g // count, permutation(seed, g // count, count)[g % count]) for g in range(first, first + number)]
    assert order.items(first, number) == order.items(first, number) == expected


def test_an_order_keeps_one_epoch_in_memory() -> None:
    """The permutations of earlier epochs and of other orders are freed."""
    count, tracing = 100_000, tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for seed in range(4):
            order = Order(seed, count)
            for epoch in range(3):
                order.items(epoch * count, 1)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        if not tracing:
            tracemalloc.stop()
    assert 8 * count <= kept < 1.5 * 8 * count


lengths_of_documents = st.lists(st.integers(1, 12), min_size=1, max_size=12).filter(lambda sizes: max(sizes) > 1)


def make_shards(folder: Path, lengths: list[int]) -> Shards:
    """Return documents of distinct tokens: token j of document i is 100 i + j."""
    documents = [list(range(100 * i, 100 * i + length)) for i, length in enumerate(lengths)]
    write_shards(folder / "tokens", documents, 100 * len(lengths), tokenizer="mine", documents_per_shard=3)
    return Shards.open(folder / "tokens")


def trained(batches: TextBatches, first_row: int, rows: int) -> Counter[tuple[int, int]]:
    """Count the pairs (id, target) of some rows."""
    pairs: Counter[tuple[int, int]] = Counter()
    for row in range(first_row, first_row + rows):
        batch = batches.batch(row // batches.rows)
        ids, targets = batch.ids[row % batches.rows], batch.targets[row % batches.rows]
        pairs.update(pair for pair in zip(ids.tolist(), targets.tolist(), strict=True) if pair[1] >= 0)
    return pairs


@settings(deadline=None, max_examples=60)
@given(
    lengths=lengths_of_documents,
    rows=st.integers(1, 4),
    context=st.integers(2, 15),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 2),
)
def test_every_token_is_trained_on_once_per_epoch(tmp_path_factory, lengths, rows, context, seed, epoch) -> None:
    """Each epoch has each token of a document, except the first, as a target exactly once."""
    batches = TextBatches(make_shards(tmp_path_factory.mktemp("t"), lengths), rows, context, seed)
    expected = Counter((100 * i + j, 100 * i + j + 1) for i, size in enumerate(lengths) for j in range(size - 1))
    assert trained(batches, epoch * batches.rows_per_epoch, batches.rows_per_epoch) == expected


@settings(deadline=None, max_examples=60)
@given(lengths=lengths_of_documents, rows=st.integers(1, 4), context=st.integers(2, 15), step=st.integers(0, 20))
def test_documents_are_separated(tmp_path_factory, lengths, rows, context, step) -> None:
    """`documents` has the number of each token's document, and targets are the next tokens of the same one."""
    batch = TextBatches(make_shards(tmp_path_factory.mktemp("t"), lengths), rows, context, 0).batch(step)
    real = batch.documents >= 0
    assert torch.equal(batch.documents[real].long(), batch.ids[real] // 100)
    has_target = batch.targets >= 0
    assert torch.equal(batch.targets[has_target], batch.ids[has_target] + 1)
    assert not has_target[~real].any()


@settings(deadline=None, max_examples=30)
@given(steps=st.permutations(range(8)), seed=st.integers(0, 3))
def test_a_batch_depends_only_on_seed_and_step(tmp_path_factory, steps, seed) -> None:
    """Requested in any order, of another object, the batch of a step is the same."""
    shards = make_shards(tmp_path_factory.mktemp("t"), [5, 9, 3, 12])
    in_order = [TextBatches(shards, 2, 6, seed).batch(step) for step in range(8)]
    batches = TextBatches(shards, 2, 6, seed)
    for step in steps:
        batch = batches.batch(step)
        for name in ("ids", "targets", "documents"):
            assert torch.equal(getattr(batch, name), getattr(in_order[step], name))


def test_the_order_of_rows_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    """A batch of eight rows is two batches of four."""
    shards = make_shards(tmp_path, [5, 9, 3, 12])
    one, two = TextBatches(shards, 8, 6, 0), TextBatches(shards, 4, 6, 0)
    for step in range(3):
        halves = [two.batch(2 * step + rank).ids for rank in range(2)]
        assert torch.equal(one.batch(step).ids, torch.cat(halves))


def test_each_epoch_and_seed_has_its_own_order(tmp_path: Path) -> None:
    """The rows differ in the next epoch, and with another seed."""
    shards = make_shards(tmp_path, [7] * 30)

    def ids(seed: int, epoch: int) -> list[int]:
        batches = TextBatches(shards, 1, 6, seed)
        return [n for row in range(5) for n in batches.batch(epoch * batches.rows_per_epoch + row).ids[0].tolist()]

    orders = [ids(seed, epoch) for seed, epoch in itertools.product(range(2), range(2))]
    assert len({tuple(order) for order in orders}) == 4


def test_a_book_does_not_fill_a_batch(tmp_path: Path) -> None:
    """The rows of a long document are spread over the epoch."""
    write_shards(tmp_path / "tokens", [[i] * 4000 for i in range(10)], 10, tokenizer="mine")
    batches = TextBatches(Shards.open(tmp_path / "tokens"), 10, 40, 0)
    different = [len(set(batches.batch(step).documents[:, 0].tolist())) for step in range(50)]
    assert np.mean(different) == pytest.approx(10 * (1 - 0.9**10), rel=0.05)


def test_rows_are_full(tmp_path: Path) -> None:
    """Only the last row of an epoch has padding."""
    batches = TextBatches(make_shards(tmp_path, [5, 9, 3, 12]), 1, 6, 0)
    padding = sum(int((batches.batch(row).documents < 0).sum()) for row in range(batches.rows_per_epoch))
    assert padding < 6


def test_shapes_and_types_are_as_documented(tmp_path: Path) -> None:
    """Ids and targets are [B,T] int64, documents [B,T] int32; steps per epoch are rounded up."""
    batches = TextBatches(make_shards(tmp_path, [5, 9, 3, 12]), 3, 6, 0)
    batch = batches.batch(1)
    for tensor, kind in ((batch.ids, torch.int64), (batch.targets, torch.int64), (batch.documents, torch.int32)):
        assert (tensor.shape, tensor.dtype) == ((3, 6), kind)
    assert (batches.rows_per_epoch, batches.steps_per_epoch) == (5, 2)


def test_invalid_arguments_are_errors(tmp_path: Path) -> None:
    """No rows, rows of one token, documents of one token, and a negative seed."""
    shards = make_shards(tmp_path, [5])
    for rows, context in ((0, 6), (1, 1)):
        with pytest.raises(UserError, match=f"got {rows} rows of {context}"):
            TextBatches(shards, rows, context, 0)
    with pytest.raises(UserError, match="at least two tokens"):
        TextBatches(make_shards(tmp_path / "one", [1, 1]), 1, 6, 0)
    with pytest.raises(UserError, match="seed must be 0 or more"):
        TextBatches(shards, 1, 6, -1)
