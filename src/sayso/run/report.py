"""Act: write a report on all stages.

Reads what the other acts have written; writes `report.html`, a self-contained page, and `report.json`, the same figures
for programs. Stages not run yet are listed with the command that runs them.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import write_atomic, write_json
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import own_files
from sayso.base.ranges import Options
from sayso.report.facts import read_facts
from sayso.report.figures import report_figures
from sayso.report.page import page


@dataclass(frozen=True)
class Report(Options):
    """Options of `sayso report`."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""


def report(options: Report) -> dict[str, Any]:
    """Write a report on all stages as `report.html` and its figures as `report.json`; return the figures."""
    life = Life(options.life)
    if not life.root.is_dir():
        raise UserError(f"There is no life '{life.root}'; create one with: sayso demo, or sayso prepare")
    own_files(life.report, life.report_json)
    facts = read_facts(life)
    found = report_figures(facts)
    write_json(life.report_json, found)
    write_atomic(life.report, page(facts))
    say(f"Wrote {life.report} and {life.report_json.name}.")
    return found
