"""Rewards as plain Python functions of prompts and replies.

A reward is `function(prompt, reply, info) -> float`, given on the command line as `file.py:function` or
`module:function`, with an optional `=WEIGHT`; several are summed. `prompt` is the list of messages and `info` has the
other fields of the prompt's row; both are copies, which the function may change. The result may be a scalar of NumPy or
torch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

from sayso.align.rl.prompts import Prompt
from sayso.base.errors import UserError
from sayso.base.functions import imported, is_passed, passed

Function = Callable[[list[dict[str, Any]], str, Mapping[str, Any]], float]
Many = Callable[[Sequence[tuple[list[dict[str, Any]], str, Mapping[str, Any]]]], Sequence[float]]
"""A reward of many prompts and replies at once, such as a reward model."""


@dataclass(frozen=True)
class RewardFunction:
    """One of the rewards that are summed."""

    name: str
    function: Function
    weight: float = 1.0
    many: Many | None = None
    """Called instead of `function` for many replies."""


@dataclass(frozen=True)
class Rewarded:
    """The rewards of a reply."""

    parts: dict[str, float]
    """Each reward by name, before its weight."""
    total: float


def load_rewards(names: Sequence[str]) -> list[RewardFunction]:
    """Return the rewards named `file.py:function` or `module:function`, each with an optional `=WEIGHT`.

    Raises `UserError` for a module that cannot be imported, for one without the function, and for equal names.
    """
    return distinct([_load(name) for name in names])


def distinct(rewards: list[RewardFunction]) -> list[RewardFunction]:
    """Return the rewards. Raises `UserError` if there are none, or if two have the same name."""
    names = [reward.name for reward in rewards]
    if not rewards:
        raise UserError("--reward is required, such as rewards.py:score or sayso.world.puzzles:score.")
    if len(set(names)) < len(names):
        raise UserError(f"Rewards must have different function names; got {', '.join(names)}.")
    return rewards


def of_many(name: str, many: Many, weight: float = 1.0) -> RewardFunction:
    """Return a reward that is computed for many replies at once."""
    return RewardFunction(name, lambda prompt, reply, info: many([(prompt, reply, info)])[0], weight, many)


def rewarded(rewards: Sequence[RewardFunction], prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Rewarded]:
    """Return the rewards of many replies. Raises `UserError` as `reward` does."""
    items = [(prompt.messages, reply, prompt.info) for prompt, reply in zip(prompts, replies, strict=True)]
    batched = {one.name: list(one.many(items)) for one in rewards if one.many is not None}
    return [
        _summed(
            rewards,
            {
                one.name: _checked(one, batched[one.name][number], prompt, reply)
                if one.name in batched
                else _called(one, prompt, reply)
                for one in rewards
            },
        )
        for number, (prompt, reply) in enumerate(zip(prompts, replies, strict=True))
    ]


def reward(rewards: Sequence[RewardFunction], prompt: Prompt, reply: str) -> Rewarded:
    """Return the rewards of a reply.

    Raises `UserError`, with the prompt's line, if a reward raises an exception or does not return a finite number.
    """
    return _summed(rewards, {one.name: _called(one, prompt, reply) for one in rewards})


def _summed(rewards: Sequence[RewardFunction], parts: dict[str, float]) -> Rewarded:
    return Rewarded(parts, sum(one.weight * parts[one.name] for one in rewards))


def _called(one: RewardFunction, prompt: Prompt, reply: str) -> float:
    try:
        value = one.function(deepcopy(prompt.messages), reply, deepcopy(prompt.info))
    except Exception as error:
        where = _where(prompt, reply)
        raise UserError(f"The reward '{one.name}' raised {type(error).__name__} {where}: {error}.") from error
    return _checked(one, value, prompt, reply)


def _checked(one: RewardFunction, value: object, prompt: Prompt, reply: str) -> float:
    number = _number(value)
    if math.isfinite(number):
        return number
    raise UserError(f"A reward must return a finite number; '{one.name}' returned {value!r} {_where(prompt, reply)}.")


def _number(value: object) -> float:
    """Return a number or a scalar of NumPy or torch as a float; NaN for anything else."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    try:
        return float(value) if isinstance(value, Real | Decimal) else math.nan
    except OverflowError:
        return math.inf


def _where(prompt: Prompt, reply: str) -> str:
    return f"for the prompt in line {prompt.number} and the reply {reply[:60]!r}"


def _load(given: str) -> RewardFunction:
    if is_passed(given):
        own = passed(given)
        return RewardFunction(own.__name__, own)
    path, _, factor = given.partition("=")
    source, _, name = path.rpartition(":")
    try:
        weight = float(factor or 1)
    except ValueError:
        weight = math.nan
    if not source or not name or not math.isfinite(weight):
        raise UserError(
            f"A reward must be file.py:function or module:function, with an optional =WEIGHT; got '{given}'."
        )
    return RewardFunction(name, imported(source, name, f"--reward {given}"), weight)
