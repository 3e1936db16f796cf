"""The decision about a canary: whether people are more, or less, content with a candidate than with the current model.

Takes what came of the conversations of both; returns the evidence in both directions and a verdict. The evidence is
that of e-processes, which may be looked at after every outcome (see `statistics/sequential.py`): if both models are
equal, it ever exceeds 1 / alpha in a direction with a probability of at most alpha.

A conversation counts once, with its first rating. Further ratings of it by the same person are not independent of the
first. Nor may a later rating replace it: the bound holds for a process in which what was seen stays as it was seen.
With revised outcomes there would be two values at the same moment, either of which could exceed 1 / alpha. First
ratings that people change later are noise in both arms alike: they delay a decision, but make it no more often wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from sayso.base.errors import UserError
from sayso.judge.statistics.sequential import in_blocks, log_e_higher, log_e_preferred, log_e_shares

ALPHA = 0.05
_LARGEST = 50.0  # log of the largest evidence that is written as a number
State = Literal["better", "worse", "undecided", "mismatch"]
Flags = Sequence[bool]


@dataclass(frozen=True)
class CanaryOutcomes:
    """What came of the conversations of the current model and of the candidate, in the order in which they came."""

    liked: tuple[Flags, Flags]
    """Of each rated conversation, whether its first rating was good."""
    failed: tuple[Flags, Flags]
    """Of each conversation, whether its first request failed in the server."""
    preferred: tuple[int, int] = (0, 0)
    """How often a person preferred a reply of the one to a reply of the other."""


@dataclass(frozen=True)
class CanaryCounts:
    """The counts that the evidence depends on, of both models in complete blocks; or arrays, for many histories."""

    liked: tuple[ArrayLike, ArrayLike]
    rated_blocks: ArrayLike
    failed: tuple[ArrayLike, ArrayLike]
    all_blocks: ArrayLike
    preferred: tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class CanaryVerdict:
    """What a canary has shown so far."""

    state: State
    """mismatch: the conversations are not divided as they should be, so that something is wrong with the comparison."""
    log_better: float
    """Log of the evidence that the candidate is better, and in the next ones, that it is worse, and of a mismatch."""
    log_worse: float
    log_mismatch: float
    said: str
    """The reason, as a sentence."""


def block_of(share: float) -> tuple[int, int]:
    """Return how many conversations of the current model and of the candidate make a block.

    Raises `UserError` unless 0 < share < 1.
    """
    if not 0 < share < 1:
        raise UserError(f"The share of a canary must be above 0 and below 1; got {share}.")
    ratio = (1 - share) / share
    return (round(ratio), 1) if ratio >= 1 else (1, round(1 / ratio))


def log_evidence(counts: CanaryCounts, block: tuple[int, int]) -> tuple[Any, Any]:
    """Return the logs of the evidence that the candidate is better, and that it is worse.

    Each is the mean of the evidence of several kinds, which again has an expected value of at most 1 if it is not.
    Failures count only against a candidate: a model is not better because the other one's server failed.
    """
    turned = block[::-1]
    (current, candidate), rated = counts.liked, counts.rated_blocks
    won = counts.preferred[::-1]
    better = [log_e_higher(current, candidate, rated, block=block), log_e_preferred(*won)]
    worse = [log_e_higher(candidate, current, rated, block=turned), log_e_preferred(*counts.preferred)]
    worse.append(log_e_higher(*counts.failed, counts.all_blocks, block=block))
    return _mean(better), _mean(worse)


def judge_canary(outcomes: CanaryOutcomes, share: float, alpha: float = ALPHA) -> CanaryVerdict:
    """Return what the conversations of both models show, of which `share` should be the candidate's."""
    block, limit = block_of(share), math.log(1 / alpha)
    current, candidate, rated = in_blocks(*outcomes.liked, block)
    *failed, every = in_blocks(*outcomes.failed, block)
    counts = CanaryCounts((current, candidate), rated, (failed[0], failed[1]), every, outcomes.preferred)
    better, worse = map(float, log_evidence(counts, block))
    assigned = [len(one) for one in outcomes.failed]
    divided = float(log_e_shares(assigned, [1 - share, share]))
    state: State = "undecided"
    if worse > limit:
        state = "worse"
    elif divided > limit:
        state = "mismatch"
    elif better > limit:
        state = "better"
    return CanaryVerdict(state, better, worse, divided, _said(outcomes, share, state, better, worse, divided))


def _said(outcomes: CanaryOutcomes, share: float, state: State, better: float, worse: float, divided: float) -> str:
    assigned = [len(one) for one in outcomes.failed]
    if state == "mismatch":
        return (
            f"{assigned[1]} of {sum(assigned)} conversations went to the candidate, which is not a share of {share:g} "
            f"(evidence {_odds(divided)}); something keeps them from one of the models."
        )
    liked = [f"{sum(one)} of {len(one)}" for one in outcomes.liked]
    text = f"{liked[1]} rated conversations of the candidate were liked, and {liked[0]} of the current model"
    if any(outcomes.preferred):
        text += (
            f"; its replies were preferred {outcomes.preferred[1]} times, the current model's {outcomes.preferred[0]}"
        )
    if any(map(any, outcomes.failed)):
        failed = [f"{sum(one)} of {len(one)}" for one in outcomes.failed]
        text += f"; {failed[1]} conversations failed, and {failed[0]} of the current model"
    return f"{text} (evidence that it is better {_odds(better)}, that it is worse {_odds(worse)})."


def _odds(log: float) -> str:
    return f"{math.exp(log):.3g}:1" if log < _LARGEST else f"above {math.exp(_LARGEST):.0e}:1"


def _mean(logs: Sequence[Any]) -> Any:
    """Return the log of the mean of several kinds of evidence whose logs are given."""
    return np.logaddexp.reduce(np.stack(np.broadcast_arrays(*logs))) - math.log(len(logs))
