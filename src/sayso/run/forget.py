"""Act: remove a person's conversations and ratings, or old ones, and name what was made with them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from sayso.base.errors import UserError, require
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.ranges import Options, Range

_AGE = re.compile(r"([0-9]{1,6})([hdw])")
_DAYS = {"h": 1 / 24, "d": 1, "w": 7}
_MOST_DAYS = 365 * 1000


@dataclass(frozen=True, kw_only=True)
class Forget(Options):
    """Options of `sayso forget`."""

    user: str | None = None
    """Remove the conversations and ratings of this user: the API's field `user`, or the name of an API key."""
    conversation: Annotated[int, Range(1, 2**31 - 1)] | None = None
    """Remove the conversation with this number."""
    older_than: str | None = None
    """Remove the conversations in which nothing was said for this long, such as 12h, 90d or 8w."""
    dry_run: bool = False
    """Only show what would be removed."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the conversations, a path or an address. Default: that of the life."""


def forget(options: Forget) -> dict[str, Any]:
    """Remove conversations with all that belongs to them; return the counts, and the data and models made with them.

    Raises `UserError` unless exactly one of user, conversation and age is given, or if there is no store.
    """
    given = [one for one in (options.user, options.conversation, options.older_than) if one is not None]
    if len(given) != 1:
        raise UserError("Give exactly one of --user, --conversation and --older-than.")
    before = None if options.older_than is None else _before(options.older_than)
    require("sqlalchemy", "serve")
    from sayso.feedback.database import store_file
    from sayso.feedback.forget import forget_conversation, forget_older, forget_user
    from sayso.feedback.origins import made_with
    from sayso.feedback.store import Store

    life = Life(options.life)
    where = options.store or life.store
    file = store_file(where)
    if file is not None and not file.exists():
        raise UserError(f"There is no store '{file}', so there is nothing to forget; check --life and --store.")
    store = Store(where)
    try:
        if options.user is not None:
            gone = forget_user(store, options.user, only_count=options.dry_run)
        elif options.conversation is not None:
            gone = forget_conversation(store, options.conversation, only_count=options.dry_run)
        else:
            gone = forget_older(store, str(before), only_count=options.dry_run)
    finally:
        store.close()
    data, models = made_with(life, gone.conversations)
    _report(gone.counts, data, models, options)
    return {"removed": gone.counts, "data": data, "models": models}


def _before(age: str) -> str:
    """Return the time that was so long ago, as the store has times. Raises `UserError` for what is no age."""
    found = _AGE.fullmatch(age)
    days = int(found[1]) * _DAYS[found[2]] if found else 0
    if not 0 < days < _MOST_DAYS:
        raise UserError(f"--older-than must be a number with h, d or w, such as 12h, 90d or 8w; got '{age}'.")
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")


def _report(counts: dict[str, int], data: list[str], models: list[str], options: Forget) -> None:
    if not counts:
        say("The store has nothing of that.")
        return
    shown = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
    say(f"{'Would remove' if options.dry_run else 'Removed'} {shown}.")
    if data:
        say(f"Gathered from it: data/{', data/'.join(data)}. Repeat 'sayso gather' to make it without.")
    if models:
        say(f"Trained on it: {', '.join(models)}. Train again to have models without.")
