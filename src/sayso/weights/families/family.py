"""A model family: its names of our weights, and its config.json for our shapes.

`read` returns the shape in a config.json, or raises `UserError` for unsupported settings. `write` returns the
config.json of a shape, as far as the family can express it; the caller checks the result by reading it.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model import ModelConfig

HubConfig = dict[str, Any]  # a config.json
StateDict = dict[str, Tensor]

MOST_LAYERS = 4096
NUMBER = re.compile(r"\.(\d+)\.")


def _unchanged(state: StateDict) -> StateDict:
    return state


@dataclass(frozen=True)
class Family:
    """One family, as `transformers` defines it."""

    model_type: str
    architecture: str
    names: dict[str, str]
    """The family's names of our layers, with N for the block number."""
    read: Callable[[HubConfig], ModelConfig]
    write: Callable[[ModelConfig], HubConfig]
    pack: Callable[[StateDict], StateDict] = _unchanged
    """Convert our weights, still under our names, to the family's layout."""
    unpack: Callable[[StateDict], StateDict] = _unchanged
    """The inverse of `pack`."""
    prefix: str = "model."
    """Prefix of most names; missing in models saved without a head."""
    buffers: re.Pattern[str] = re.compile(r".*\.rotary_emb\.inv_freq")
    """Names of tensors in older files that are not weights."""
    fused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Layers of its files that combine several of ours, by the last part of the names."""

    def name(self, ours: str) -> str:
        """Return the family's name of one of our weights."""
        return _rename(ours, self.names)

    def layer(self, ours: str) -> str:
        """Return the family's name of one of our layers."""
        return self.name(f"{ours}.weight").removesuffix(".weight")

    def known(self, state: StateDict, config: ModelConfig) -> StateDict:
        """Return a file's tensors with complete names, without buffers and copies of a tied head."""
        bare = not any(name.startswith(self.prefix) for name in state)
        named = {f"{self.prefix}{name}" if bare else name: x for name, x in state.items()}
        head, embed = (f"{self.names[layer]}.weight" for layer in ("unembed", "embed"))
        tied = config.tie_embeddings and head in named and embed in named and torch.equal(named[head], named[embed])
        return {
            name: x for name, x in named.items() if not self.buffers.fullmatch(name) and not (tied and name == head)
        }

    def to_hub(self, state: StateDict, config: ModelConfig) -> StateDict:
        """Return our weights as the family's; a tied head is omitted, as on the hub."""
        packed = self.pack({name: x for name, x in state.items() if not (_head(name) and config.tie_embeddings)})
        return {self.name(name): x.contiguous() for name, x in packed.items()}

    def from_hub(self, state: StateDict, config: ModelConfig) -> StateDict:
        """Return the family's weights as ours; the inverse of `to_hub`."""
        table = {theirs: ours for ours, theirs in self.names.items()}
        ours = self.unpack({_rename(name, table): x for name, x in state.items()})
        return ours | ({"unembed.weight": ours["embed.weight"]} if config.tie_embeddings else {})


def _head(name: str) -> bool:
    return name.startswith("unembed.")


def _rename(name: str, table: dict[str, str]) -> str:
    layer, _, kind = name.rpartition(".")
    number = NUMBER.search(f"{layer}.")
    if number is None:
        return f"{table[layer]}.{kind}"
    general = f"{layer}.".replace(number.group(), ".N.", 1).rstrip(".")
    return f"{table[general]}.{kind}".replace(".N.", number.group(), 1)


def integer(facts: HubConfig, name: str, default: int | None = None) -> int:
    """Return an integer from a config.json, or the default if it is missing."""
    value = facts.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"{name} in config.json must be an integer; got {value!r}.")
    return value


def number(facts: HubConfig, name: str, default: float | None = None) -> float:
    """Return a number from a config.json, or the default if it is missing."""
    value = facts.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise UserError(f"{name} in config.json must be a number; got {value!r}.")
    return float(value)


def layer_count(facts: HubConfig, name: str = "num_hidden_layers") -> int:
    """Return the number of layers in a config.json, which is limited because lists of that length are allocated."""
    layers = integer(facts, name)
    if not 0 < layers <= MOST_LAYERS:
        raise UserError(f"{name} in config.json must be 1 to {MOST_LAYERS}; got {layers}.")
    return layers


def flag(facts: HubConfig, name: str, *, default: bool) -> bool:
    """Return a boolean from a config.json, or the default if it is missing."""
    value = facts.get(name)
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{name} in config.json must be true or false; got {value!r}.")
    return default if value is None else value


def require_fields(facts: HubConfig, name: str, known: Sequence[Any]) -> None:
    """Raise `UserError` if a config.json sets `name` to a value other than the known ones."""
    value = facts.get(name)
    if value is not None and value not in known:
        supported = " or ".join(str(one) for one in known)
        raise UserError(f"For {facts.get('model_type')} models, Sayso supports {name} {supported}; got {value!r}.")


def one_of(facts: HubConfig, name: str, known: dict[str, str], default: str) -> str:
    """Return our value for a string in a config.json."""
    value = facts.get(name) or default
    if value not in known:
        supported = " or ".join(known)
        raise UserError(f"For {facts.get('model_type')} models, Sayso supports {name} {supported}; got {value!r}.")
    return known[value]
