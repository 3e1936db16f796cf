"""Option shared by all commands that read rows: how to handle invalid ones."""

from collections.abc import Iterable
from dataclasses import dataclass

from sayso.base.jsonl import BadRows, Policy
from sayso.base.log import say
from sayso.base.ranges import Options
from sayso.text.document import Source

_SHOWN = 5  # ignored files of a source that are listed


@dataclass(frozen=True, kw_only=True)
class ReadsRows(Options):
    """Options of the commands that read rows from files."""

    bad_rows: Policy = "stop"
    """How to handle invalid rows: stop and list the first five, or skip them and report their number."""


def report_ignored(sources: Iterable[Source]) -> None:
    """Print which files in the sources' folders are ignored."""
    for source in sources:
        if source.ignored:
            shown = ", ".join(source.ignored[:_SHOWN])
            more = f" and {len(source.ignored) - _SHOWN:,} more" if len(source.ignored) > _SHOWN else ""
            say(f"Ignored in '{source.name}' (not training text): {shown}{more}.")


def report_rows(bad: BadRows) -> None:
    """Stop the command if the policy requires it; otherwise print what was skipped or replaced."""
    bad.check()
    for note in bad.notes():
        say(note)
