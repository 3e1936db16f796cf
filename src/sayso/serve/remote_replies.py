"""The page's routes for replies of remote models, with the bodies and events of those of served models."""

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from sayso.sample.settings import declared
from sayso.serve.errors import ApiError
from sayso.serve.page_replies import PageReplies, ReplyInProgress
from sayso.serve.recording import asker_of
from sayso.serve.remote import Remote
from sayso.serve.replies import PromptBody, add_stop
from sayso.serve.setting_fields import OPENAI, remote_controls, settings_of, with_settings
from sayso.serve.stream import EventStream


@with_settings(without=[one.name for one in declared() if one.name not in OPENAI])
class RemoteReplyBody(PromptBody):
    """POST /api/replies: a reply to a message; only the given settings are sent."""


def remote_facts(remote: Remote) -> dict[str, Any]:
    """Return what the page shows of the model that replies by default; its context is not known."""
    return {"name": remote.names[0] if remote.names else "a remote model", "fingerprint": "", "context": None}


def remote_reply_routes(replies: PageReplies, remote: Remote) -> APIRouter:
    """Return the routes for the replies of remote models."""
    router = APIRouter(prefix="/api")
    store = replies.store

    @router.get("/model")
    def model() -> dict[str, Any]:
        """Return the facts, with the `problem` if the server cannot be asked for its models."""
        problem = None
        try:
            remote.look()
        except ApiError as error:
            problem = error.message
        known = {"models": remote.names, "settings": remote_controls(), "ratings": store.count_ratings()}
        return remote_facts(remote) | known | {"remote": remote.endpoint.base_url, "problem": problem}

    @router.post("/replies")
    async def reply(wanted: RemoteReplyBody, request: Request) -> Response:
        await run_in_threadpool(store.message, wanted.message_id)
        turns = wanted.with_system(await run_in_threadpool(store.prompt, wanted.message_id))
        asker = await asker_of(request, wanted.model or "")
        speech = await remote.speak(wanted.model, turns, settings_of(wanted), asker)
        running = ReplyInProgress(speech, wanted.message_id, turns, reasoning="possible", compared=wanted.compared)
        replies.begin(running)
        return EventStream(replies.events(running), speech.stop)

    add_stop(router, replies)
    return router
