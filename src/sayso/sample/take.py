"""Logits to output tokens: pick one for each row and append it, or end the reply."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from sayso.base.errors import BrokenModelError, UserError
from sayso.sample.edits import NothingLeftError
from sayso.sample.pick import pick
from sayso.sample.request import Request
from sayso.sample.row import Row


class ActiveRow(NamedTuple):
    """A row that gets a token in this pass, its proposals, and the index of its first logits."""

    row: Row
    proposed: Sequence[int]
    first: int

    @property
    def unfinished(self) -> bool:
        """Whether its reply has not ended."""
        return not self.row.request.finish


def take(active: list[ActiveRow], ahead: int, logits: Tensor) -> list[tuple[ActiveRow, int]]:
    """Pick and append a token for each row, `ahead` positions after its first logits; return the picks.

    If no token is possible for a row, only this row ends with an error.
    """
    while active:
        own = logits if len(active) == len(logits) else logits[[one.first + ahead for one in active]]
        try:
            picked = pick(own, [one.row.request for one in active])
        except NothingLeftError as error:
            fail(error.request, error)
            active = [one for one in active if one.unfinished]
            continue
        new = zip(picked.ids, picked.logprobs, picked.tops, strict=True)
        for one, (token, logprob, likeliest) in zip(active, new, strict=True):
            keep(one.row.request, token, logprob, likeliest)
        return list(zip(active, picked.ids, strict=True))
    return []


def keep(request: Request, token: int, logprob: float, likeliest: dict[int, float]) -> None:
    """Append a token to a reply, or end it."""
    if math.isnan(logprob):
        text = "A model's logits must be numbers; this model produced NaN: retrain it or reload its weights."
        fail(request, BrokenModelError(text))
        return
    if token in request.stop_ids:
        request.finish, request.ended_by, request.ended_logprob = "stop", token, logprob
        return
    if request.constraint is not None:
        request.constraint.accept(token)
    request.ids.append(token)
    request.logprobs.append(logprob)
    request.tops.append(likeliest)
    if request.watch is not None and request.watch(token):
        request.finish = "stop"
    elif len(request.ids) == request.room:
        request.finish = "length"


def fail(request: Request, error: UserError) -> None:
    """End a reply with an error."""
    request.finish, request.error = "error", error
