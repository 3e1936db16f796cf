"""Act: turn the ratings in the store into files that finetune and align read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError, require
from sayso.base.files import read_object
from sayso.base.life import Life
from sayso.base.lock import alone
from sayso.base.log import say
from sayso.base.ranges import Options


@dataclass(frozen=True, kw_only=True)
class Gather(Options):
    """Options of `sayso gather`."""

    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database URL of the store, such as postgresql://host/name. Default: the life's store.sqlite."""


@alone(lambda options: Life(options.life).data("feedback"))
def gather(options: Gather) -> dict[str, Any]:
    """Write data/feedback/{chat,pairs}.jsonl and their manifest from every rating in the store; return the manifest.

    Raises `UserError` if there is no store yet.
    """
    require("sqlalchemy", "serve")
    from sayso.feedback import gather as feedback
    from sayso.feedback.schema import is_in_memory, store_file
    from sayso.feedback.store import Store

    life = Life(options.life)
    if options.store is not None and is_in_memory(options.store):
        raise UserError(
            f"Ratings are gathered from a store that outlasts its process; '{options.store}' is one in memory. Name "
            "a file or a database with --store, or omit it to take the life's own."
        )
    file = store_file(options.store or life.store)
    if file is not None and not file.exists():
        raise UserError(
            f"Ratings are gathered from the store, but there is no '{file}'; "
            "chat with a model with 'sayso serve' and rate its replies first."
        )
    store = Store(options.store or life.store)
    try:
        ratings = store.ratings()
    finally:
        store.close()
    folder = life.data("feedback")
    _check_not_emptied(len(ratings), folder)
    manifest = feedback.write(feedback.gather(ratings), ratings, folder)
    say(_summary(manifest, folder))
    return manifest


def _check_not_emptied(ratings: int, folder: Path) -> None:
    """Refuse to replace gathered ratings with nothing: an empty store is more likely a lost one."""
    path = folder / "manifest.json"
    before = read_object(path).get("ratings", 0) if path.exists() else 0
    if before and not ratings:
        raise UserError(
            f"The store holds no ratings, but {_count(before, 'rating')} were gathered into '{folder}' earlier; "
            "restore the store, or remove that folder to discard them."
        )


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
