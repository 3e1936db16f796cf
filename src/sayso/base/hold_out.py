"""How much data a run holds out from training, to select its best weights: a share, a number, or a separate file."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from sayso.base.errors import UserError
from sayso.base.ranges import HUGE, Range

HeldOut = Annotated[float, Range(0, HUGE)] | Path
"""Type of the option `--held-out`: a share below 1, a number from 1 on, 0 for nothing, or a file of held-out data."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class HoldOut:
    """How much to hold out of data that is not split yet."""

    size: float
    """A share below 1, or a number from 1 on; 0 = nothing."""
    most: int | None = None
    """Maximum number for a share."""
    fewest: int = 0
    """Minimum number for a share; nothing is held out if it yields fewer."""

    def count(self, total: int, room: int | None = None) -> int:
        """Return how many of `total` different items to hold out; at least one is left for training.

        If the held-out items are not among the `total`, `room` is the number of those available. Raises `UserError` for
        a number that is not an integer or leaves nothing for training.
        """
        most = max(0, total - 1) if room is None else room
        if self.size < 1:
            count = min(round(self.size * total), most, most if self.most is None else self.most)
            return count if count >= self.fewest else 0
        if self.size != int(self.size):
            raise UserError(
                f"--held-out must be a share below 1, an integer, or a file; got {self.size:g}. Round it, or divide it "
                "by 100 if it is a percentage."
            )
        if room is None and total and self.size > most:
            raise UserError(
                f"--held-out must leave something for training; got {int(self.size):,}, and there are {total:,} "
                "different prompts or conversations. Lower it, or pass a share such as 0.1."
            )
        return min(int(self.size), most)

    def split(
        self, items: Iterable[_Item], key: Callable[[_Item], str], rank: Callable[[str], Any] = str
    ) -> tuple[list[_Item], list[_Item]]:
        """Return the items to train on and those held out; items with the same key are on the same side.

        The keys with the lowest `rank` are held out; of equal ranks, the lowest keys.
        """
        items = list(items)
        keys = sorted({key(item) for item in items}, key=lambda one: (rank(one), one))
        return separate(items, keys[: self.count(len(keys))], key)


def separate(
    items: Iterable[_Item], held: Iterable[Hashable], key: Callable[[_Item], Hashable]
) -> tuple[list[_Item], list[_Item]]:
    """Split items into those whose key is not in `held`, and those whose key is."""
    sides: tuple[list[_Item], list[_Item]] = ([], [])
    held = set(held)
    for item in items:
        sides[key(item) in held].append(item)
    return sides


def held_out_file(held_out: float | Path | None) -> Path | None:
    """Return the file of held-out data, or None for a share or number. Raises `UserError` if it does not exist."""
    if not isinstance(held_out, Path):
        return None
    if not held_out.is_file():
        raise UserError(
            f"--held-out must be a share below 1, a number, or an existing file; there is no file '{held_out}'."
        )
    return held_out
