"""Batches of conversations: not split, once per epoch, trained by their masks, and packed tightly."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.batch.chat import ChatBatches, fit_rows, pack_rows
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer

CONTEXT = 12

masks = st.lists(
    st.lists(st.booleans(), min_size=1, max_size=CONTEXT - 1).map(lambda m: [False, *m]), min_size=1, max_size=15
)


def conversations_of(masks: list[list[bool]]) -> list[tuple[list[int], list[bool]]]:
    """Return conversations of distinct tokens, each with a trained last token."""
    return [(list(range(100 * i, 100 * i + len(mask))), [*mask[:-1], True]) for i, mask in enumerate(masks)]


@settings(deadline=None)
@given(masks=masks, rows=st.integers(1, 4), seed=st.integers(0, 5), epoch=st.integers(0, 2))
def test_every_conversation_occurs_once_per_epoch(masks, rows, seed, epoch) -> None:
    """Each conversation is contiguous in one row, with the trained tokens as targets."""
    conversations = conversations_of(masks)
    batches = ChatBatches(conversations, rows, CONTEXT, seed)
    seen: Counter[int] = Counter()
    first = epoch * batches.rows_per_epoch
    for row in range(first, first + batches.rows_per_epoch):
        batch = batches.batch(row // rows)
        ids, targets, documents = (part[row % rows] for part in (batch.ids, batch.targets, batch.documents))
        for index in documents[documents >= 0].unique().tolist():
            here = (documents == index).nonzero().flatten()
            assert torch.equal(here, torch.arange(here[0], here[0] + len(here)))
            expected_ids, mask = conversations[index]
            assert ids[here].tolist() == expected_ids
            following = [*(i if m else -100 for i, m in zip(expected_ids[1:], mask[1:], strict=True)), -100]
            assert targets[here].tolist() == following
            seen[index] += 1
        assert (targets[documents < 0] == -100).all()
        assert (targets >= 0).any()
    assert seen == Counter(range(len(conversations)))


@settings(deadline=None)
@given(steps=st.permutations(range(6)))
def test_a_batch_depends_only_on_seed_and_step(steps) -> None:
    """Requested in any order, of another object, the batch of a step is the same."""
    conversations = conversations_of([[False] * size for size in (3, 8, 5, 12, 7, 2, 9)])
    in_order = [ChatBatches(conversations, 2, CONTEXT, 1).batch(step) for step in range(6)]
    batches = ChatBatches(conversations, 2, CONTEXT, 1)
    for step in steps:
        batch = batches.batch(step)
        for name in ("ids", "targets", "documents"):
            assert torch.equal(getattr(batch, name), getattr(in_order[step], name))


def test_each_epoch_and_seed_has_its_own_order() -> None:
    """The order of rows differs in the next epoch, and with another seed."""
    conversations = conversations_of([[False] * CONTEXT] * 20)

    def order(seed: int, epoch: int) -> list[int]:
        batches = ChatBatches(conversations, 20, CONTEXT, seed)
        return batches.batch(epoch).documents[:, 0].tolist()

    orders = [order(0, 0), order(0, 1), order(1, 0)]
    assert all(sorted(one) == list(range(20)) for one in orders)
    assert len({tuple(one) for one in orders}) == 3


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 50), max_size=60), context=st.integers(50, 70))
def test_packing_is_best_fit(lengths, context) -> None:
    """Equal to the textbook algorithm: each item in turn is put into the fullest row with room for it."""
    fullness: list[int] = []
    for length in lengths:
        open_rows = [row for row, full in enumerate(fullness) if full + length <= context]
        if open_rows:
            fullness[max(open_rows, key=fullness.__getitem__)] += length
        else:
            fullness.append(length)
    rows = pack_rows(np.array(lengths, np.int64), context)
    assert sorted(item for row in rows for item in row) == list(range(len(lengths)))
    assert sorted(sum(lengths[item] for item in row) for row in rows) == sorted(fullness)


def test_utilization_is_the_share_that_is_not_padding() -> None:
    """It is 1 for full rows, and less for a row with padding."""
    full = conversations_of([[False] * size for size in (6, 6, 6, 6)])
    assert ChatBatches(full, 1, CONTEXT, 0).utilization == 1
    half = ChatBatches(full[2:3], 1, CONTEXT, 0)
    assert half.utilization == 0.5
    assert (half.batch(0).documents >= 0).float().mean() == 0.5


def test_many_short_conversations_are_packed_almost_full() -> None:
    """With the typical lengths of dialogues, less than 3 % of rows of twice the longest one is padding."""
    lengths = np.random.default_rng(0).lognormal(4.5, 0.7, 3000).clip(4, 512).astype(int)
    batches = ChatBatches([([1] * n, [False] + [True] * (n - 1)) for n in lengths], 16, 1024, 0)
    assert batches.utilization > 0.97


@pytest.mark.parametrize(
    ("mask", "rule"),
    [
        ([False] * CONTEXT + [True], f"context of {CONTEXT} tokens; conversation 1 has 13.*longer context"),
        ([False, False], "conversation 1 has no assistant reply"),
        ([True, False], "conversation 1 has no assistant reply"),
        ([], "conversation 1 has no assistant reply"),
    ],
)
def test_an_invalid_conversation_is_an_error_with_its_number(mask: list[bool], rule: str) -> None:
    """It is too long, or has no trained token (the first one cannot be a target)."""
    good = ([1, 2], [False, True])
    with pytest.raises(UserError, match=rule):
        ChatBatches([good, (list(range(len(mask))), mask)], 1, CONTEXT, 0)


def test_no_conversations_are_an_error() -> None:
    """It has the command that prepares some."""
    with pytest.raises(UserError, match="sayso prepare"):
        ChatBatches([], 1, CONTEXT, 0)


def test_conversations_that_are_too_long_are_separated() -> None:
    """The order is kept."""
    conversations = conversations_of([[False] * size for size in (3, 20, 12, 13)])
    assert fit_rows(conversations, CONTEXT) == (
        [conversations[0], conversations[2]],
        [conversations[1], conversations[3]],
    )


def test_packing_does_not_change_loss_and_gradient() -> None:
    """They are the sums over conversations in separate batches, in float64."""
    model = Transformer(ModelConfig(60, 2, 32, 2, 1, 16, 48, context=40)).double()
    model.initialize(torch.Generator().manual_seed(0))
    draw = np.random.default_rng(1)
    talks = [
        (draw.integers(0, 60, n).tolist(), [False, *(draw.random(n - 2) < 0.5).tolist(), True])
        for n in (5, 17, 9, 30, 3, 22, 12, 8)
    ]
    batches = ChatBatches(talks, 9, 40, 0)
    assert batches.rows_per_epoch < len(talks)
    packed = ChatBatches(talks, batches.rows_per_epoch, 40, 0).batch(0)
    found = [next_token_loss(model, packed.ids, packed.targets, packed.documents)]
    alone = [ChatBatches([one], 1, len(one[0]), 0).batch(0) for one in talks]
    found.append(
        tuple(map(sum, zip(*(next_token_loss(model, b.ids, b.targets, b.documents) for b in alone), strict=True)))
    )
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss, _ in found]
    assert found[0][1] == found[1][1] == sum(sum(mask) for _, mask in talks)
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-6)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
