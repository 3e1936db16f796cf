"""Puzzles with answers that a program can check, of any difficulty and in any number.

Pure functions of (seed, index, split) return problems with a solution; `score(prompt, reply, info)` scores any reply.
Problems of val and test never occur in train.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .addition import addition_problem, addition_score
from .countdown import countdown_problem, countdown_score
from .types import Make, Problem, PuzzleScore

MAKERS: Mapping[str, Make] = MappingProxyType({"addition": addition_problem, "countdown": countdown_problem})
SCORES: Mapping[str, PuzzleScore] = MappingProxyType({"addition": addition_score, "countdown": countdown_score})


def score(prompt: object, reply: str, info: Mapping[str, Any]) -> float:
    """Return the score of a reply to any puzzle, 0 to 1; `info` names the puzzle."""
    return SCORES[info["puzzle"]](prompt, reply, info)


__all__ = ["MAKERS", "SCORES", "Make", "Problem", "PuzzleScore", "addition_problem", "countdown_problem", "score"]
