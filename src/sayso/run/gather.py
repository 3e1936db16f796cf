"""The act that closes the circle: the ratings in a life's store become files that finetune and align read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError, require
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.ranges import Options


@dataclass(frozen=True, kw_only=True)
class Gather(Options):
    """Turn people's ratings into training data."""

    life: Path = Path("life")
    """The life's folder."""
    store: str | None = None
    """The address of the store, such as postgresql://host/name; the life's store.sqlite when left away."""


def gather(options: Gather) -> dict[str, Any]:
    """Write data/feedback/{chat,pairs}.jsonl and their manifest from every rating in the store; return the manifest.

    Raises `UserError` when the life has no store yet.
    """
    require("sqlalchemy", "serve")
    from sayso.feedback import gather as feedback
    from sayso.feedback.store import Store

    life = Life(options.life)
    if options.store is None and not life.store.exists():
        raise UserError(
            f"Ratings are gathered from a life's store, but there is no '{life.store}'; "
            "talk to a model with 'sayso serve' and rate its replies first."
        )
    store = Store(options.store or life.store)
    try:
        ratings = store.ratings()
    finally:
        store.close()
    folder = life.data("feedback")
    manifest = feedback.write(feedback.gather(ratings), ratings, folder)
    say(_summary(manifest, folder))
    return manifest


def _summary(manifest: dict[str, Any], folder: Path) -> str:
    parts = "; ".join(f"{count} {name}" for name, count in manifest["made_of"].items())
    left = "; ".join(f"{count} {name}" for name, count in manifest["left_out"].items())
    text = (
        f"Gathered {_count(manifest['conversations'], 'conversation')} and {_count(manifest['pairs'], 'pair')} "
        f"from {_count(manifest['ratings'], 'rating')} into {folder}"
    )
    return text + (f" ({parts})" if parts else "") + (f"; left out: {left}" if left else "") + "."


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
