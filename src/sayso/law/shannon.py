"""Shannon's approximations to a language: text in which letters or words follow each other as they do in an example.

Order 0 draws letters uniformly, order 1 by their frequency, order n by what followed the n - 1 letters before
(Shannon 1948, section 3). Takes an example text, returns samples.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

from sayso.base.errors import UserError

Unit = Literal["letters", "words"]


def approximation(text: str, order: int, unit: Unit = "letters", length: int = 80, *, seed: int = 0) -> str:
    """Return about `length` letters, or `length` / 6 words, that follow each other as in a text.

    Raises `UserError` for a text shorter than the order.
    """
    parts: Sequence[str] = text if unit == "letters" else text.split()
    if len(parts) <= max(1, order):
        raise UserError(f"An approximation of order {order} needs more than {max(1, order)} {unit}; got {len(parts)}.")
    rng, count = random.Random(seed), length if unit == "letters" else max(1, length // 6)
    drawn = rng.choices(sorted({*parts}), k=count) if order == 0 else _drawn(parts, order, count, rng)
    return ("" if unit == "letters" else " ").join(drawn)


def _drawn(parts: Sequence[str], order: int, count: int, rng: random.Random) -> list[str]:
    """Return parts drawn by what followed the `order` - 1 parts before; where nothing did, it begins anew."""
    follows: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for at in range(len(parts) - order + 1):
        follows[tuple(parts[at : at + order - 1])][parts[at + order - 1]] += 1
    starts, made = list(follows), list[str]()
    while len(made) < count:
        context = tuple(made[len(made) - order + 1 :]) if order > 1 else ()
        if context not in follows:
            made += rng.choice(starts)
            continue
        options = follows[context]
        made += rng.choices(list(options), list(options.values()))
    return made[:count]
