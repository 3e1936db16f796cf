"""Rewards as plain Python functions: prompts and replies enter, numbers leave.

A reward is `function(prompt, reply, info) -> float`, named on the command line as `file.py:function` or
`module:function`, with a weight behind `=` where several are added up. `prompt` is the list of messages, `info` what
else the prompt's row holds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from sayso.align.prompts import Prompt
from sayso.base.errors import UserError, nearest

Function = Callable[[list[dict[str, Any]], str, Mapping[str, Any]], float]


@dataclass(frozen=True)
class Reward:
    """One of the rewards that are added up."""

    name: str
    function: Function
    weight: float = 1.0


@dataclass(frozen=True)
class Rewarded:
    """What one reply earned."""

    parts: dict[str, float]
    """By reward, before its weight."""
    total: float


def load_rewards(given: Sequence[str]) -> list[Reward]:
    """Return the rewards named as `file.py:function` or `module:function`, each with an optional `=WEIGHT`.

    Raises `UserError` for what cannot be imported, is not there or is no function, and for two of one name.
    """
    rewards = [_load(one) for one in given]
    names = [reward.name for reward in rewards]
    if not rewards:
        raise UserError("Practising needs a --reward, such as rewards.py:score or sayso.text.puzzles:score.")
    if len(set(names)) < len(names):
        raise UserError(f"Two rewards have different function names, by which they are told; got {', '.join(names)}.")
    return rewards


def reward(rewards: Sequence[Reward], prompt: Prompt, reply: str) -> Rewarded:
    """Return what a reply earns.

    Raises `UserError`, with the prompt's line, where a reward raises or gives something else than a finite number.
    """
    parts = {one.name: _called(one, prompt, reply) for one in rewards}
    return Rewarded(parts, sum(one.weight * parts[one.name] for one in rewards))


def _called(one: Reward, prompt: Prompt, reply: str) -> float:
    where = f"for the prompt of line {prompt.number} and the reply {reply[:60]!r}"
    try:
        value = one.function(prompt.messages, reply, prompt.info)
    except Exception as error:
        raise UserError(f"The reward '{one.name}' raised {type(error).__name__}: {error}, {where}.") from error
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    raise UserError(f"A reward gives a finite number; '{one.name}' gave {value!r} {where}.")


def _load(given: str) -> Reward:
    place, _, factor = given.partition("=")
    source, _, name = place.rpartition(":")
    try:
        weight = float(factor or 1)
    except ValueError:
        weight = math.nan
    if not source or not name or not math.isfinite(weight):
        raise UserError(f"A reward is file.py:function or module:function, with =WEIGHT if need be; got '{given}'.")
    module = _module(source, given)
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"'{source}' has no function '{name}', which --reward asks for.{nearest(name, dir(module))}")
    return Reward(name, function, weight)


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
