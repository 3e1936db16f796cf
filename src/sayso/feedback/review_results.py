"""What came of the queue: takes a store, returns counts, results of models, agreement, and every review as a row."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sql

from sayso.feedback.guidelines import latest_guidelines
from sayso.feedback.open_items import RECENT, counted, recent_results, unfinished
from sayso.feedback.prompts import chain, prompt_of
from sayso.feedback.store import Store
from sayso.feedback.tables import messages, queue, ratings, reviews
from sayso.judge.statistics.alpha import alpha
from sayso.judge.statistics.estimate import Estimate, wilson
from sayso.text.ngrams import hash64

_AT_ONCE = 200
_CHECKED = {1: "accepted", 0: "corrected", -1: "rejected", None: "open"}


def queue_counts(store: Store) -> list[dict[str, Any]]:
    """Return the number of pairs and prompts by origin, and how many of them are finished, largest first."""
    with store.engine.begin() as connection:
        votes = counted()
        needed = latest_guidelines(connection).reviews
        written = sql.select(reviews.c.id).where(
            reviews.c.queue_id == queue.c.id, reviews.c.act == "check", reviews.c.value >= 0
        )
        ended = ((queue.c.kind == "pair") & ~unfinished(votes, needed)) | (
            (queue.c.kind == "write") & sql.exists(written)
        )
        query = sql.select(queue.c.origin, queue.c.kind, sql.func.count(), sql.func.count(sql.case((ended, 1))))
        query = query.select_from(queue.outerjoin(votes, votes.c.queue_id == queue.c.id))
        query = query.group_by(queue.c.origin, queue.c.kind).order_by(sql.func.count().desc(), queue.c.origin)
        names = ("origin", "kind", "items", "finished")
        return [dict(zip(names, row, strict=True)) for row in connection.execute(query)]


def people(store: Store) -> list[dict[str, Any]]:
    """Return who has compared, written and checked how much, the most active first."""
    query = sql.select(reviews.c.annotator, reviews.c.act, sql.func.count()).where(reviews.c.state == "done")
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"compare": 0, "write": 0, "check": 0})
    with store.engine.begin() as connection:
        for annotator, act, count in connection.execute(query.group_by(reviews.c.annotator, reviews.c.act)):
            found[annotator][act] = count
    rows = [{"annotator": who, **acts} for who, acts in found.items()]
    return sorted(rows, key=lambda row: (-row["compare"] - row["write"] - row["check"], row["annotator"]))


def model_results(store: Store) -> list[dict[str, Any]]:
    """Return the last comparisons of each two models: wins of the first, ties, losses; rate of wins with interval.

    A tie is half a win. Both replies of one model are not compared.
    """
    with store.engine.begin() as connection:
        found = {models: votes for models, votes in recent_results(connection).items() if models[0] != models[1]}
    rows = []
    for (first, second), (wins, ties, losses) in sorted(found.items(), key=lambda one: -sum(one[1])):
        n = wins + ties + losses
        rate = (wins + ties / 2) / n
        low, high = wilson(rate, n)
        row = {"first": first, "second": second, "wins": wins, "ties": ties, "losses": losses}
        rows.append(row | {"rate": rate, "low": low, "high": high})
    return rows


def agreement(store: Store) -> Estimate:
    """Return Krippendorff's alpha of the last comparisons, with a tie halfway between the two replies.

    Which reply is the first in a pair is drawn by its number, because the later one is often by the same model.
    """
    query = sql.select(reviews.c.queue_id, reviews.c.value).where(reviews.c.act == "compare", reviews.c.state == "done")
    found: dict[int, list[float]] = defaultdict(list)
    with store.engine.begin() as connection:
        for pair, value in connection.execute(query.order_by(reviews.c.id.desc()).limit(RECENT)):
            found[pair].append(float(value if hash64(str(pair)) % 2 else -value))
    return alpha([found[pair] for pair in sorted(found)], np.random.default_rng(0))


def review_rows(store: Store) -> Iterator[dict[str, Any]]:
    """Yield every finished comparison, and every written reply with what its check said, oldest first."""
    last = 0
    while True:
        query = sql.select(reviews, queue.c.origin).join(queue, queue.c.id == reviews.c.queue_id)
        query = query.where(reviews.c.id > last, reviews.c.state == "done", reviews.c.act != "check")
        with store.engine.begin() as connection:
            found = connection.execute(query.order_by(reviews.c.id).limit(_AT_ONCE)).mappings().all()
            rows = [_row(connection, one) for one in found]
        yield from rows
        if not found:
            return
        last = found[-1]["id"]


def _row(connection: sql.Connection, review: sql.RowMapping) -> dict[str, Any]:
    common = {
        "item": review["queue_id"],
        "list": review["origin"],
        "annotator": review["annotator"],
        "at": review["at"],
    }
    if review["act"] == "compare":
        return {"kind": "comparison", **common, **_comparison(connection, review)}
    return {"kind": "instruction", **common, **_instruction(connection, review)}


def _comparison(connection: sql.Connection, review: sql.RowMapping) -> dict[str, Any]:
    query = ratings.select().where(ratings.c.id == review["rating_id"])
    choice = connection.execute(query).mappings().one_or_none()
    if choice is None:  # the rating was removed with what its annotator said
        return {"verdict": "removed"}
    ids = (choice["message_id"], choice["rejected_id"])
    chosen, rejected = (_message(connection, one) for one in ids)
    query = sql.select(ratings.c.message_id, ratings.c.text).where(ratings.c.kind == "tag", ratings.c.value == 1)
    query = query.where(ratings.c.message_id.in_(ids), ratings.c.annotator == review["annotator"])
    tags = [(message, text) for message, text in connection.execute(query.order_by(ratings.c.id))]
    return {
        "prompt": prompt_of(chain(connection, chosen["prompt_id"]), chosen),
        "verdict": "better" if choice["value"] else "tie",
        "chosen": chosen["content"],
        "rejected": rejected["content"],
        "chosen_model": chosen["model"],
        "rejected_model": rejected["model"],
        "chosen_side": choice["position"],
        "chosen_tags": [text for message, text in tags if message == ids[0]],
        "rejected_tags": [text for message, text in tags if message == ids[1]],
        "reasons": (choice["text"] or "").splitlines(),
        "comment": choice["comment"],
    }


def _instruction(connection: sql.Connection, review: sql.RowMapping) -> dict[str, Any]:
    written = _message(connection, review["message_id"])
    query = reviews.select().where(reviews.c.message_id == review["message_id"], reviews.c.act == "check")
    query = query.where(reviews.c.state == "done").order_by(reviews.c.id.desc()).limit(1)
    check = connection.execute(query).mappings().one_or_none()
    given = None
    if check is not None:
        given = connection.execute(ratings.select().where(ratings.c.id == check["rating_id"])).mappings().one_or_none()
    corrected = given["text"] if given is not None and given["kind"] == "edit" else None
    return {
        "prompt": prompt_of(chain(connection, written["prompt_id"]), written),
        "reply": corrected or written["content"],
        "written": written["content"],
        "verdict": _CHECKED[check["value"] if check else None],
        "checked_by": check["annotator"] if check else None,
        "comment": given["comment"] if given is not None else None,
    }


def _message(connection: sql.Connection, message_id: int) -> sql.RowMapping:
    return connection.execute(messages.select().where(messages.c.id == message_id)).mappings().one()
