"""Rewards as plain Python functions of prompts and replies.

A reward is `function(prompt, reply, info) -> float`, named on the command line as `file.py:function` or
`module:function`, with a weight behind `=` where several are added up. `prompt` is the list of messages, `info` what
else the prompt's row holds; both are copies, which the function may change. NumPy and torch scalars count as numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

from sayso.align.rl.prompts import Prompt
from sayso.base.errors import UserError, nearest
from sayso.base.functions import is_passed, passed

Function = Callable[[list[dict[str, Any]], str, Mapping[str, Any]], float]
Many = Callable[[Sequence[tuple[list[dict[str, Any]], str, Mapping[str, Any]]]], Sequence[float]]
"""A reward of many prompts and replies at once, as a reward model is."""


@dataclass(frozen=True)
class RewardFunction:
    """One of the rewards that are added up."""

    name: str
    function: Function
    weight: float = 1.0
    many: Many | None = None
    """Called in place of `function` where there are many replies."""


@dataclass(frozen=True)
class Rewarded:
    """What one reply earned."""

    parts: dict[str, float]
    """By reward, before its weight."""
    total: float


def load_rewards(given: Sequence[str]) -> list[RewardFunction]:
    """Return the rewards named as `file.py:function` or `module:function`, each with an optional `=WEIGHT`.

    Raises `UserError` for what cannot be imported, is not there or is no function, and for two of one name.
    """
    return unlike([_load(one) for one in given])


def unlike(rewards: list[RewardFunction]) -> list[RewardFunction]:
    """Return rewards, of which there is one or more, and no two have one name; else raises `UserError`."""
    names = [reward.name for reward in rewards]
    if not rewards:
        raise UserError("--reward is required, such as rewards.py:score or sayso.world.puzzles:score.")
    if len(set(names)) < len(names):
        raise UserError(f"Rewards must have different function names; got {', '.join(names)}.")
    return rewards


def of_many(name: str, many: Many, weight: float = 1.0) -> RewardFunction:
    """Return a reward made of a function of many, such as a reward model's."""
    return RewardFunction(name, lambda prompt, reply, info: many([(prompt, reply, info)])[0], weight, many)


def rewarded(rewards: Sequence[RewardFunction], prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Rewarded]:
    """Return what each of many replies earns; errors as in `reward`."""
    asked = [(prompt.messages, reply, prompt.info) for prompt, reply in zip(prompts, replies, strict=True)]
    together = {one.name: list(one.many(asked)) for one in rewards if one.many is not None}
    found = []
    for number, (prompt, reply_) in enumerate(zip(prompts, replies, strict=True)):
        parts = {
            one.name: _checked(one, together[one.name][number], prompt, reply_)
            if one.name in together
            else _called(one, prompt, reply_)
            for one in rewards
        }
        found.append(Rewarded(parts, sum(one.weight * parts[one.name] for one in rewards)))
    return found


def reward(rewards: Sequence[RewardFunction], prompt: Prompt, reply: str) -> Rewarded:
    """Return what a reply earns.

    Raises `UserError`, with the prompt's line, where a reward raises or gives something else than a finite number.
    """
    parts = {one.name: _called(one, prompt, reply) for one in rewards}
    return Rewarded(parts, sum(one.weight * parts[one.name] for one in rewards))


def _called(one: RewardFunction, prompt: Prompt, reply: str) -> float:
    try:
        value = one.function(deepcopy(prompt.messages), reply, deepcopy(prompt.info))
    except Exception as error:
        where = _where(prompt, reply)
        raise UserError(f"The reward '{one.name}' raised {type(error).__name__}: {error}, {where}.") from error
    return _checked(one, value, prompt, reply)


def _checked(one: RewardFunction, value: object, prompt: Prompt, reply: str) -> float:
    number = _number(value)
    if math.isfinite(number):
        return number
    raise UserError(f"A reward must return a finite number; '{one.name}' returned {value!r} {_where(prompt, reply)}.")


def _number(value: object) -> float:
    """Return a number, or a scalar of NumPy or torch, as a float; NaN for anything else."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    try:
        return float(value) if isinstance(value, Real | Decimal) else math.nan
    except OverflowError:
        return math.inf


def _where(prompt: Prompt, reply: str) -> str:
    return f"for the prompt of line {prompt.number} and the reply {reply[:60]!r}"


def _load(given: str) -> RewardFunction:
    if is_passed(given):
        own = passed(given)
        return RewardFunction(own.__name__, own)
    place, _, factor = given.partition("=")
    source, _, name = place.rpartition(":")
    try:
        weight = float(factor or 1)
    except ValueError:
        weight = math.nan
    if not source or not name or not math.isfinite(weight):
        raise UserError(
            f"A reward must be file.py:function or module:function, with an optional =WEIGHT; got '{given}'."
        )
    module = _module(source, given)
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"'{source}' has no function '{name}', which --reward asks for.{nearest(name, dir(module))}")
    return RewardFunction(name, function, weight)


def _module(source: str, given: str) -> ModuleType:
    try:
        if not source.endswith(".py"):
            return import_module(source)
        spec = spec_from_file_location(Path(source).stem, source)
        assert spec is not None
        assert spec.loader is not None, "a path that ends in .py has a loader"
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except Exception as error:
        raise UserError(f"--reward {given} could not be imported ({type(error).__name__}: {error}).") from error
