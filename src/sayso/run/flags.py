"""Acts: let detectors look at the replies of a store, list and show what they flagged, and mark flags."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from sayso.base.errors import UserError, nearest, require
from sayso.base.life import Life
from sayso.base.log import Progress, say
from sayso.base.output import console
from sayso.base.ranges import Options, Positive

if TYPE_CHECKING:
    from sayso.feedback.detectors.detector import Detector
    from sayso.feedback.flags import Flags
    from sayso.feedback.store import Store


@dataclass(frozen=True)
class ScanFlags(Options):
    """Options of `sayso flags scan`."""

    _: KW_ONLY
    detector: tuple[str, ...] = ()
    """Detectors: names of built-in ones, file.py:function, or 'judge: QUESTION'. Default: all built-in ones."""
    endpoint: str | None = None
    """Address of a server with OpenAI's API whose model answers such questions."""
    judge: str | None = None
    """Name of that model."""
    key: str | None = None
    """Key of the server. Default: the environment variable SAYSO_ENDPOINT_KEY."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the replies, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class ListFlags(Options):
    """Options of `sayso flags list`."""

    _: KW_ONLY
    state: str = "open"
    """State of the flags: open, real, false, fixed, or all."""
    detector: str | None = None
    """Only those of this detector."""
    limit: Positive = 50
    """Maximum number of flags, the newest first."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the flags, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class ShowFlag(Options):
    """Options of `sayso flags show`."""

    flag: Positive
    """Number of the flag."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the flags, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class MarkFlags(Options):
    """Options of `sayso flags mark`."""

    marks: tuple[str, ...]
    """Numbers of flags, and last what they are: real, false, fixed or open."""
    _: KW_ONLY
    reason: str | None = None
    """Why."""
    annotator: str | None = None
    """Who says so."""
    forbid: str | None = None
    """Text that no reply to the same prompt may contain; a case then checks this instead of running the detector."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the flags, a path or an address. Default: that of the life."""


def scan_flags(options: ScanFlags) -> dict[str, int]:
    """Let detectors of misbehaviour look at the replies that they have not seen."""
    with _store(Life(options.life), options.store, "scan") as store:
        from sayso.feedback.flags import Flags
        from sayso.feedback.scans import Scans

        flags, scans, replies, new = Flags(store), Scans(store), 0, dict[str, int]()
        due, last = scans.due(_detectors(options)), flags.last_message()
        for after, those in due.items():
            with Progress(max(0, last - after), "scanning: message") as line:
                for upto, count, found in flags.scan(those, after, last):
                    scans.done(those, upto)
                    line.update(upto - after)
                    replies += count
                    new = {name: new.get(name, 0) + found.get(name, 0) for name in {**new, **found}}
    shown = ", ".join(f"{count:,} by {name}" for name, count in sorted(new.items()))
    say(f"Looked at {replies:,} new replies and made {sum(new.values()):,} new flags{f' ({shown})' if shown else ''}.")
    return dict(sorted(new.items()))


def list_flags(options: ListFlags) -> list[dict[str, Any]]:
    """List the flags in a state, the newest first."""
    with _flags(Life(options.life), options.store, "list") as flags:
        from sayso.feedback.flags import STATES

        if options.state not in (*STATES, "all"):
            raise UserError(
                f"--state must be {', '.join(STATES)} or all; got '{options.state}'.{nearest(options.state, STATES)}"
            )
        state = None if options.state == "all" else options.state
        found, counts = flags.listed(state, options.detector, options.limit), flags.counts()
    if found:
        table = Table("flag", "since (UTC)", "detector", "what", "state", "reason")
        for one in found:
            shown = (one.detector, one.detail, one.state, one.reason or "")
            table.add_row(str(one.id), one.created_at[:19], *map(escape, shown))
        console().print(table)
    total = {one: sum(by.get(one, 0) for by in counts.values()) for one in STATES}
    say("Flags: " + ", ".join(f"{count:,} {one}" for one, count in total.items()) + ".")
    return [asdict(one) for one in found]


def show_flag(options: ShowFlag) -> dict[str, Any]:
    """Show a flag and the conversation of its reply."""
    with _flags(Life(options.life), options.store, "show") as flags:
        flag, reply = flags.one(options.flag)
    for role, text in reply.turns:
        say(f"{role}: {text}")
    say(f"assistant: {reply.text}", style="bold")
    if reply.next is not None:
        say(f"user: {reply.next}")
    reason = f": {flag.reason}" if flag.reason else ""
    say(f"Flag {flag.id} by {flag.detector} {flag.version}: {flag.detail}. It is {flag.state}{reason}.")
    turns = [{"role": role, "content": text} for role, text in reply.turns]
    return {**asdict(flag), "prompt": turns, "reply": reply.text, "next": reply.next}


def mark_flags(options: MarkFlags) -> list[dict[str, Any]]:
    """Mark flags as real, false or fixed; a real one becomes an evaluation case."""
    *numbers, state = options.marks or ("",)
    if not numbers or not all(one.isascii() and one.isdigit() for one in numbers):
        raise UserError(
            "Name the numbers of flags, and last what they are, such as: sayso flags mark 3 7 real; got "
            f"'{' '.join(options.marks)}'."
        )
    with _flags(Life(options.life), options.store, "mark") as flags:
        found = flags.mark([int(one) for one in numbers], state, options.reason, options.annotator, options.forbid)
    made = "" if state != "real" else " An evaluation case asks every candidate for the alias again."
    say(f"{len(found):,} flag{' is' if len(found) == 1 else 's are'} {state} now.{made}")
    return [asdict(one) for one in found]


def _detectors(options: ScanFlags) -> "list[Detector]":
    from sayso.feedback.detectors.own import judge_server, load_detectors

    found = load_detectors(options.detector, judge_server(options.endpoint, options.judge, options.key))
    if not options.detector and find_spec("langdetect") is None:
        say("Left out: wrong-language, which needs langdetect: pip install 'sayso[judge]'.")
        found = [one for one in found if one.name != "wrong-language"]
    return found


@contextmanager
def _flags(life: Life, where: str | None, action: str) -> "Iterator[Flags]":
    """Open the flags of a store that exists."""
    with _store(life, where, action) as store:
        from sayso.feedback.flags import Flags

        yield Flags(store)


@contextmanager
def _store(life: Life, where: str | None, action: str) -> "Iterator[Store]":
    """Open a store that exists."""
    require("sqlalchemy", "serve")
    from sayso.feedback.store import Store

    if where is None and not life.store.exists():
        raise UserError(f"There are no replies to {action} flags of: '{life.store}' does not exist; run sayso serve.")
    store = Store(where or life.store)
    try:
        yield store
    finally:
        store.close()
