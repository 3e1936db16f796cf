"""Groups rows of similar length into batches, to reduce padding."""

from collections.abc import Iterator, Sequence


def by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield batches of indices, shortest rows first, each of one row or of at most `tokens` positions with padding."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[index] * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
