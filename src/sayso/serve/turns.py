"""What the page sends and shows: checked bodies, and turns with safe HTML."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sayso.feedback.branches import first_seconds, versions_of
from sayso.feedback.ratings import Opinion
from sayso.feedback.store import Store, StoredMessage
from sayso.reply.reasoning import split_reasoning
from sayso.serve.markdown import to_html

TEXT_LIMIT = 100_000  # characters of one message or edit
RowId = Annotated[int, Field(ge=1, lt=2**63)]
BodyText = Annotated[str, Field(min_length=1, max_length=TEXT_LIMIT)]


class Body(BaseModel):
    """A body that rejects unknown fields and values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def turns_of(store: Store, branch: list[StoredMessage]) -> list[dict[str, Any]]:
    """Return messages in the form that the page shows: with safe HTML, their ratings and the ids of all versions."""
    ids = [message.id for message in branch]
    held, versions, first = store.opinions(ids), versions_of(store, branch), first_seconds(store, ids)
    turns = [_turn(message, held.get(message.id, Opinion())) for message in branch]
    for turn in turns:
        turn["versions"] = versions[turn["id"]]
        if "html" in turn:
            turn["first_seconds"] = first.get(turn["id"])
    return turns


def reply_html(text: str) -> str:
    """Return a reply as safe HTML, with its reasoning folded."""
    thought, rest = split_reasoning(text)
    folded = f'<details class="thought"><summary>Reasoning</summary>{to_html(thought)}</details>' if thought else ""
    return folded + to_html(rest)


def _turn(message: StoredMessage, opinion: Opinion) -> dict[str, Any]:
    names = ("id", "conversation_id", "parent_id", "role", "content", "created_at")
    turn = {name: getattr(message, name) for name in names}
    if message.generation is None:
        return turn
    made = message.generation
    turn |= {"html": reply_html(message.content), "thumb": opinion.thumb, "edit": opinion.edit}
    turn |= {"edit_html": reply_html(opinion.edit) if opinion.edit else None}
    turn |= {"answer": split_reasoning(opinion.edit or message.content)[1]}
    turn |= {"model": made.model, "finish": made.finish, "tokens": made.completion_tokens, "seconds": made.seconds}
    turn["prompt_tokens"] = made.prompt_tokens
    return turn
