"""The routes of the screen Rate: take an item of the queue, say what one thinks of it, undo that, see what came of it.

Replies are shown blind: the models' names are revealed only after a person has chosen.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from sayso.base.errors import FieldError
from sayso.base.jsonl import line_of
from sayso.feedback.guidelines import LONGEST_WORD, MOST_WORDS, read_guidelines
from sayso.feedback.open_items import Act
from sayso.feedback.queue import LONGEST_NAME, fill_queue
from sayso.feedback.review_results import agreement, model_results, people, queue_counts, review_rows
from sayso.feedback.reviews import HOLD, Remarks, Reviews, Task, Verdict
from sayso.feedback.storable import storable
from sayso.feedback.store import Store
from sayso.serve.markdown import to_html
from sayso.serve.ratings import Comment
from sayso.serve.recording import key_name
from sayso.serve.turns import Body, BodyText, RowId, reply_html

Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=LONGEST_WORD)]], Field(max_length=MOST_WORDS)]


class ByBody(Body):
    """A body that says who rates; a key with a name says so, too, and goes before it."""

    annotator: Annotated[str, Field(max_length=64)] | None = None

    def who(self, request: Request) -> str:
        """Return the name. Raises `FieldError` if there is none."""
        name: str = storable(key_name(request) or self.annotator or "").strip()
        if not name:
            raise FieldError("annotator", "'annotator' must be the name of whoever rates.")
        return name


class TakeBody(ByBody):
    """POST /api/rate/take and /api/rate/undo: what to do, and with which items (default: all)."""

    act: Act
    origin: Annotated[str, Field(max_length=LONGEST_NAME)] | None = None


class ReviewBody(ByBody):
    """POST /api/rate/skip: a review that was taken."""

    review: RowId


class CompareBody(ReviewBody):
    """POST /api/rate/compare: which reply is better, why, and what is said of each."""

    better: Literal["left", "right", "tie"]
    reasons: Words = Field(default_factory=list)
    left_tags: Words = Field(default_factory=list)
    right_tags: Words = Field(default_factory=list)
    comment: Comment | None = None


class WriteBody(ReviewBody):
    """POST /api/rate/write: the reply to a prompt."""

    text: BodyText


class CheckBody(ReviewBody):
    """POST /api/rate/check: what a second person thinks of a written reply."""

    verdict: Verdict
    text: BodyText | None = None
    comment: Comment | None = None


def rate_routes(store: Store, speakers: Callable[[], Iterable[str]]) -> APIRouter:
    """Return the routes over a store; `speakers` names the models that can be asked for replies to compare."""
    router, reviews = APIRouter(prefix="/api/rate"), Reviews(store)
    filled: dict[str, int] = {}  # what the queue has already seen of the store

    @router.get("")
    def overview(request: Request) -> dict[str, Any]:
        filled.update(fill_queue(store, filled))
        now = read_guidelines(store)
        return {
            "annotator": key_name(request),
            "guidelines": {"html": to_html(now.text), "text": now.text},
            "reviews": now.reviews,
            "reasons": now.reasons,
            "tags": now.tags,
            "hold_minutes": HOLD.total_seconds() / 60,
            "queue": queue_counts(store),
            "models": sorted(speakers()),
        }

    @router.post("/take")
    def take(body: TakeBody, request: Request) -> dict[str, Any]:
        if body.act == "compare":
            filled.update(fill_queue(store, filled))
        return {"task": _shown(reviews.take(body.who(request), body.act, storable(body.origin)))}

    @router.post("/compare")
    def compare(body: CompareBody, request: Request) -> dict[str, Any]:
        remarks = Remarks(body.reasons, body.left_tags, body.right_tags, body.comment)
        better = None if body.better == "tie" else body.better
        return {"models": reviews.compare(body.who(request), body.review, better, remarks)}

    @router.post("/write", status_code=204)
    def write(body: WriteBody, request: Request) -> None:
        reviews.write(body.who(request), body.review, body.text)

    @router.post("/check", status_code=204)
    def check(body: CheckBody, request: Request) -> None:
        reviews.check(body.who(request), body.review, body.verdict, body.text, body.comment)

    @router.post("/skip", status_code=204)
    def skip(body: ReviewBody, request: Request) -> None:
        reviews.skip(body.who(request), body.review)

    @router.post("/undo")
    def undo(body: TakeBody, request: Request) -> dict[str, Any]:
        return {"task": _shown(reviews.undo(body.who(request), body.act))}

    @router.get("/summary")
    def summary() -> dict[str, Any]:
        return {"agreement": agreement(store).as_dict(), "models": model_results(store), "people": people(store)}

    @router.get("/results")
    def results() -> StreamingResponse:
        lines: Iterator[bytes] = (line_of(row) for row in review_rows(store))
        headers = {"content-disposition": 'attachment; filename="reviews.jsonl"'}
        return StreamingResponse(lines, media_type="application/jsonl", headers=headers)

    return router


def _shown(task: Task | None) -> dict[str, Any] | None:
    """Return a task as the page shows it: with safe HTML, and with the text only where it can be edited."""
    if task is None:
        return None
    prompt = [
        {"role": turn["role"], "html": reply_html(turn["content"])}
        if turn["role"] == "assistant"
        else {"role": turn["role"], "text": turn["content"]}
        for turn in task.prompt
    ]
    replies = [{"html": reply_html(text), "cut": cut} for text, cut in zip(task.replies, task.cut, strict=True)]
    shown = {"review": task.review, "act": task.act, "list": task.origin, "prompt": prompt, "replies": replies}
    return shown | {"text": task.replies[0] if task.act == "check" else None, "draft": task.draft}
