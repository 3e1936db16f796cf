"""The routes of the screen Diagnose: samples of conversations, reading them, rates of what was noted in them."""

import secrets
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from sayso.feedback.categories import Categories, function_name
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.drafts import Draft, draft_detector
from sayso.feedback.flags import Flags
from sayso.feedback.lines import Turn, line_of
from sayso.feedback.notes import Note, Notes
from sayso.feedback.rates import Rates, rates_of
from sayso.feedback.ratings import Opinion
from sayso.feedback.samples import LARGEST, Filters, Sample, Samples
from sayso.feedback.store import Store
from sayso.serve.recording import key_name
from sayso.serve.screens.notes import Number, note_routes
from sayso.serve.turns import Body, reply_html

Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class SampleBody(Body):
    """POST /api/diagnose/samples: which conversations to draw; without a seed, another sample each time."""

    name: Annotated[str, Field(max_length=100)] = ""
    size: Annotated[int, Field(ge=1, le=LARGEST)] = 100
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    only: Literal["flagged", "disliked"] | None = None
    detector: Name | None = None
    model: Name | None = None
    since: Day | None = None
    until: Day | None = None


class ReadingBody(Body):
    """POST /api/diagnose/samples/ID/readings: a conversation was read, or is to be read again."""

    position: Number
    read: bool = True


def diagnose_routes(store: Store) -> APIRouter:
    """Return the routes over a store."""
    router, samples = APIRouter(prefix="/api/diagnose"), Samples(store)

    @router.get("/samples")
    def listed() -> dict[str, Any]:
        models, detectors = samples.choices()
        return {"samples": samples.listed(), "models": models, "detectors": detectors}

    @router.post("/samples", status_code=201)
    def draw(body: SampleBody, request: Request) -> Sample:
        filters = Filters(**body.model_dump(include={*Filters.__dataclass_fields__}))
        seed = secrets.randbelow(10**6) if body.seed is None else body.seed
        return samples.draw(filters, body.size, seed, body.name, key_name(request))

    @router.get("/samples/{sample_id}")
    def sample(sample_id: Number) -> dict[str, Any]:
        found, counts = samples.one(sample_id), dict[int, int]()
        for note in Notes(store).of_sample(sample_id):
            counts[note.message_id] = counts.get(note.message_id, 0) + 1
        names = ("position", "conversation_id", "title", "read")
        items = [
            {name: getattr(item, name) for name in names} | {"notes": sum(counts.get(one, 0) for one in item.replies)}
            for item in samples.items(sample_id)
        ]
        return {"sample": found, "items": items, "detectors": [*DETECTORS]}

    @router.delete("/samples/{sample_id}", status_code=204)
    def delete(sample_id: Number) -> None:
        samples.delete(sample_id)

    @router.get("/samples/{sample_id}/conversations/{position}")
    def conversation(sample_id: Number, position: Number) -> dict[str, Any]:
        item = samples.item(sample_id, position)
        with store.engine.begin() as connection:
            line = line_of(connection, item.message_id)
        names = ("position", "conversation_id", "title", "read")
        return {name: getattr(item, name) for name in names} | {"turns": _turns(store, line)}

    @router.post("/samples/{sample_id}/readings", status_code=201)
    def reading(sample_id: Number, body: ReadingBody, request: Request) -> Sample:
        return samples.mark(sample_id, body.position, body.read, key_name(request))

    @router.get("/samples/{sample_id}/rates")
    def rates(sample_id: Number) -> dict[str, Any]:
        found = samples.one(sample_id)
        noted, loose, each = rates_of(store, sample_id)
        return {"sample": found, "any": _rates(noted), "loose": _rates(loose), "categories": [*map(_rates, each)]}

    @router.get("/samples/{sample_id}/categories/{category_id}/detector")
    def detector(sample_id: Number, category_id: Number, kind: Literal["python", "judge"] = "python") -> Draft:
        samples.one(sample_id)
        return draft_detector(store, sample_id, category_id, kind)

    router.include_router(note_routes(store))
    return router


def _rates(rates: Rates) -> dict[str, Any]:
    one = rates.category
    category = None if one is None else asdict(one) | {"function": function_name(one.name)}
    return {"category": category, "whole": rates.whole, "models": rates.models}


def _turns(store: Store, line: list[Turn]) -> list[dict[str, Any]]:
    """Return the turns as the page shows them, replies with what is thought of them."""
    replies = [turn.message_id for turn in line if turn.message_id is not None]
    noted, flagged = Notes(store).of_replies(replies), Flags(store).of_replies(replies)
    opinions = store.opinions(replies)
    names = {one.id: one.name for one in Categories(store).listed()}
    found = []
    for turn in line:
        shown = asdict(turn) | {"html": reply_html(turn.content) if turn.role == "assistant" else None}
        if turn.message_id is not None:
            own = opinions.get(turn.message_id, Opinion())
            shown |= {"thumb": own.thumb, "edit_html": reply_html(own.edit) if own.edit else None}
            shown["flags"] = [one for one in flagged if one.message_id == turn.message_id]
            shown["notes"] = [_noted(one, names) for one in noted if one.message_id == turn.message_id]
        found.append(shown)
    return found


def _noted(note: Note, names: dict[int, str]) -> dict[str, Any]:
    return asdict(note) | {"category": None if note.category_id is None else names.get(note.category_id)}
