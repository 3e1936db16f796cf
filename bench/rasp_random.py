"""Random RASP programs: the interpreter, tensors and weights give equal values, or the compiler refuses with a reason.

`ours` is the share of programs without division that are compiled, in percent; `peer` is the bar of 90. Programs with
division come on top. One disagreement ends the run with the program and the input.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from bench.harness import parser, result, say, sized
from sayso.rasp import Selector, SOp, aggregate, indicator, indices, length, lookup, run, select, selector_width, where
from sayso.rasp import tokens as token
from sayso.rasp.compile.circuit import ORDINARY, Architecture
from sayso.rasp.compile.domain import CompileError
from sayso.rasp.compile.program import compile_program
from sayso.rasp.interpreter import EvaluationError
from sayso.rasp.notation import statements
from sayso.rasp.tensors import run_batch
from sayso.rasp.values import Value

PROGRAMS, TOLD = sized((10_000, 250), (24, 8))
OPERATIONS, LENGTH, ALPHABET, INPUTS = 12, 6, range(3), 8
BAR = 90
Step = tuple[int, int, int, int]
RELATIONS = ("==", "!=", "<", "<=", ">", ">=")


@dataclass
class Tally:
    """What became of programs."""

    compiled: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many there were."""
        return self.compiled + self.refused.total()

    @property
    def share(self) -> float:
        """Of them, how many are compiled, in percent."""
        return 100 * self.compiled / max(self.count, 1)


def main() -> None:
    """Draw programs, run each in three ways, and count the refusals."""
    arguments = parser("rasp_random", __doc__)
    arguments.add_argument("--programs", type=int, default=PROGRAMS, help="how many programs")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(given.seed)
    tallies = {"without division": Tally(), "with division": Tally()}
    for number in range(1, given.programs + 1):
        division = number % 4 == 0
        steps = [drawn(rng) for _ in range(rng.randint(1, OPERATIONS))]
        tally = tallies["with division" if division else "without division"]
        inputs = [rng.choices(ALPHABET, k=rng.randint(0, LENGTH)) for _ in range(INPUTS)]
        if refusal := refusal_of(built(steps, division=division), inputs, causal=rng.random() < 0.5):
            tally.refused[refusal] += 1
        else:
            tally.compiled += 1
        if number % TOLD == 0 or number == given.programs:
            say(f"{number:,} programs: " + ", ".join(f"{name} {one.compiled:,} of {one.count:,} compiled"
                                                    for name, one in tallies.items()))  # fmt: skip
    plain = tallies["without division"]
    details = {name: {"programs": one.count, "compiled": one.compiled, "refused": dict(one.refused.most_common())}
               for name, one in tallies.items()}  # fmt: skip
    result("rasp_random", "percent compiled", plain.share, BAR, **details, seed=given.seed)


def drawn(rng: random.Random) -> Step:
    """Return the numbers that choose an operation and its operands."""
    return rng.randrange(100), rng.randrange(100), rng.randrange(100), rng.randrange(100)


def refusal_of(
    program: SOp, inputs: Sequence[Sequence[object]], *, causal: bool, architecture: Architecture = ORDINARY
) -> str:
    """Return why a program is not compiled, without its numbers; "" if it is, and all three executions are equal.

    Inputs for which the interpreter has no value are not compared. Raises `RuntimeError` with what differs.
    """
    known: list[tuple[Sequence[object], list[Value]]] = []
    for one in inputs:
        try:
            known.append((one, run(program, one, causal=causal)))
        except EvaluationError:
            continue
    batch, expected = [one for one, _ in known], [values for _, values in known]
    check("tensors", run_batch(program, batch, causal=causal), expected, batch, program)
    try:
        compiled = compile_program(program, ALPHABET, LENGTH, causal=causal, architecture=architecture)
    except CompileError as error:
        return re.sub(r"-?[\d,]*\d(\.\d+)?(e-?\d+)?", "N", error.reason.split("; ")[0].split(" (")[0])
    check("weights", compiled.batch(batch), expected, batch, program)
    return ""


def check(
    what: str, found: Sequence[object], expected: Sequence[object], batch: Sequence[object], program: SOp
) -> None:
    """Raise `RuntimeError` if values differ from the interpreter's."""
    for one, values, right in zip(batch, found, expected, strict=True):
        if values != right:
            raise RuntimeError(f"{what} give {values}, the interpreter {right}, for {one}:\n{statements(program)}")


def built(steps: Sequence[Step], *, division: bool = False) -> SOp:
    """Return a program of one operation per step, each on results of earlier steps, which are shared."""
    sops: list[SOp] = [token, indices, length, 1 + 0 * indices]
    selectors: list[Selector] = [select(indices, indices, "<="), select(token, token)]
    for kind, first, second, third in steps:
        x, y, z = (sops[place % len(sops)] for place in (first, second, third))
        left, right = selectors[first % len(selectors)], selectors[second % len(selectors)]
        relation = RELATIONS[third % len(RELATIONS)]
        made: list[Callable[[], SOp | Selector]] = [
            lambda x=x, y=y: x + y,
            lambda x=x, y=y: x - y,
            lambda x=x, third=third: x * (third % 4 - 1),
            lambda x=x, y=y, z=z, second=second: where(x == second % 3, y, z),
            lambda x=x, y=y, relation=relation: select(x, y, relation),
            lambda x=x, y=y, relation=relation: select(x, y, relation),
            lambda left=left, right=right: left & right,
            lambda left=left, right=right: left | right,
            lambda left=left: ~left,
            lambda left=left: selector_width(left),
            lambda left=left, y=y, third=third: aggregate(left, y, None if third % 2 else 0),
            lambda left=left, x=x: aggregate(left, indicator(x == 1)),
            lambda x=x: round(x),
            lambda x=x, y=y: indicator(x < y),
            lambda left=left, y=y: aggregate(left, y, 0) * selector_width(left),
            lambda x=x, second=second: indicator(x.is_in((0, second % 5))),
            lambda first=first, second=second, third=third: lookup({0: first % 4, 1: second % 4, 2: third % 4}, token),
        ]
        if division:
            made += [lambda x=x, y=y: x / y, lambda x=x, y=y: x % y]
        one = made[kind % len(made)]()
        if isinstance(one, SOp):
            sops.append(one)
        else:
            selectors.append(one)
    return sops[-1]


if __name__ == "__main__":
    main()
