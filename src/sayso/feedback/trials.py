"""Models on trial in a store: canaries, which answer a share of the conversations, and shadows, which answer unseen."""

import math
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.canary import BEGUN, CanaryLog, CanaryRecord
from sayso.feedback.store import Store
from sayso.feedback.tables import aliases, canary, candidates, measures
from sayso.judge.statistics.estimate import Estimate, of_sums
from sayso.judge.statistics.significance import matched_rates

COMPARED = ("tokens", "refused", "repeated", "first_seconds", "token_seconds")
"""Measures in which a shadow is compared with the replies that were shown."""


@dataclass(frozen=True)
class CanaryTrial:
    """A canary and what it has seen."""

    candidate: Assignment
    runs: bool
    """Whether its alias still names it."""
    since: str
    """When the comparison began."""
    record: CanaryRecord


@dataclass(frozen=True)
class ShadowTrial:
    """A shadow against the model whose replies were shown."""

    model: str
    shown: str
    n: int
    """Number of prompts that both have answered."""
    differences: dict[str, Estimate]
    """Mean of the shadow's measure minus that of the shown reply to the same prompt."""


def canary_trials(store: Store, limit: int) -> list[CanaryTrial]:
    """Return the canaries that began last, newest first."""
    begun = sql.select(sql.func.max(canary.c.id).label("id")).where(canary.c.arm == BEGUN)
    begun = begun.group_by(canary.c.assignment_id).order_by(sql.desc("id")).limit(limit)
    query = sql.select(canary.c.created_at.label("begun"), aliases).join_from(canary, aliases)
    query = query.where(canary.c.id.in_(sql.select(begun.subquery().c.id))).order_by(canary.c.id.desc())
    with store.engine.begin() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    found = list[CanaryTrial]()
    for row in rows:
        since, entry = row.pop("begun"), Assignment(**row)
        current, record = Aliases(store).current(entry.alias), CanaryLog(store, entry).read()
        if record is not None:
            found.append(CanaryTrial(entry, current is not None and current.id == entry.id, since, record))
    return found


def shadow_trials(store: Store, start: int, end: int) -> list[ShadowTrial]:
    """Return what shadows have answered in the hours from `start` to before `end`, by both models."""
    hidden, shown = measures.alias("hidden"), measures.alias("shown")
    own, other = candidates.alias("own"), candidates.alias("other")
    joined = (
        hidden.join(own, sql.and_(own.c.message_id == hidden.c.message_id, own.c.purpose == "shadow"))
        .join(other, sql.and_(other.c.set_id == own.c.set_id, other.c.message_id != own.c.message_id))
        .join(shown, sql.and_(shown.c.message_id == other.c.message_id, shown.c.shown == 1))
    )
    columns: list[Any] = [sql.func.count().label("n")]
    for name in COMPARED:
        one = hidden.c[name] - shown.c[name]
        parts = {"n": sql.func.count(one), "total": sql.func.sum(one), "squares": sql.func.sum(one * one)}
        columns += [part.label(f"{name} {kind}") for kind, part in parts.items()]
    key = (hidden.c.model.label("model"), shown.c.model.label("other"))
    query = sql.select(*key, *columns).select_from(joined)
    query = query.where(hidden.c.shown == 0, hidden.c.hour >= start, hidden.c.hour < end).group_by(*key)
    with store.engine.begin() as connection:
        rows = connection.execute(query.order_by(*key)).mappings().all()
    return [
        ShadowTrial(row["model"], row["other"], row["n"], {one: _mean(row, one) for one in COMPARED}) for row in rows
    ]


def _mean(row: sql.RowMapping, name: str) -> Estimate:
    n, total, squares = (row[f"{name} {kind}"] or 0 for kind in ("n", "total", "squares"))
    if name == "refused" and n:
        return matched_rates((squares + total) // 2, (squares - total) // 2, n)
    most = 1.0 if name == "repeated" else math.inf
    return of_sums(n, total, squares, -most, most)
