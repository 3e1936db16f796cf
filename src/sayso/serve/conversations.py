"""The page's routes for conversations: list, search, read, export, delete; messages, and their versions."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from sayso.base.errors import FieldError
from sayso.feedback.branches import revise, show_version
from sayso.feedback.store import Store, StoredConversation
from sayso.feedback.transcript import as_json, as_markdown
from sayso.serve.encode import to_json
from sayso.serve.recording import key_name
from sayso.serve.turns import Body, BodyText, RowId, turns_of


class MessageBody(Body):
    """POST /api/messages: the user's message at the end of a conversation, or another version of an earlier one."""

    conversation_id: RowId
    content: BodyText
    replaces: RowId | None = None
    """The message of which this is another version; its replies stay on a branch of their own."""


class VersionBody(Body):
    """POST /api/versions: show the branch through a message."""

    message_id: RowId


def conversation_routes(store: Store) -> APIRouter:
    """Return the routes over a store."""
    router = APIRouter(prefix="/api")

    @router.get("/conversations")
    def conversations(
        search: Annotated[str, Query(max_length=200)] = "", after: Annotated[int | None, Query(ge=1, lt=2**31)] = None
    ) -> list[StoredConversation]:
        return store.conversations(text=search, after=after)

    @router.post("/conversations", status_code=201)
    def new_conversation(request: Request) -> StoredConversation:
        return store.new_conversation(key_name(request))

    @router.get("/conversations/{conversation_id}")
    def conversation(conversation_id: RowId) -> dict[str, Any]:
        return {"id": conversation_id, "turns": turns_of(store, store.branch(conversation_id))}

    @router.delete("/conversations/{conversation_id}", status_code=204)
    def delete(conversation_id: RowId) -> None:
        store.delete(conversation_id)

    @router.post("/messages", status_code=201)
    def message(said: MessageBody) -> dict[str, Any]:
        if not said.content.strip():
            raise FieldError("content", "'content' must not be empty.")
        if said.replaces is not None:
            return turns_of(store, [revise(store, said.replaces, said.content)])[0]
        return turns_of(store, [store.say(said.conversation_id, said.content)])[0]

    @router.post("/versions")
    def version(wanted: VersionBody) -> dict[str, Any]:
        branch = show_version(store, wanted.message_id)
        return {"id": branch[0].conversation_id, "turns": turns_of(store, branch)}

    @router.get("/conversations/{conversation_id}/export")
    def export(conversation_id: RowId, form: Literal["markdown", "json"] = "markdown") -> Response:
        if form == "json":
            return Response(to_json(as_json(store, conversation_id)), media_type="application/json")
        return Response(as_markdown(store, conversation_id), media_type="text/markdown")

    return router
