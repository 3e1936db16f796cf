"""The loss of a batch of two streams: the first one's own loss, plus the weighted next-token loss of the second.

    loss = sum of the first + factor * sum of the second

The items are those of the first stream, so that a step divides once, however its batch was split.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sayso.batch.batch import Batch
from sayso.batch.mixed import MixedBatch
from sayso.loss.next_token import next_token_loss
from sayso.loss.term import Term
from sayso.model import Transformer


@dataclass(frozen=True)
class MixedLoss:
    """Loss of mixed batches; `loss` is that of the first stream."""

    loss: Callable[[Transformer, Batch], Term]
    names: tuple[str, str]
    """Names under which each stream's mean loss is logged."""

    def __call__(self, model: Transformer, batch: Batch) -> Term:
        """Return the summed loss of both streams, with each stream's mean among the figures."""
        assert isinstance(batch, MixedBatch)
        first = self.loss(model, batch.first)
        figures = {self.names[0]: _mean(first.loss, first.items), **first.figures}
        if not len(batch.second.ids):
            return first._replace(figures=figures)
        second, count = next_token_loss(model, batch.second.ids, batch.second.targets, batch.second.documents)
        return Term(
            first.loss + batch.factor * second,
            first.items,
            first.seen + batch.second.ids.numel(),
            figures | {self.names[1]: _mean(second, count)},
            (first.items if first.trained is None else first.trained) + count,
        )


def _mean(total: Tensor, count: int) -> Tensor:
    """Return the mean once per item, so that the log's mean over parts counts every item alike."""
    return (total.detach() / count).expand(count)
