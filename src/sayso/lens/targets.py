"""The logit that a method explains: of a target token, minus that of a contrast, at one position.

B batch, T time, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.base.errors import UserError

Tokens = int | Sequence[int] | Tensor
"""One token for all rows, or one for each row."""


@dataclass(frozen=True)
class LogitDifference:
    """The logit of a target minus that of a contrast: takes logits [B, V], returns [B]."""

    target: Tokens
    """The token, or one for each row."""
    contrast: Tokens | None = None
    """The token to compare it with, or one for each row; None = only the target's logit."""

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the difference of each row."""
        return (logits * self.signs(logits.shape[0], logits.shape[1]).to(logits)).sum(-1)

    def signs(self, batch: int, vocab_size: int) -> Tensor:
        """Return the weight of each logit, [B, V]: 1 for the target, -1 for the contrast, 0 for others."""
        weights = torch.zeros(batch, vocab_size)
        for tokens, sign in ((self.target, 1.0), (self.contrast, -1.0)):
            if tokens is not None:
                weights.scatter_add_(1, _each_row(tokens, batch, vocab_size)[:, None], torch.full((batch, 1), sign))
        return weights


Metric = Callable[[Tensor], Tensor]
"""Function of the logits [B, V] at a position that returns a number, or one for each row, whose mean counts."""


def index_of(position: int, time: int) -> int:
    """Return a position as an index from 0. Raises `UserError` unless it is from -T to T - 1."""
    if not -time <= position < time:
        raise UserError(f"A position must be from {-time} to {time - 1} in a row of {time} ids; got {position}.")
    return position % time


def _each_row(tokens: Tokens, batch: int, vocab_size: int) -> Tensor:
    """Return one token for each row, [B]. Raises `UserError` for another number of tokens, and unknown ones."""
    found = torch.as_tensor(tokens).flatten().to("cpu", torch.long)
    if len(found) not in (1, batch):
        raise UserError(f"Give one target for all rows, or one for each of the {batch}; got {len(found)}.")
    if (bad := found[(found < 0) | (found >= vocab_size)]).numel():
        raise UserError(f"A target must be a token from 0 to {vocab_size - 1:,}; got {bad[0]}.")
    return found.expand(batch)
