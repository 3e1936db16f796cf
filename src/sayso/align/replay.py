"""Replay: documents of pre-training in the batches of a tuning run, so that the model forgets less of them.

A model that is trained on only one kind of text gets worse at others (McCloskey & Cohen 1989); a share of the earlier
text in every batch is the simplest remedy (Scialom et al. 2022; Ouyang et al. 2022, PPO-ptx).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sayso.batch.batch import Batch, HasBatches
from sayso.batch.mixed import with_documents
from sayso.batch.shards import Shards
from sayso.batch.tokens import open_tokens
from sayso.judge.held_out import held_out_bits
from sayso.loss.mixed import MixedLoss
from sayso.loss.term import Term
from sayso.model import Transformer
from sayso.token.load import tokenizer_fingerprint
from sayso.train.tune import Start

_BYTES = 20_000  # bytes of held-out text of each kind, on which forgetting is measured
BatchLoss = Callable[[Transformer, Batch], Term]


@dataclass(frozen=True)
class Replay:
    """The documents that a run replays, if any."""

    share: float
    """Share of the documents in every batch; 0 = none."""
    seed: int
    context: int
    shards: Shards | None = None
    bits: Callable[[Transformer], Mapping[str, float]] | None = None

    @classmethod
    def open(cls, start: Start, share: float, seed: int) -> Self:
        """Open the documents of the life; raise `UserError` if they are needed and missing."""
        context = start.model.config.context
        if not share:
            return cls(share, seed, context)
        life, tokenizer = start.session.life, start.tokenizer
        shards = open_tokens(life, tokenizer, tokenizer_fingerprint(start.parent))
        return cls(share, seed, context, shards, held_out_bits(life.data("text"), tokenizer, _BYTES))

    def batches(self, own: HasBatches, items: Callable[[Batch], int]) -> HasBatches:
        """Return a run's own batches with the documents added; `items` returns the divisor of its own loss."""
        if self.shards is None:
            return own
        return with_documents(own, self.shards, self.share, self.context, self.seed, items)

    def loss(self, own: BatchLoss) -> BatchLoss:
        """Return the loss of these batches, given the run's own loss."""
        return own if self.shards is None else MixedLoss(own, ("own_loss", "replay_loss"))

    def forgetting(self, model: Transformer) -> Mapping[str, Any]:
        """Return the bits per byte on held-out documents, see `held_out_bits`; nothing if none are replayed."""
        return self.bits(model) if self.bits else {}
