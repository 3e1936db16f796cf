"""One request's settings resolved for a vocabulary: computed at its first token and stored with it.

Ids are checked against the vocabulary here, once, so that the edits of each token need not check them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.sample.history import History
from sayso.sample.sampling import Sampling


@dataclass(frozen=True)
class Rules:
    """One request's settings in the form in which they are applied; tensors are on the CPU."""

    bias_ids: Tensor
    """Int64 [n], ids with a bias on their logits."""
    bias: Tensor
    """Float32 [n], the biases."""
    allowed: Tensor
    """Int64 [n], the only allowed ids; empty = all."""
    stop_ids: Tensor
    """Int64 [n], the stop ids within the vocabulary."""
    history: History | None
    """Token counts for the penalties; None if all penalties are off."""


def make_rules(sampling: Sampling, prompt: Sequence[int], stop_ids: frozenset[int], vocabulary: int) -> Rules:
    """Return the rules of a request. Raises `UserError` for an id beyond the vocabulary."""
    bias_ids = [token for token, _ in sampling.logit_bias]
    _check_known("logit_bias", bias_ids, vocabulary)
    _check_known("allowed_ids", sampling.allowed_ids, vocabulary)
    _check_known("banned", [token for sequence in sampling.banned for token in sequence], vocabulary)
    repetition = sampling.repetition_penalty != 1
    counted = repetition or sampling.presence_penalty or sampling.frequency_penalty or sampling.dry_multiplier
    return Rules(
        bias_ids=_ids(bias_ids),
        bias=torch.tensor([bias for _, bias in sampling.logit_bias], dtype=torch.float32),
        allowed=_ids(dict.fromkeys(sampling.allowed_ids)),
        stop_ids=_ids(token for token in stop_ids if token < vocabulary),
        history=History(prompt, prompt_counts=repetition) if counted else None,
    )


def _ids(ids: Iterable[int]) -> Tensor:
    return torch.tensor(list(ids), dtype=torch.long)


def _check_known(name: str, ids: Iterable[int], vocabulary: int) -> None:
    for token in ids:
        if token >= vocabulary:
            raise UserError(f"{name} must have ids below the vocabulary size of {vocabulary}; got {token}.")
