"""Programs of one's own that check replies: takes `file.py:function`, stores its verdicts as ratings.

A program takes a reply and returns whether it is right: True or False, or a reward from 0 to 1. It returns None if it
cannot tell, as for a prompt that is not its business. What it has seen it does not see again, unless its file changes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real

from sayso.base.errors import UserError
from sayso.feedback.detectors.detector import Reply
from sayso.feedback.detectors.own import own_function
from sayso.feedback.flags import Flags, read_reply
from sayso.feedback.ratings import MOST_POINTS, Rater
from sayso.feedback.scans import Scans
from sayso.feedback.store import MissingError, Store
from sayso.feedback.tables import messages
from sayso.reply.listed import is_chat

_AT_ONCE = 200  # messages read together


@dataclass(frozen=True)
class Program:
    """A named function of a reply."""

    given: str
    """What names it."""
    function: str
    version: str
    checks: Callable[[Reply], object]
    question: None = None

    @property
    def name(self) -> str:
        """Name of its mark, apart from those of detectors."""
        return f"program {self.function}"

    def verdict(self, reply: Reply) -> float | bool | None:
        """Return whether a reply is right. Raises `UserError` for a result that is no verdict."""
        found = self.checks(reply)
        if found is None or isinstance(found, bool):
            return found
        if isinstance(found, Real) and 0 <= float(found) <= 1:
            return float(found)
        raise UserError(
            f"--program {self.given} must return True, False, a number from 0 to 1, or None; got {found!r:.60} for the "
            f"reply {reply.text[:60]!r}."
        )


def load_programs(given: Sequence[str]) -> list[Program]:
    """Return the programs that are named, each once. Raises `UserError` for one that cannot be imported."""
    found = list[Program]()
    for one in dict.fromkeys(given):
        source, _, name = one.rpartition(":")
        if not source or not name:
            raise UserError(f"--program must be file.py:function or module:function; got '{one}'.")
        version, function, _ = own_function(source, name, f"--program {one}")
        found.append(Program(one, name, version, function))
    if len({one.function for one in found}) < len(found):
        names = ", ".join(one.function for one in found)
        raise UserError(f"Programs must have different function names, by which people know them; got {names}.")
    return found


def check_replies(store: Store, programs: Sequence[Program]) -> dict[str, int]:
    """Let programs check the replies that they have not seen; return the number of their verdicts."""
    scans, last = Scans(store), Flags(store).last_message()
    counts = {one.function: 0 for one in programs}
    for after, those in scans.due(programs).items():
        for upto, replies in _replies(store, after, last):
            for program in those:
                for message, reply in replies.items():
                    counts[program.function] += _keep(store, message, program, program.verdict(reply))
            scans.done(those, upto)
    return counts


def _replies(store: Store, after: int, last: int) -> Iterator[tuple[int, dict[int, Reply]]]:
    """Yield the replies to conversations, by message, a few messages at a time, after the number of the last one."""
    while True:
        query = messages.select().where(messages.c.id > after, messages.c.id <= last).order_by(messages.c.id)
        with store.engine.begin() as connection:
            rows = connection.execute(query.limit(_AT_ONCE)).mappings().all()
            found = {row["id"]: read_reply(connection, row) for row in rows if row["prompt_id"] is not None}
        if not rows:
            return
        after = rows[-1]["id"]
        yield after, {message: reply for message, reply in found.items() if is_chat(reply.prompt)}


def _keep(store: Store, message: int, program: Program, verdict: float | bool | None) -> bool:
    """Store a verdict; return whether there is one, about a message that was not deleted meanwhile."""
    if verdict is None:
        return False
    by = Rater(program.function, "program")
    try:
        if isinstance(verdict, bool):
            store.thumb(message, 1 if verdict else -1, by=by)
        else:
            store.points(message, 1 + round(verdict * (MOST_POINTS - 1)), by=by)
    except MissingError:
        return False
    return True
