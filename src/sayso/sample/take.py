"""Logits to output tokens: for each row one is picked and appended, or the reply ends."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from sayso.sample.edits import NothingLeftError
from sayso.sample.pick import pick
from sayso.sample.request import Request
from sayso.sample.row import Row


class ActiveRow(NamedTuple):
    """A row that gets a token in this pass: its proposals, and the position of its first logits."""

    row: Row
    proposed: Sequence[int]
    first: int

    @property
    def goes_on(self) -> bool:
        """Whether its reply has not ended."""
        return not self.row.request.finish


def take(speaking: list[ActiveRow], ahead: int, logits: Tensor) -> list[tuple[ActiveRow, int]]:
    """Pick and append a token for each row, at the logits `ahead` of its first; return the picks.

    If no token is possible for a row, only this row ends with an error.
    """
    while speaking:
        mine = logits if len(speaking) == len(logits) else logits[[one.first + ahead for one in speaking]]
        try:
            picked = pick(mine, [one.row.request for one in speaking])
        except NothingLeftError as error:
            fail(error.request, str(error))
            speaking = [one for one in speaking if one.goes_on]
            continue
        news = zip(picked.ids, picked.logprobs, picked.tops, strict=True)
        for one, (token, logprob, likeliest) in zip(speaking, news, strict=True):
            keep(one.row.request, token, logprob, likeliest)
        return list(zip(speaking, picked.ids, strict=True))
    return []


def keep(request: Request, token: int, logprob: float, likeliest: dict[int, float]) -> None:
    """Append a token to a reply, or end it."""
    if math.isnan(logprob):
        fail(request, "A model's logits must be numbers; this model produced NaN: retrain it or reload its weights.")
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


def fail(request: Request, why: str) -> None:
    """End a reply with an error."""
    request.finish, request.error = "error", why
