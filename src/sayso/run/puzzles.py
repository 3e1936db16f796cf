"""Act: puzzles with a checker become a file of prompts to practise on, or of worked solutions to tune on."""

from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from sayso.base.errors import UserError, nearest
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import new_file
from sayso.base.ranges import Options, Positive, Range, Seed
from sayso.run.results import Written
from sayso.world import puzzles as known


@dataclass(frozen=True)
class Puzzles(Options):
    """Options of `sayso puzzles`."""

    puzzle: str
    """addition (reversed) or countdown."""
    _: KW_ONLY
    life: Path = Path("life")
    """The folder of the life."""
    out: Path | None = None
    """The JSONL file to write; data/puzzles/NAME-SPLIT.jsonl of the life when not given."""
    replace: bool = False
    """Overwrite the file if it exists already."""
    sizes: tuple[Annotated[int, Range(1, 1000)], ...] = (3,)
    """How hard: digits of addition's numbers, or how many numbers countdown has; several take turns."""
    field: Annotated[int, Range(0, 1000)] = 0
    """Places in which addition writes each number, so that digits of one worth are always as far apart; 0 = off."""
    count: Positive = 1000
    """How many problems."""
    split: str = "train"
    """train, val or test, which share no problem."""
    demonstrations: bool = False
    """Whether to write conversations with the worked solution, and not prompts."""
    seed: Seed = 0
    """Another seed gives other problems."""


def puzzles(options: Puzzles) -> Written:
    """Write problems, one a line."""
    if options.puzzle not in known.MAKERS:
        names = ", ".join(known.MAKERS)
        raise UserError(f"A puzzle is {names}; got '{options.puzzle}'.{nearest(options.puzzle, known.MAKERS)}")
    if not options.sizes:
        raise UserError("Puzzles need at least one size, such as --sizes 3.")
    if options.field and options.puzzle != "addition":
        raise UserError(f"--field is for addition alone; leave it away for {options.puzzle}.")
    make = partial(known.addition.problem, field=options.field) if options.field else known.MAKERS[options.puzzle]
    sizes = options.sizes
    problems = (make(options.seed, index, options.split, sizes[index % len(sizes)]) for index in range(options.count))
    rows = (problem.demonstration() if options.demonstrations else problem.row() for problem in problems)
    make(options.seed, 0, options.split, sizes[0])  # what cannot be is refused before a path is made of it
    out = options.out or Life(options.life).data("puzzles") / f"{options.puzzle}-{options.split}.jsonl"
    new_file(out, "--out", options.replace)
    say(f"Wrote {write_jsonl(out, rows):,} problems of {options.puzzle} to {out}.")
    return Written(out)
