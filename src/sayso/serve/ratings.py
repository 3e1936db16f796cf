"""The route for ratings: stores thumbs, edits and choices, and returns the rated turn."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from sayso.feedback.store import Rating, Store
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


AnyRating = Annotated[ThumbBody | EditBody | ChoiceBody, Field(discriminator="kind")]


def rating_routes(store: Store) -> APIRouter:
    """Return the route for a store."""
    router = APIRouter(prefix="/api")

    @router.post("/ratings", status_code=201)
    def rate(rating: AnyRating) -> dict[str, Any]:
        given = _keep(store, rating)
        turn = turns_of(store, [store.message(given.message_id)])[0]
        return {"id": given.id, "turn": turn, "ratings": store.count_ratings()}

    return router


def _keep(store: Store, rating: ThumbBody | EditBody | ChoiceBody) -> Rating:
    if isinstance(rating, ThumbBody):
        return store.thumb(rating.message_id, rating.value, rating.comment)
    if isinstance(rating, EditBody):
        return store.edit(rating.message_id, rating.text, rating.comment)
    own = rating.model_dump(include={"better", "position", "comment"})
    return store.choose(rating.chosen_id, rating.rejected_id, **own)
