"""What a gate requires of a candidate: a rule for each requirement, with its default; read from TOML."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError, nearest


@dataclass(frozen=True)
class Tasks:
    """No task may be worse than with the current model."""

    alpha: float = 0.05
    """Probability of refusing an equal model, over all tasks together (Holm)."""
    margin: float = 0.05
    """The interval of the mean difference over all tasks must exclude a loss of this size."""


@dataclass(frozen=True)
class BitsPerByte:
    """The most that held-out text may cost more, in bits per byte."""

    real: float = 0.05
    smallworld: float = 0.05


@dataclass(frozen=True)
class Preference:
    """A judge's win rate of the candidate at equal length, from `sayso judge CURRENT CANDIDATE`."""

    above: float = 0.5
    """The whole interval must lie above this."""
    required: bool = False
    """Whether the gate needs it; otherwise, only an interval wholly below counts, against the candidate."""


@dataclass(frozen=True)
class Cases:
    """Every confirmed misbehaviour must be fixed, or no worse than with the current model."""

    worse: float = 0
    """The most cases that may be answered badly by the candidate and well by the current model."""
    fixed: float = 0
    """The least share of the cases that the candidate must answer well."""


@dataclass(frozen=True)
class Behaviour:
    """Safe prompts must be answered, unsafe ones refused, and right answers kept, no worse than before."""

    alpha: float = 0.05
    """Probability of refusing an equal model, over all of these together (Holm)."""
    margin: float = 0.1
    """With `required`, each interval must exclude a loss of this size."""
    required: bool = False
    """Whether the gate needs these results; otherwise, only a loss counts, against the candidate."""


@dataclass(frozen=True)
class Divergence:
    """How far the candidate may be from the current model on held-out conversations."""

    most: float = 0
    """Mean Kullback-Leibler divergence in nats per token of the replies; 0 = any."""


@dataclass(frozen=True)
class Speed:
    """How much slower the candidate may be, in the same run."""

    least: float = 0
    """Its tokens per second, as a share of the current model's; 0 = any."""


@dataclass(frozen=True)
class Memory:
    """How much more memory the candidate may take."""

    most: float = 0
    """Bytes of its weights and of the cache of a full context, as a share of the current model's; 0 = any."""


@dataclass(frozen=True)
class Gate:
    """All requirements."""

    tasks: Tasks = field(default_factory=Tasks)
    bits_per_byte: BitsPerByte = field(default_factory=BitsPerByte)
    preference: Preference = field(default_factory=Preference)
    cases: Cases = field(default_factory=Cases)
    behaviour: Behaviour = field(default_factory=Behaviour)
    kl: Divergence = field(default_factory=Divergence)
    speed: Speed = field(default_factory=Speed)
    memory: Memory = field(default_factory=Memory)


_TABLES: dict[str, Any] = {
    "tasks": Tasks,
    "bits_per_byte": BitsPerByte,
    "preference": Preference,
    "cases": Cases,
    "behaviour": Behaviour,
    "kl": Divergence,
    "speed": Speed,
    "memory": Memory,
}


def read_gate(path: Path) -> Gate:
    """Read requirements from a TOML file; what it leaves out has its default.

    Raises `UserError` for a file that is not TOML, an unknown requirement, and a value that is none.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"A gate must be readable TOML; '{path}' is not: {reason}.") from error
    made: dict[str, Any] = {}
    for name, values in data.items():
        if name not in _TABLES or not isinstance(values, dict):
            raise UserError(
                f"A gate has the tables {', '.join(_TABLES)}; got '{name}' in '{path}'.{nearest(name, _TABLES)}"
            )
        made[name] = _table(path, name, values)
    return Gate(**made)


def _table(path: Path, name: str, values: Mapping[str, Any]) -> Any:
    kind = _TABLES[name]
    known = {one.name: one.type for one in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise UserError(
                f"[{name}] of a gate has the requirements {', '.join(known)}; got '{key}' in '{path}'."
                f"{nearest(key, known)}"
            )
        if known[key] is bool:
            if not isinstance(value, bool):
                raise UserError(f"'{key}' of a gate must be true or false; got {value!r} in '{path}'.")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise UserError(f"'{key}' of a gate must be a number from 0; got {value!r} in '{path}'.")
        elif key in ("alpha", "margin", "above") and not 0 < value < 1:
            raise UserError(f"'{key}' of a gate must be a number between 0 and 1; got {value} in '{path}'.")
        elif key == "fixed" and value > 1:
            raise UserError(f"'fixed' of a gate must be a share from 0 to 1; got {value} in '{path}'.")
    return kind(**values)
