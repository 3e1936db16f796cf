"""Splitting a batch of any kind: every item is in exactly one part, and parts are never empty."""

from collections.abc import Callable

import pytest
import torch

from sayso.batch.batch import IGNORED, PADDING, Batch
from sayso.batch.judged import Comparison, JudgedBatch, JudgedPrompt, collate
from sayso.batch.mixed import MixedBatch
from sayso.batch.pairs import PairBatch, PairBatches
from sayso.batch.ratings import RatingBatch, RatingBatches
from sayso.batch.rollouts import NUMBERS, RolloutBatch, RolloutRow, rollout_batch

PAIRS = [([1, 2, 3], [4, 5], [6]), ([7], [8, 9, 10, 11], [12]), ([13, 14], [15], [16, 17, 18])]
RATINGS = [([1, 2], [3], True), ([4], [5, 6], False), ([7], [8], True)]
JUDGED = [
    JudgedPrompt([1, 2], [[3], [4, 5], [6]], [Comparison(0, 1, 0.5), Comparison(2, 0, tie=True)]),
    JudgedPrompt([7], [[8], [9] * 20], ratings=[1.0, None]),
    JudgedPrompt([10], [[11], [12]], [Comparison(1, 0)]),
]
LENGTHS = (3, 20, 1)


def text() -> Batch:
    """Three rows."""
    ids = torch.arange(12).view(3, 4)
    return Batch(ids, ids + 1, torch.zeros(3, 4, dtype=torch.int32))


def rollouts() -> RolloutBatch:
    """Three replies of different lengths; the values of each token are its id."""
    rows = []
    for number, length in enumerate(LENGTHS):
        ids = [10 * number + 1] * length
        rows.append(RolloutRow([5, 5], ids, [True] * length, **{name: [float(ids[0])] * length for name in NUMBERS}))
    return rollout_batch(rows)


def documents(rows: int) -> Batch:
    """Rows of documents."""
    ids = torch.arange(8 * rows).view(rows, 8)
    return Batch(ids, ids + 1, torch.zeros(rows, 8, dtype=torch.int32))


MAKERS: dict[str, Callable[[], Batch]] = {
    "text": text,
    "pairs": lambda: PairBatches(PAIRS, 3, 64, 0).batch(0),
    "ratings": lambda: RatingBatches(RATINGS, 3, 64, 0).batch(0),
    "judged": lambda: collate(JUDGED),
    "rollouts": rollouts,
    "mixed": lambda: MixedBatch.of(text(), documents(2), 0.5),
    "mixed pairs": lambda: MixedBatch.of(PairBatches(PAIRS, 3, 64, 0).batch(0), documents(8), 0.5),
}


def rows_of(batch: Batch) -> list[tuple[list[int], list[int]]]:
    """Return ids and targets of each document, without padding, sorted."""
    found = []
    for ids, targets, documents in zip(batch.ids, batch.targets, batch.documents, strict=True):
        for number in documents[documents != PADDING].unique():
            here = documents == number
            found.append((ids[here].tolist(), targets[here].tolist()))
    return sorted(found)


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 99])
@pytest.mark.parametrize("name", MAKERS)
def test_every_item_is_in_one_part(name: str, parts: int) -> None:
    """There are at most as many parts as items; each has the type of the batch, and items are spread evenly."""
    batch = MAKERS[name]()
    split = batch.split(parts)
    assert batch.items == 3
    assert [type(part) for part in split] == [type(batch)] * min(parts, 3)
    sizes = [part.items for part in split]
    assert sum(sizes) == 3
    assert max(sizes) - min(sizes) <= 1
    assert sorted(row for part in split for row in rows_of(part)) == rows_of(batch)
    assert sum(part.trained for part in split) == batch.trained


@pytest.mark.parametrize("parts", [1, 2, 8])
@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_parts_of_two_streams_have_all_rows_of_the_second(rows: int, parts: int) -> None:
    """Also if it has more or fewer rows than the first has items; the factor stays that of the batch."""
    split = MixedBatch.of(PairBatches(PAIRS, 3, 64, 0).batch(0), documents(rows), 0.5).split(parts)
    assert len(split) == min(parts, 3)
    assert {part.factor for part in split} == {0.5}
    assert sorted(row for part in split for row in rows_of(part.second)) == rows_of(documents(rows))
    assert all(isinstance(part.first, PairBatch) for part in split)


def test_a_pair_is_never_split() -> None:
    """The two rows of a pair are in the same part, the chosen ones first, also in parts of parts."""
    for part in [*MAKERS["pairs"]().split(2), *MAKERS["pairs"]().split(2)[0].split(2)]:
        assert isinstance(part, PairBatch)
        chosen, rejected = part.documents[:, 0].chunk(2)
        assert torch.equal(chosen, rejected)


def test_parts_of_ratings_share_the_mismatched_rows() -> None:
    """Only the rated rows are split."""
    batch = MAKERS["ratings"]()
    assert isinstance(batch, RatingBatch)
    parts = batch.split(2)
    assert all(part.others is batch.others for part in parts)
    assert torch.equal(torch.cat([part.good for part in parts]), batch.good)


def test_parts_of_judged_prompts_number_their_own_replies() -> None:
    """Comparisons and ratings of a part refer to its replies, and weigh as much as in the batch."""
    batch = collate(JUDGED)
    for prompt, part in zip(JUDGED, batch.split(3), strict=True):
        assert isinstance(part, JudgedBatch)
        alone = collate([prompt])
        assert part.judged == [prompt]
        for field in ("places", "pairs", "margins", "ties", "pair_weights", "rating_weights"):
            assert torch.equal(getattr(part, field), getattr(alone, field)), field
    assert sum(float(part.pair_weights.sum()) for part in batch.split(2)) == pytest.approx(2)


def test_parts_of_rollouts_are_only_as_wide_as_needed() -> None:
    """Long and short rows are spread over the parts; values stay at the positions of their targets."""
    batch = rollouts()
    parts = batch.split(3)
    assert [part.ids.shape for part in parts] == [(1, 24), (1, 8), (1, 8)]
    for part in parts:
        trained = part.targets != IGNORED
        for name in NUMBERS:
            assert torch.equal(getattr(part, name)[trained], part.targets[trained].float()), name
            assert not getattr(part, name)[~trained].any()
    assert sorted(int((part.targets != IGNORED).sum()) for part in batch.split(2)) == [3, 21]
