"""The routes of notes: write, change and group them, name their categories, and make evaluation cases of them."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from sayso.feedback.cases import SAME
from sayso.feedback.categories import LONGEST_NAME, Categories, Category, function_name
from sayso.feedback.notes import Note, Notes
from sayso.feedback.samples import Samples
from sayso.feedback.store import Store
from sayso.feedback.suggest import suggested
from sayso.serve.recording import key_name
from sayso.serve.turns import Body

Number = Annotated[int, Field(ge=1, lt=2**31)]  # of a row, in every database
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Numbers = Annotated[list[Number], Field(min_length=1, max_length=1000)]
_EXCERPT = 300  # characters of a reply beside its note


class NoteBody(Body):
    """POST /api/diagnose/notes: a note about a reply."""

    message_id: Number
    text: Text


class TextBody(Body):
    """POST /api/diagnose/notes/ID: another text for a note."""

    text: Text


class GroupBody(Body):
    """POST /api/diagnose/groups: the category of some notes; null for none."""

    notes: Numbers
    category_id: Number | None


class CategoryBody(Body):
    """POST /api/diagnose/categories, or /categories/ID: a category's name and definition."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    definition: Annotated[str, Field(max_length=1000)] = ""


class CasesBody(Body):
    """POST /api/diagnose/cases: make the replies of notes evaluation cases, or retire these."""

    notes: Numbers
    check: Annotated[str, Field(max_length=64)] = SAME
    forbid: Text | None = None
    retire: bool = False


def note_routes(store: Store) -> APIRouter:
    """Return the routes over a store."""
    router, notes, categories = APIRouter(), Notes(store), Categories(store)

    @router.get("/samples/{sample_id}/notes")
    def listed(sample_id: Number) -> dict[str, Any]:
        return _overview(store, sample_id)

    @router.post("/notes", status_code=201)
    def add(body: NoteBody, request: Request) -> Note:
        return notes.add(body.message_id, body.text, key_name(request))

    @router.post("/notes/{note_id}")
    def change(note_id: Number, body: TextBody, request: Request) -> Note:
        return notes.change(note_id, body.text, key_name(request))

    @router.delete("/notes/{note_id}", status_code=204)
    def remove(note_id: Number, request: Request) -> None:
        notes.remove(note_id, key_name(request))

    @router.post("/groups")
    def group(body: GroupBody, request: Request) -> list[Note]:
        return notes.group(body.notes, body.category_id, key_name(request))

    @router.post("/categories", status_code=201)
    def add_category(body: CategoryBody, request: Request) -> Category:
        return categories.add(body.name, body.definition, key_name(request))

    @router.post("/categories/{category_id}")
    def change_category(category_id: Number, body: CategoryBody) -> Category:
        return categories.change(category_id, body.name, body.definition)

    @router.delete("/categories/{category_id}", status_code=204)
    def remove_category(category_id: Number) -> None:
        categories.remove(category_id)

    @router.post("/cases")
    def cases(body: CasesBody) -> dict[str, int]:
        if body.retire:
            notes.retire_cases(body.notes)
            return {"cases": 0}
        return {"cases": notes.make_cases(body.notes, body.check, body.forbid)}

    return router


def _overview(store: Store, sample_id: int) -> dict[str, Any]:
    """Return a sample's notes, those in no category first and beside similar ones, and all categories."""
    sample, items, notes = Samples(store).one(sample_id), Samples(store).items(sample_id), Notes(store)
    position = {reply: item.position for item in items for reply in item.replies}
    replies, named = notes.excerpts(sample_id, _EXCERPT), Categories(store).listed()
    inside = [note for note in notes.of_sample(sample_id) if note.message_id in position]
    loose = [note for note in inside if note.category_id is None]
    grouped = [note for note in notes.listed() if note.category_id is not None]
    found = [(one.note, one.near) for one in suggested(loose, grouped, named)]
    found += [(note, []) for note in inside if note.category_id is not None]
    return {
        "sample": sample,
        "notes": [
            asdict(note)
            | {"position": position[note.message_id], "reply": replies.get(note.message_id, "")}
            | {"near": [{"category_id": number, "cosine": round(near, 3)} for number, near in those]}
            for note, those in found
        ],
        "categories": [asdict(one) | {"function": function_name(one.name)} for one in named],
    }
