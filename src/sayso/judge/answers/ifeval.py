"""IFEval (Zhou et al. 2023, arXiv 2311.07911): whether replies follow instructions that a program can check.

Takes the data set's rows, as they are published, and a reply to each; gives the paper's four accuracies. Strict scoring
takes the reply as it is; loose scoring also accepts it without its first line, its last line, and asterisks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sayso.base.errors import UserError
from sayso.judge.answers.ifeval_rules import instruction
from sayso.judge.statistics.estimate import Estimate, estimate, ratio

COLUMNS = ("key", "prompt", "instruction_id_list", "kwargs")


@dataclass(frozen=True)
class IfevalAnswer:
    """Which of a prompt's instructions one reply follows."""

    key: int
    instructions: tuple[str, ...]
    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


@dataclass(frozen=True)
class IfevalScores:
    """The verdicts on all replies, in the order of the rows."""

    answers: tuple[IfevalAnswer, ...]

    def prompts(self, *, loose: bool = False) -> Estimate:
        """Return the share of prompts all of whose instructions are followed."""
        return estimate([float(all(_verdicts(answer, loose))) for answer in self.answers], low=0, high=1)

    def instructions(self, *, loose: bool = False) -> Estimate:
        """Return the share of instructions that are followed; the standard error takes prompts as the sampled unit."""
        given = [_verdicts(answer, loose) for answer in self.answers]
        return ratio([float(sum(one)) for one in given], [float(len(one)) for one in given])

    def kinds(self, *, loose: bool = False) -> dict[str, Estimate]:
        """Return the share followed of each kind of instruction, by name."""
        found: dict[str, list[float]] = {}
        for answer in self.answers:
            for name, follows in zip(answer.instructions, _verdicts(answer, loose), strict=True):
                found.setdefault(name, []).append(float(follows))
        return {name: estimate(found[name], low=0, high=1) for name in sorted(found)}


def judge_ifeval(rows: Sequence[Mapping[str, Any]], replies: Sequence[str]) -> IfevalScores:
    """Score a reply to each row; a row has `key`, `prompt`, `instruction_id_list` and `kwargs`, a mapping for each.

    Raises `UserError` if their numbers differ, and for rows that are not like that.
    """
    if len(rows) != len(replies):
        raise UserError(f"IFEval needs one reply for each row, not {len(replies)} replies for {len(rows)} rows.")
    return IfevalScores(tuple(judge_row(row, reply) for row, reply in zip(rows, replies, strict=True)))


def judge_row(row: Mapping[str, Any], reply: str) -> IfevalAnswer:
    """Score the reply to one row; a blank reply follows nothing."""
    checks = check_row(row)
    strict = tuple(check(reply) for check in checks)
    forms = variants(reply)
    loose = tuple(done or any(map(check, forms)) for done, check in zip(strict, checks, strict=True))
    return IfevalAnswer(row["key"], tuple(row["instruction_id_list"]), strict, loose)


def check_row(row: Mapping[str, Any]) -> list[Callable[[str], bool]]:
    """Return the check of each instruction of a row. Raises `UserError` for a row that is not one of IFEval."""
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise UserError(f"A row of IFEval has {', '.join(COLUMNS)}; this one lacks {', '.join(missing)}.")
    names, values = row["instruction_id_list"], row["kwargs"]
    if len(names) != len(values):
        raise UserError(
            f"Row {row['key']} of IFEval needs one entry of 'kwargs' for each of its {len(names)} instructions, not "
            f"{len(values)}."
        )
    return [instruction(*pair) for pair in zip(names, values, strict=True)]


def variants(reply: str) -> list[str]:
    """Return the eight forms of a reply for loose scoring: first line, last line and asterisks each kept or removed."""
    lines = reply.split("\n")
    cut = {(0, 0): reply} | {(i, j): "\n".join(lines[i : len(lines) - j]).strip() for i, j in ((0, 1), (1, 0), (1, 1))}
    return [cut[i, j].replace("*", "") if bare else cut[i, j] for i, j, bare in product((0, 1), (0, 1), (False, True))]


def _verdicts(answer: IfevalAnswer, loose: bool) -> tuple[bool, ...]:
    return answer.loose if loose else answer.strict
