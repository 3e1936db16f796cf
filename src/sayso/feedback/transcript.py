"""One conversation as a document to keep or send: Markdown to read, JSON with everything that made its replies."""

from typing import Any

from sayso.feedback.ratings import Opinion
from sayso.feedback.store import Generation, Store, StoredMessage, title_of
from sayso.sample.settings import declared


def as_json(store: Store, conversation_id: int) -> dict[str, Any]:
    """Return the current branch with the settings, model, counts and ratings of each reply."""
    branch = store.branch(conversation_id)
    known = store.opinions([message.id for message in branch])
    return {
        "conversation": conversation_id,
        "title": title_of(branch[0].content) if branch else "",
        "messages": [_message(message, known.get(message.id, Opinion())) for message in branch],
    }


def as_markdown(store: Store, conversation_id: int) -> str:
    """Return the current branch with a heading per turn; the line under a reply says what made it."""
    content = as_json(store, conversation_id)
    parts = [f"# {content['title'] or 'Conversation'}"]
    for message in content["messages"]:
        made: dict[str, Any] = message.get("generation", {})
        parts.append("## User" if message["role"] == "user" else f"## {made['model']}")
        parts.append(message.get("edit") or message["content"])
        if made:
            settings = ", ".join(f"{name} {value}" for name, value in _set(made["sampling"]).items())
            tokens = made["completion_tokens"]  # unknown if the server of a remote model did not tell
            size = "" if tokens is None else f"{tokens} tokens in "
            line = f"{size}{made['seconds']:.1f} s, {made['finish']}"
            parts.append(f"*{line}{', corrected' if message.get('edit') else ''}; {settings or 'default settings'}*")
    return "\n\n".join(parts) + "\n"


def _message(message: StoredMessage, opinion: Opinion) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(message, name) for name in ("id", "role", "content", "created_at")}
    if message.generation is not None:
        row["generation"] = {name: getattr(message.generation, name) for name in Generation.__dataclass_fields__}
        row |= {"thumb": opinion.thumb, "edit": opinion.edit}
    return row


def _set(sampling: dict[str, Any]) -> dict[str, Any]:
    """Return the temperature, the seed, and the settings that are not at their defaults."""
    kept = {"temperature", "seed"} | {one.name for one in declared() if sampling.get(one.name) != one.default}
    return {name: value for name, value in sampling.items() if name in kept}
