"""Act: turn the ratings in the store into files that finetune and align read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import require
from sayso.base.life import Life
from sayso.base.lock import exclusive
from sayso.base.log import say
from sayso.base.ranges import Options


@dataclass(frozen=True, kw_only=True)
class Gather(Options):
    """Options of `sayso gather`."""

    redact: bool = True
    """Replace email addresses, phone, card and account numbers, IP addresses, national ids and keys by their kind."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database URL of the store, such as postgresql://host/name. Default: the life's store.sqlite."""


@exclusive(lambda options: Life(options.life).data("feedback"))
def gather(options: Gather) -> dict[str, Any]:
    """Write data/feedback/{chat,pairs}.jsonl and their manifest from every rating in the store; return the manifest.

    Raises `UserError` if there is no store yet.
    """
    require("sqlalchemy", "serve")
    from sayso.feedback.gather import gather_store, summary

    life = Life(options.life)
    folder = life.data("feedback")
    manifest = gather_store(options.store or life.store, folder, redact=options.redact)
    say(summary(manifest, folder))
    return manifest
