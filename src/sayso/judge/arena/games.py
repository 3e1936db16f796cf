"""Games between models in a canonical form, which does not depend on their order.

Takes games, returns rows of equal ones, the weights of bootstrap draws, and fitted strengths. B draws, N models,
R rows, U units: prompts with the same games, or equal games without a prompt.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sayso.base.errors import UserError
from sayso.judge.arena.bradley_terry import Ints, Points, strengths
from sayso.judge.statistics.estimate import Floats

_AT_ONCE = 1 << 22  # numbers per array of bootstrap draws, to limit memory


@dataclass(frozen=True, order=True)
class Game:
    """One comparison of two models."""

    a: str
    b: str
    result: float
    """1 if `a` won, 0 if `b` won, 0.5 for a tie."""
    weight: float = 1.0
    prompt: str | None = None
    """Games with the same prompt are resampled together; None = independent of all others."""


@dataclass(frozen=True)
class GameRows:
    """Distinct games in a canonical order, [R]: by pair of players, lower number first."""

    players: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    pair: Ints
    """Index in `pairs` of each row, ascending."""
    unit: Ints
    """What is resampled: the kind of prompt, or of game without one."""
    result: Floats
    weight: Floats
    counts: Floats
    """Number of prompts or games of each unit, [U]."""

    @classmethod
    def of(cls, games: Sequence[Game]) -> "GameRows":
        """Collect equal games, and equal prompts, as Chatbot Arena does. Raises `UserError` for invalid games."""
        if not games:
            raise UserError("A ranking needs at least one game; got none.")
        for game in games:
            _check(game)
        players = tuple(sorted({name for game in games for name in (game.a, game.b)}))
        number = {name: place for place, name in enumerate(players)}
        together: dict[object, list[tuple[int, int, float, float]]] = {}
        for place, game in enumerate(games):
            a, b, result = number[game.a], number[game.b], float(game.result)
            row = (a, b, result, game.weight) if a < b else (b, a, 1 - result, game.weight)
            together.setdefault(place if game.prompt is None else game.prompt, []).append(row)
        units = Counter(tuple(sorted(rows)) for rows in together.values())
        ordered = sorted(units)
        rows = sorted((row[:2], unit, row[2:]) for unit, content in enumerate(ordered) for row in content)
        pairs = sorted({pair for pair, _, _ in rows})
        place_of = {pair: place for place, pair in enumerate(pairs)}
        result, weight = np.array([row for _, _, row in rows], np.float64).T
        return cls(
            players,
            tuple(pairs),
            np.array([place_of[pair] for pair, _, _ in rows]),
            np.array([unit for _, unit, _ in rows]),
            result,
            weight,
            np.array([units[unit] for unit in ordered], np.float64),
        )

    @property
    def units(self) -> int:
        """The number U of units."""
        return len(self.counts)

    def wins(self) -> tuple[Ints, Ints]:
        """Return the winner and the loser of each row; a tie is a win of both."""
        first, second = np.array(self.pairs)[self.pair].T
        won, lost = self.result > 0, self.result < 1
        return np.concatenate((first[won], second[lost])), np.concatenate((second[won], first[lost]))

    def games_of(self, player: int) -> float:
        """Return the weight of a player's games."""
        own = np.array([player in pair for pair in self.pairs])
        return float((self.weight * self.counts[self.unit])[own[self.pair]].sum())

    def weights(self, draws: int, seed: int) -> Iterator[Floats]:
        """Yield factors of the units [b, U] in parts of all draws; each unit's sum of exponentials is a gamma."""
        random, done = np.random.default_rng(seed), 0
        most = max(1, _AT_ONCE // max(len(self.pair), len(self.players) ** 2))
        while done < draws:
            size = min(most, draws - done)
            drawn = random.standard_gamma(self.counts, (size, self.units))
            yield drawn / drawn.sum(1, keepdims=True) * self.counts.sum() / self.counts
            done += size

    def strengths(self, factors: Floats, component: Ints, start: Floats | None = None, *, davidson: bool) -> Floats:
        """Return the strengths and log v [B, N + 1], as `bradley_terry.strengths`, for factors [B, U] of the units."""
        weight = factors[:, self.unit] * (self.weight * self.counts[self.unit])
        starts = np.searchsorted(self.pair, np.arange(len(self.pairs)))
        total, points, ties = (
            np.add.reduceat(weight * part, starts, axis=1) for part in (1.0, self.result, self.result == 0.5)
        )
        first, second = np.array(self.pairs).T
        return strengths(Points(first, second, points, ties, total), component, start, davidson=davidson)


def _check(game: Game) -> None:
    """Raise `UserError` for an invalid game."""
    if game.a == game.b:
        raise UserError(f"A game must be between two different models; got '{game.a}' against itself.")
    if game.result not in (0, 0.5, 1):
        raise UserError(f"The result of a game must be 1, 0 or 0.5; got {game.result!r} for '{game.a}' and '{game.b}'.")
    if not 0 < game.weight < math.inf:
        raise UserError(f"The weight of a game must be positive and finite; got {game.weight!r}.")
