"""The option of every command that reads the user's rows: what to do about rows that cannot be used."""

from collections.abc import Iterable
from dataclasses import dataclass

from sayso.base.jsonl import BadRows, Policy
from sayso.base.log import say
from sayso.base.ranges import Options
from sayso.text.document import Source

SHOWN = 5  # ignored files of a source that are named


@dataclass(frozen=True, kw_only=True)
class ReadsRows(Options):
    """Options of the commands that read rows of files."""

    bad_rows: Policy = "stop"
    """What to do with invalid rows: `stop` after listing the first five, or `skip` them and report the count."""


def report_ignored(sources: Iterable[Source]) -> None:
    """Report the files in the sources' folders that are not read."""
    for source in sources:
        if source.ignored:
            shown = ", ".join(source.ignored[:SHOWN])
            more = f" and {len(source.ignored) - SHOWN:,} more" if len(source.ignored) > SHOWN else ""
            say(f"Ignored in '{source.name}', not training text: {shown}{more}.")


def report_rows(bad: BadRows) -> None:
    """Raise for bad rows if the policy says so; else report what was skipped or replaced."""
    bad.check()
    for sentence in bad.sentences():
        say(sentence)
