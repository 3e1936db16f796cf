"""Act: generate puzzles with a checker, as a file of training prompts or of worked solutions to fine-tune on."""

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
    """Puzzle: addition (digits reversed) or countdown."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    out: Path | None = None
    """JSON Lines file to write. Default: data/puzzles/NAME-SPLIT.jsonl in the life."""
    replace: bool = False
    """Overwrite the file if it exists."""
    sizes: tuple[Annotated[int, Range(1, 1000)], ...] = (3,)
    """Difficulty: number of digits (addition) or of numbers (countdown); several sizes alternate."""
    field: Annotated[int, Range(0, 1000)] = 0
    """addition: pad each number to this many digits, so that corresponding digits have a fixed distance; 0 = off."""
    count: Positive = 1000
    """Number of problems."""
    split: str = "train"
    """Split: train, val or test. The splits share no problems."""
    demonstrations: bool = False
    """Write conversations with worked solutions instead of prompts."""
    seed: Seed = 0
    """Random seed of the problems."""


def puzzles(options: Puzzles) -> Written:
    """Generate puzzles with verifiable answers, one per line."""
    if options.puzzle not in known.MAKERS:
        names = ", ".join(known.MAKERS)
        raise UserError(
            f"The puzzle must be one of {names}; got '{options.puzzle}'.{nearest(options.puzzle, known.MAKERS)}"
        )
    if not options.sizes:
        raise UserError("At least one size is required, such as --sizes 3.")
    if options.field and options.puzzle != "addition":
        raise UserError(f"--field applies to addition only; omit it for {options.puzzle}.")
    make = partial(known.addition_problem, field=options.field) if options.field else known.MAKERS[options.puzzle]
    sizes = options.sizes
    problems = (make(options.seed, index, options.split, sizes[index % len(sizes)]) for index in range(options.count))
    rows = (problem.demonstration() if options.demonstrations else problem.row() for problem in problems)
    make(options.seed, 0, options.split, sizes[0])  # reject invalid values before they become part of a path
    out = options.out or Life(options.life).data("puzzles") / f"{options.puzzle}-{options.split}.jsonl"
    new_file(out, "--out", options.replace)
    say(f"Wrote {write_jsonl(out, rows):,} {options.puzzle} problems to {out}.")
    return Written(out)
