"""The routes of the screen Watch: charts over time, drift, models on trial, and the replies behind each number.

Hours are counted since 1970 in UTC. Each request first measures new replies, for half a second
at most; `behind` is how many messages have not been looked at yet.
"""

import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from sayso.base.errors import FieldError
from sayso.feedback.aliases import Aliases
from sayso.feedback.latencies import time_counts
from sayso.feedback.measures import catch_up
from sayso.feedback.said import Side, TalkWords, sample_words
from sayso.feedback.selected import Selection, select_replies
from sayso.feedback.store import Store
from sayso.feedback.tenure import tenures
from sayso.feedback.trends import MEANS, hour_sums
from sayso.feedback.trials import CanaryTrial, canary_trials, shadow_trials
from sayso.judge.canary import judge_canary
from sayso.judge.statistics.drift import drift
from sayso.judge.statistics.estimate import proportion, ratio
from sayso.serve.screens.seen import seen_reply
from sayso.serve.screens.series import Groups, Recorded, Told, only, period_of, series_of, told, totals_of
from sayso.serve.turns import RowId

PATIENCE = 0.5  # seconds to measure replies before a request is answered
PERIODS = 1_000  # most points of a series
WEEK = 168  # hours
MARK = ("created_at", "alias", "model", "kind", "reason")
CANARIES = 5  # the latest ones
_SEED = 20  # of the shuffles
_KIND = re.compile("all|refused|liked|disliked|shadow|signal(:.{1,64})?|flag(:.{1,64})?|" + "|".join(MEANS))

Hour = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Asked(BaseModel):
    """A query that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid")


class SpanQuery(Asked):
    """The hours from `start` to before `end`, of one model or alias if it is given."""

    start: Hour
    end: Hour
    model: Name | None = None
    alias: Name | None = None


class ChartsQuery(SpanQuery):
    """GET /api/watch: `period` is in hours; periods start at midnight in the time zone UTC + `shift` hours."""

    period: Literal["1", "24", "168"] = "24"
    shift: Annotated[int, Field(ge=-14, le=14)] = 0
    by: Literal["all", "model", "alias"] = "all"


class ReplyQuery(SpanQuery):
    """GET /api/watch/replies: those of a kind."""

    kind: Annotated[str, Field(max_length=80)] = "all"
    skip: Annotated[int, Field(ge=0, le=100_000)] = 0
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class DriftQuery(Asked):
    """GET /api/watch/drift: the week before `end` against that before `reference`."""

    end: Hour
    reference: Hour


def watch_routes(store: Store) -> APIRouter:
    """Return the routes over a store."""
    router = APIRouter(prefix="/api/watch")

    @router.get("")
    def charts(asked: Annotated[ChartsQuery, Query()]) -> dict[str, Any]:
        if asked.end <= asked.start or (asked.end - asked.start) / int(asked.period) > PERIODS:
            raise FieldError("end", f"'end' must be after 'start', by at most {PERIODS} periods.")
        behind = catch_up(store, PATIENCE)
        history = Aliases(store).history()
        sums = hour_sums(store, asked.start, asked.end)
        marks = [{name: getattr(one, name) for name in MARK} for one in history[-PERIODS:]]
        named = {"models": {one.model for one in sums if one.model}, "aliases": {one.alias for one in history}}
        held = tenures(history)
        times = time_counts(store, asked.start, asked.end)
        chosen = (held, asked.model, asked.alias)
        mine = Recorded(only(sums, *chosen), only(times, *chosen))
        groups = Groups(asked.by, mine.sums, held)
        return {
            "behind": behind,
            **{kind: sorted(names) for kind, names in named.items()},
            "marks": marks,
            "charts": series_of(mine, groups, period_of(int(asked.period), asked.shift)),
            "totals": totals_of(mine, groups),
        }

    @router.get("/replies")
    def replies(asked: Annotated[ReplyQuery, Query()]) -> dict[str, Any]:
        if not _KIND.fullmatch(asked.kind):
            raise FieldError("kind", f"'kind' must be all, refused, liked, disliked, signal, flag, shadow or one of "
                             f"{', '.join(MEANS)}; got '{asked.kind}'.")  # fmt: skip
        behind = catch_up(store, PATIENCE)
        held = None
        if asked.alias is not None:
            held = [one for one in tenures(Aliases(store).history()) if one.alias == asked.alias]
        which = Selection(start=asked.start, end=asked.end, kind=asked.kind, model=asked.model, tenures=held)
        found = select_replies(store, which, asked.skip, asked.limit + 1)
        return {
            "behind": behind,
            "more": len(found) > asked.limit,
            "replies": [asdict(one) for one in found[: asked.limit]],
        }

    @router.get("/reply")
    def reply(id: RowId) -> dict[str, Any]:  # noqa: A002
        return seen_reply(store, id)

    @router.get("/drift")
    def drifted(asked: Annotated[DriftQuery, Query()]) -> dict[str, Any]:
        return {"behind": catch_up(store, PATIENCE)} | {
            side: _drift(store, asked, side) for side in ("asked", "answered")
        }

    @router.get("/trials")
    def trials(asked: Annotated[SpanQuery, Query()]) -> dict[str, Any]:
        behind = catch_up(store, PATIENCE)
        canaries = [_canary(one) for one in canary_trials(store, CANARIES)]
        shadows = [
            {"model": one.model, "shown": one.shown, "n": one.n}
            | {"differences": {name: told(found) for name, found in one.differences.items()}}
            for one in shadow_trials(store, asked.start, asked.end)
        ]
        return {"behind": behind, "canaries": canaries, "shadows": shadows}

    return router


def _drift(store: Store, asked: DriftQuery, side: Side) -> dict[str, Any]:
    """Compare what was said in two weeks."""
    now, before = (sample_words(store, max(0, end - WEEK), end, side) for end in (asked.end, asked.reference))
    found = drift([one.words for one in now], [one.words for one in before], np.random.default_rng(_SEED))
    lengths = {"now": _length(now), "before": _length(before)}
    return {"talks": {"now": len(now), "before": len(before)}, "words": lengths, "drift": found and asdict(found)}


def _length(talks: list[TalkWords]) -> Told:
    """Return the words of a text; the conversations are the sampled unit."""
    return told(ratio([one.words.total() for one in talks], [one.texts for one in talks]))


def _canary(one: CanaryTrial) -> dict[str, Any]:
    outcomes = one.record.outcomes
    verdict = judge_canary(outcomes, one.record.share)
    arms = [
        {
            "talks": len(failed),
            "liked": told(proportion(sum(liked), len(liked))),
            "failed": told(proportion(sum(failed), len(failed))),
            "preferred": preferred,
        }
        for liked, failed, preferred in zip(outcomes.liked, outcomes.failed, outcomes.preferred, strict=True)
    ]
    return {
        "alias": one.candidate.alias,
        "model": one.candidate.model,
        "runs": one.runs,
        "since": one.since,
        "share": one.record.share,
        "current": arms[0],
        "candidate": arms[1],
        "state": verdict.state,
        "said": verdict.said,
    }
