"""Generated functions, scored by running their tests, as on HumanEval (Chen et al. 2021, arXiv 2107.03374).

A program is the prompt, the model's completion, the test and a call of it. Running what a model wrote is off unless
asked for, and happens only in the sandbox. A program that sets out to deceive its test can: read some that pass.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from sayso.base.errors import UserError
from sayso.judge.answers.sandbox import Limits, Ran, require_isolation, run_program
from sayso.judge.statistics.estimate import Estimate, estimate

COLUMNS = ("task_id", "prompt", "test", "entry_point")


@dataclass(frozen=True)
class CodeProblem:
    """A function to complete, with its test."""

    name: str
    prompt: str
    """The source up to the function's body."""
    test: str
    """Source that defines `check(candidate)`."""
    entry_point: str
    """The function's name."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "CodeProblem":
        """Return the problem of a row of HumanEval; raises `UserError` if a column is missing."""
        missing = [name for name in COLUMNS if name not in row]
        if missing:
            raise UserError(f"A row of HumanEval has {', '.join(COLUMNS)}; this one lacks {', '.join(missing)}.")
        return cls(*(row[name] for name in COLUMNS))

    def program(self, completion: str) -> str:
        """Return the source that raises no exception if the completion is right."""
        return f"{self.prompt}{completion}\n{self.test}\ncheck({self.entry_point})\n"


@dataclass(frozen=True)
class CodeScores:
    """How the programs of all completions ended, by problem."""

    ran: tuple[tuple[Ran, ...], ...]

    def pass_at(self, k: int) -> Estimate:
        """Return pass@k, the mean over problems."""
        each = [pass_at_k(len(one), sum(ran.passed for ran in one), k) for one in self.ran]
        return estimate(each, low=0, high=1)


def judge_code(
    problems: Sequence[CodeProblem],
    completions: Sequence[Sequence[str]],
    *,
    execute: bool = False,
    limits: Limits | None = None,
    workers: int = 1,
) -> CodeScores:
    """Run the completions of each problem, several at a time with `workers`.

    Raises `UserError` without `execute=True`, where the isolation cannot be had, and if the numbers differ.
    """
    if not execute:
        raise UserError("Scoring code runs what a model wrote, in a sandbox; pass execute=True to allow it.")
    if len(problems) != len(completions):
        raise UserError(f"{len(problems)} problems need as many lists of completions, not {len(completions)}.")
    require_isolation()
    programs = [p.program(text) for p, texts in zip(problems, completions, strict=True) for text in texts]
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        ran = pool.map(partial(run_program, limits=limits), programs)
        return CodeScores(tuple(tuple(next(ran) for _ in texts) for texts in completions))


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Return the chance that one or more of k completions, drawn from n without replacement, is among the passed ones.

    This is the unbiased estimator 1 - C(n - passed, k) / C(n, k). Raises `UserError` for k out of 1 to n.
    """
    assert 0 <= passed <= n, f"pass_at_k: {passed} of {n}"
    if not 1 <= k <= n:
        raise UserError(f"pass@k needs k completions or more of each problem; k is {k}, and one has {n}.")
    return 1 - math.comb(n - passed, k) / math.comb(n, k)
