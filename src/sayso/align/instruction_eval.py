"""Held-out conversations of a fine-tuning, by which the best weights are selected.

Feedback has held-out conversations of its own, whose loss counts as much as feedback does in training. Otherwise a
model that learns what people corrected would only seem to become worse, and the initial weights would be kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import hypot, isnan
from typing import Any

from sayso.align.replay import Replay
from sayso.batch.chat import MaskedIds
from sayso.judge.replies import reply_loss
from sayso.judge.samples import Samples
from sayso.train.loop import State
from sayso.train.step_log import Evaluation

_JUDGEMENTS = 6  # evaluations during a run, after an initial one
_JUDGED = 0.15  # tokens of all evaluations relative to training tokens; takes a twentieth of the time


@dataclass(frozen=True)
class Judged:
    """What is evaluated on: conversations like most that are trained on, and such of feedback."""

    others: Sequence[MaskedIds]
    feedback: Sequence[MaskedIds]
    share: float
    """Share of feedback among the conversations that are trained on."""

    @property
    def count(self) -> int:
        """Number of conversations."""
        return len(self.others) + len(self.feedback)

    def within(self, trained: int, *, limited: bool) -> "Judged":
        """Return those to evaluate on in a run on `trained` tokens: all or, if `limited`, as many as time allows."""
        if not limited:
            return self
        room = _JUDGED * trained / (_JUDGEMENTS + 1) / (2 if self.others and self.feedback else 1)
        return Judged(_first(self.others, room), _first(self.feedback, room), self.share)

    def figures(self, state: State, row_tokens: int) -> dict[str, Any]:
        """Return the loss in nats per trained token, `held_out_loss`, and its standard error, `se`."""
        kinds = {"prepared_loss": (self.others, 1 - self.share), "feedback_loss": (self.feedback, self.share)}
        found = {
            name: (reply_loss(state.model, held, row_tokens), weight) for name, (held, weight) in kinds.items() if held
        }
        if len(found) < 2:
            ((one, _),) = found.values()
            return _rounded(one.mean, one.se)
        mean = sum(weight * one.mean for one, weight in found.values())
        parts = {name: round(one.mean, 5) for name, (one, _) in found.items()}
        return {**_rounded(mean, hypot(*(weight * one.se for one, weight in found.values()))), **parts}

    def evaluation(self, row_tokens: int, steps: int, samples: Samples, replay: Replay) -> Evaluation | None:
        """Return the evaluation, on held-out documents too, which also samples replies; None without conversations."""
        every = max(1, steps // _JUDGEMENTS)

        def judge(state: State) -> dict[str, Any]:
            if state.step == every * (_JUDGEMENTS // 2):
                samples.take(state.model, state.step)
            return {**self.figures(state, row_tokens), **replay.forgetting(state.model)}

        return Evaluation(judge, every, "-held_out_loss") if self.others or self.feedback else None


def _first(held: Sequence[MaskedIds], tokens: float) -> Sequence[MaskedIds]:
    """Return as many as have that many tokens together, but at least one."""
    fitting = sum(total <= tokens for total in accumulate(len(ids) for ids, _ in held))
    return held[: max(1, fitting)]


def _rounded(mean: float, se: float) -> dict[str, Any]:
    return {"held_out_loss": round(mean, 5), "se": None if isnan(se) else round(se, 5)}
