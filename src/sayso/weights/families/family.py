"""What a family of models is: its names for our weights, and its config.json for our shapes.

A family's `read` gives the shape that a config.json means or says in a sentence what of it cannot be; its `write` gives
the config.json of a shape as far as the family can say it. Whether it can is for the caller to see, by reading that.
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

Facts = dict[str, Any]  # a config.json
State = dict[str, Tensor]

MOST_LAYERS = 4096
NUMBER = re.compile(r"\.(\d+)\.")


def _as_they_are(state: State) -> State:
    return state


@dataclass(frozen=True)
class Family:
    """One family, as `transformers` writes it."""

    model_type: str
    architecture: str
    names: dict[str, str]
    """Its names of our layers, with N for the number of a block."""
    read: Callable[[Facts], ModelConfig]
    write: Callable[[ModelConfig], Facts]
    pack: Callable[[State], State] = _as_they_are
    """Our weights, still under our names, as the family lays them out."""
    unpack: Callable[[State], State] = _as_they_are
    """The inverse of `pack`."""
    prefix: str = "model."
    """What most of its names begin with, and none where the model was saved without its head."""
    buffers: re.Pattern[str] = re.compile(r".*\.rotary_emb\.inv_freq")
    """Names in older files that are no weights."""
    fused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Layers of its files that are several of ours, by the last parts of our names."""

    def name(self, ours: str) -> str:
        """Return its name of a weight of ours."""
        return _rename(ours, self.names)

    def layer(self, ours: str) -> str:
        """Return its name of a layer of ours."""
        return self.name(f"{ours}.weight").removesuffix(".weight")

    def known(self, state: State, config: ModelConfig) -> State:
        """Return what a file holds of the family's weights: buffers and a second copy of a tied head left out."""
        bare = not any(name.startswith(self.prefix) for name in state)
        named = {f"{self.prefix}{name}" if bare else name: x for name, x in state.items()}
        head, embed = (f"{self.names[layer]}.weight" for layer in ("unembed", "embed"))
        tied = config.tie_embeddings and head in named and embed in named and torch.equal(named[head], named[embed])
        return {
            name: x for name, x in named.items() if not self.buffers.fullmatch(name) and not (tied and name == head)
        }

    def to_hub(self, state: State, config: ModelConfig) -> State:
        """Return our weights as the family's; a tied head is left out, as the hub does."""
        packed = self.pack({name: x for name, x in state.items() if not (_head(name) and config.tie_embeddings)})
        return {self.name(name): x.contiguous() for name, x in packed.items()}

    def from_hub(self, state: State, config: ModelConfig) -> State:
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


def whole(facts: Facts, name: str, default: int | None = None) -> int:
    """Return a whole number of a config.json, or the default where it has none."""
    value = facts.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"A config.json's {name} is a whole number; got {value!r}.")
    return value


def number(facts: Facts, name: str, default: float | None = None) -> float:
    """Return a number of a config.json, or the default where it has none."""
    value = facts.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise UserError(f"A config.json's {name} is a number; got {value!r}.")
    return float(value)


def layer_count(facts: Facts, name: str = "num_hidden_layers") -> int:
    """Return the number of layers of a config.json, which lists are made for."""
    layers = whole(facts, name)
    if not 0 < layers <= MOST_LAYERS:
        raise UserError(f"A config.json's {name} is 1 to {MOST_LAYERS}; got {layers}.")
    return layers


def flag(facts: Facts, name: str, *, default: bool) -> bool:
    """Return a switch of a config.json, or the default where it has none."""
    value = facts.get(name)
    if value is not None and not isinstance(value, bool):
        raise UserError(f"A config.json's {name} is true or false; got {value!r}.")
    return default if value is None else value


def require(facts: Facts, name: str, known: Sequence[Any]) -> None:
    """Refuse a config.json whose `name` is other than the known values, of which the first is the default."""
    value = facts.get(name)
    if value is not None and value not in known:
        said = " or ".join(str(one) for one in known)
        raise UserError(f"A {facts.get('model_type')} model has {name} {said} here; got {value!r}.")


def choice(facts: Facts, name: str, known: dict[str, str], default: str) -> str:
    """Return what a word of a config.json stands for."""
    value = facts.get(name) or default
    if value not in known:
        said = " or ".join(known)
        raise UserError(f"A {facts.get('model_type')} model has {name} {said} here; got {value!r}.")
    return known[value]
