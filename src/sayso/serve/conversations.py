"""The page's routes for conversations: list, create, read, delete, and add a message."""

from typing import Any

from fastapi import APIRouter, Request

from sayso.base.errors import FieldError
from sayso.feedback.store import Store, StoredConversation
from sayso.serve.recording import key_name
from sayso.serve.turns import Body, BodyText, RowId, turns_of


class MessageBody(Body):
    """POST /api/messages: the user's message at the end of a conversation."""

    conversation_id: RowId
    content: BodyText


def conversation_routes(store: Store) -> APIRouter:
    """Return the routes over a store."""
    router = APIRouter(prefix="/api")

    @router.get("/conversations")
    def conversations() -> list[StoredConversation]:
        return store.conversations()

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
        return turns_of(store, [store.say(said.conversation_id, said.content)])[0]

    return router
