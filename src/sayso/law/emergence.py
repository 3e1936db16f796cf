"""One model, scored by a smooth metric and by all-or-nothing ones (Schaeffer et al. 2023).

Takes a model and held-out text; returns the nats per token, whose negative exponential is a probability per token, and
how often the likeliest tokens are right k times in a row. If a token is right with probability p, k in a row are right
with about p^k: a smooth rise of p with compute looks like a sudden one of p^k.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sayso.base.errors import UserError
from sayso.batch.by_length import by_length
from sayso.judge.bits import ScoredWindow, text_windows, window_logits
from sayso.judge.statistics.estimate import Estimate, ratio
from sayso.model import Transformer
from sayso.token.tokenizer import BOS, Tokenizer

LENGTHS = (1, 2, 4, 8)
"""Tokens that must be right in a row."""
POSITIONS = 1 << 13  # of a batch, at most
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """The scores of one model on one text."""

    nats: Estimate
    """Per token, the smooth metric; its interval treats documents as the sampled unit."""
    tokens: int
    in_a_row: Mapping[int, float]
    """Share of all runs of k tokens in which each token was the likeliest, by k; NaN where no text is that long."""

    @property
    def probability(self) -> float:
        """The geometric mean of the probability of the right token."""
        return math.exp(-self.nats.mean)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with null for NaN."""
        rows = {str(k): None if value != value else value for k, value in self.in_a_row.items()}
        return {**asdict(self), "nats": self.nats.as_dict(), "in_a_row": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Scores":
        """Return the scores of a dict from `as_dict`."""
        rows = {int(k): math.nan if value is None else value for k, value in data["in_a_row"].items()}
        return cls(Estimate.from_dict(data["nats"]), data["tokens"], rows)


def score(model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], lengths: Sequence[int] = LENGTHS) -> Scores:
    """Return the scores of a model on texts, read in windows of its context, one after the other.

    A token counts as right if it is the likeliest one after the text before it; k right tokens in a row are what greedy
    decoding would have written. Raises `UserError` if there is no token to predict.
    """
    bos, context = tokenizer.specials[BOS], model.config.context
    documents = tokenizer.encode_batch(list(texts))
    windows = [row for n, ids in enumerate(documents) for row in text_windows(n, ids, bos, context, context)]
    if not windows:
        raise UserError("The texts to score have no tokens.")
    nats = np.zeros(len(documents))
    right: list[Bools] = []
    for batch in by_length([len(one.inputs) for one in windows], POSITIONS):
        rows = [windows[index] for index in batch]
        for row, (lost, hit) in zip(rows, _read(model, rows), strict=True):
            nats[row.document] += lost
            right.append(hit)
    sizes = [len(ids) for ids in documents]
    return Scores(ratio(nats, sizes), sum(sizes), {k: in_a_row(right, k) for k in lengths})


@torch.inference_mode()
def _read(model: Transformer, rows: Sequence[ScoredWindow]) -> list[tuple[float, Bools]]:
    """Return the nats of each window, and which of its tokens were the likeliest, [counted]."""
    nats, hits = [], []
    for logits, targets in window_logits(model, rows):
        nats.append(F.cross_entropy(logits, targets, reduction="none").double().cpu())
        hits.append((logits.argmax(-1) == targets).cpu())
    counts = [row.counted for row in rows]
    parts = zip(torch.cat(nats).split(counts), torch.cat(hits).split(counts), strict=True)
    return [(float(lost.sum()), hit.numpy()) for lost, hit in parts]


def in_a_row(right: Sequence[Bools], length: int) -> float:
    """Return the share of all runs of `length` neighbors within a row that are all right; NaN if there are none.

    `right` is a sequence of rows [T]. Raises `UserError` for a length below 1.
    """
    if length < 1:
        raise UserError(f"At least 1 token must be right in a row; got {length}.")
    rows = [np.lib.stride_tricks.sliding_window_view(row, length).all(1) for row in right if len(row) >= length]
    return float(np.concatenate(rows).mean()) if rows else math.nan


def independent(share: float, length: int) -> float:
    """Return how often `length` tokens in a row would be right if each were with probability `share`, by itself."""
    return share**length
