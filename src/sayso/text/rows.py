"""What every command that reads a person's rows takes as an option: what becomes of rows that cannot be used."""

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
    """What to do about rows that cannot be used: name the first five and stop, or skip them and report how many."""


def report_ignored(sources: Iterable[Source]) -> None:
    """Print what in the folders of sources is not read."""
    for source in sources:
        if source.ignored:
            shown = ", ".join(source.ignored[:SHOWN])
            more = f" and {len(source.ignored) - SHOWN:,} more" if len(source.ignored) > SHOWN else ""
            say(f"Ignored in '{source.name}', as no text to learn: {shown}{more}.")


def report_rows(bad: BadRows) -> None:
    """End the command for bad rows where it has to; else print what was skipped or replaced."""
    bad.check()
    for sentence in bad.sentences():
        say(sentence)
