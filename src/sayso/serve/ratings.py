"""The routes for ratings, signals and sets of replies that are compared.

A rating (thumb, points, edit, choice, tag, comment) returns the rated turn.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from sayso.feedback.candidates import MOST_SHOWN, Candidates
from sayso.feedback.ratings import MOST_POINTS, Rater, Rating
from sayso.feedback.store import Store
from sayso.serve.canary import Canary
from sayso.serve.recording import key_name
from sayso.serve.turns import Body, BodyText, RowId, turns_of

Comment = Annotated[str, Field(max_length=2000)]


class ThumbBody(Body):
    """A reply is good (1), bad (-1), or unrated (0)."""

    kind: Literal["thumb"]
    message_id: RowId
    value: Annotated[int, Field(ge=-1, le=1)]
    comment: Comment | None = None


class EditBody(Body):
    """A correction of a reply."""

    kind: Literal["edit"]
    message_id: RowId
    text: BodyText
    comment: Comment | None = None


class ChoiceBody(Body):
    """Which of two replies is better; with `better` false neither is, and the chosen one is only kept."""

    kind: Literal["choice"]
    chosen_id: RowId
    rejected_id: RowId
    better: bool = True
    position: Literal["left", "right"] | None = None
    comment: Comment | None = None


class PointsBody(Body):
    """A reply is worth 1 to 10 points, or its points are removed (0)."""

    kind: Literal["rating"]
    message_id: RowId
    value: Annotated[int, Field(ge=0, le=MOST_POINTS)]
    comment: Comment | None = None


class TagBody(Body):
    """A reply has a tag, or has it no more."""

    kind: Literal["tag"]
    message_id: RowId
    name: Annotated[str, Field(min_length=1, max_length=100)]
    present: bool = True


class CommentBody(Body):
    """A comment on a reply."""

    kind: Literal["comment"]
    message_id: RowId
    text: Annotated[str, Field(min_length=1, max_length=2000)]


AnyRating = Annotated[
    ThumbBody | PointsBody | EditBody | ChoiceBody | TagBody | CommentBody, Field(discriminator="kind")
]


class SignalBody(Body):
    """POST /api/signals: the text of a reply was copied."""

    kind: Literal["copied"]
    message_id: RowId


class ComparisonBody(Body):
    """POST /api/comparisons: replies to one message were shown side by side, from left to right."""

    replies: Annotated[list[RowId], Field(min_length=2, max_length=MOST_SHOWN)]


def rating_routes(store: Store, canary_now: Callable[[], Canary | None]) -> APIRouter:
    """Return the routes for a store; the canary of the moment, if there is one, learns of the ratings."""
    router = APIRouter(prefix="/api")

    @router.post("/ratings", status_code=201)
    def rate(rating: AnyRating, request: Request) -> dict[str, Any]:
        given, canary = _keep(store, rating, Rater(key_name(request))), canary_now()
        reply = store.message(given.message_id)
        if canary is not None:
            canary.rated(given, reply, store.message(given.rejected_id) if given.rejected_id else None)
        turn = turns_of(store, [reply])[0]
        return {"id": given.id, "turn": turn, "ratings": store.count_ratings()}

    @router.post("/signals", status_code=204)
    def note(signal: SignalBody) -> None:
        store.note(signal.message_id, signal.kind)

    @router.post("/comparisons", status_code=204)
    def compare(shown: ComparisonBody) -> None:
        Candidates(store).show(shown.replies)

    return router


def _keep(store: Store, rating: AnyRating, by: Rater) -> Rating:
    match rating:
        case ThumbBody():
            return store.thumb(rating.message_id, rating.value, rating.comment, by)
        case PointsBody():
            return store.points(rating.message_id, rating.value, rating.comment, by)
        case EditBody():
            return store.edit(rating.message_id, rating.text, rating.comment, by)
        case TagBody():
            return store.tag(rating.message_id, rating.name, rating.present, by)
        case CommentBody():
            return store.comment(rating.message_id, rating.text, by)
    own = rating.model_dump(include={"better", "position", "comment"})
    return store.choose(rating.chosen_id, rating.rejected_id, **own, by=by)
