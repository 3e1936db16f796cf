"""A ranking of models from games between their replies, with intervals, on the scale of Elo.

    rating = 1000 + 400 / ln(10) * strength

Takes games (who against whom, and who won), returns each model's rating, its rank and their 95 % intervals. The order
of the games never changes a number. B bootstrap draws, N models.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sayso.base.errors import UserError, nearest
from sayso.judge.arena.bradley_terry import Ints, chances, tiers
from sayso.judge.arena.games import Game, GameRows
from sayso.judge.statistics.estimate import LEVEL, Floats

ELO = 400 / math.log(10)
"""Elo points per nat: a difference of 400 is odds of 10 to 1."""
CENTER = 1000.0
_NO_SPREAD = 1e-6  # Elo points
Ties = Literal["half", "davidson"]


@dataclass(frozen=True)
class Standing:
    """A model's place in the ranking."""

    player: str
    rating: float
    low: float
    """Ends of the 95 % interval of the rating. NaN if unbounded, for the anchor, and if no draw differs: only ties."""
    high: float
    rank: int
    """1 is the best; equal ratings share a rank."""
    best_rank: int
    """Ends of the 95 % interval of the rank."""
    worst_rank: int
    games: float
    """Number of games, by weight."""
    bounded: bool
    """Whether the games determine the rating. A model that won all of its games, or lost all, has no finite maximum of
    the likelihood; its rating is the ridge's, and says only that it is above or below."""
    component: int
    """Models of different components have not met, through any other models, and cannot be compared."""


@dataclass(frozen=True)
class Ranking:
    """The standings, best first within each component, and the largest component first."""

    standings: tuple[Standing, ...]
    tie: float
    """Davidson's log v; -inf if ties are half wins."""

    def chances(self, a: str, b: str) -> tuple[float, float, float]:
        """Return the probabilities that `a` wins, ties, and loses against `b`; NaN if the games do not determine them.

        With ties as half wins, the tie has probability 0, and a win the expected number of points. Raises `UserError`
        for an unknown model.
        """
        one, other = self.of(a), self.of(b)
        if one.component != other.component or not (one.bounded and other.bounded):
            return math.nan, math.nan, math.nan
        win, tie, loss = chances(np.array((one.rating - other.rating) / ELO), np.array(self.tie))
        return float(win), float(tie), float(loss)

    def of(self, player: str) -> Standing:
        """Return a model's standing. Raises `UserError` for an unknown model."""
        known = {one.player: one for one in self.standings}
        if player not in known:
            raise UserError(f"A model must have played; '{player}' has no games.{nearest(player, known)}")
        return known[player]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with null for NaN and infinity."""
        rows = [asdict(one) for one in self.standings]
        rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]
        return {"standings": rows, "tie": self.tie if math.isfinite(self.tie) else None}


def ranking(
    games: Sequence[Game],
    *,
    ties: Ties = "half",
    anchor: str | None = None,
    at: float = CENTER,
    draws: int = 1000,
    seed: int = 0,
) -> Ranking:
    """Return the ranking of the models of some games.

    Ratings are the maximum of the Bradley-Terry likelihood. Ties are half wins, as in Chatbot Arena, or with
    "davidson" outcomes with a probability of their own. The mean rating of each component's largest tier (see
    `bradley_terry.tiers`) is 1000; with an `anchor`, ratings of its component are shifted so that its rating is `at`.

    Intervals of ratings are percentiles of the Bayesian bootstrap (Rubin 1981), which gives each prompt, or each game
    without one, an exponential weight: unlike after resampling, every model keeps all of its games. Intervals of ranks
    count the models that are better or worse by simultaneous intervals of the differences (Mogstad, Romano, Shaikh and
    Wilhelm 2024). Raises `UserError` for invalid games, and for an anchor without games or whose rating is unbounded.
    """
    if ties not in get_args(Ties):
        raise UserError(f"Ties must be counted as one of {', '.join(get_args(Ties))}; got '{ties}'.")
    rows, davidson = GameRows.of(games), ties == "davidson"
    component, tier = tiers(len(rows.players), *rows.wins())
    core = _core(rows, component, tier)
    bounded = core & (np.bincount(tier)[tier] > 1)
    place = None if anchor is None else _anchor(rows.players, bounded, anchor)
    whole = rows.strengths(np.ones((1, rows.units)), component, davidson=davidson)
    drawn = [rows.strengths(part, component, whole, davidson=davidson) for part in rows.weights(draws, seed)]
    ratings = ELO * np.concatenate((whole, *drawn))[:, :-1]
    for number in {*component}:
        here = component == number
        ratings[:, here] += CENTER - ratings[:, here & core].mean(1, keepdims=True)
    if place is not None:
        ratings[:, component == component[place]] += at - ratings[:, [place]]
    return Ranking(tuple(_standings(rows, ratings, component, bounded)), float(whole[0, -1]))


def _core(rows: GameRows, component: Ints, tier: Ints) -> NDArray[np.bool_]:
    """Return which players are in the largest tier of their component, by players, then games, then names; [N]."""
    size = np.bincount(tier, minlength=len(tier))
    first, second = np.array(rows.pairs)[rows.pair].T
    inside = tier[first] == tier[second]
    weight = (rows.weight * rows.counts[rows.unit])[inside]
    games = np.bincount(tier[first][inside], weight, len(tier))
    best = {c: max(np.unique(tier[component == c]), key=lambda t: (size[t], games[t], -t)) for c in {*component}}
    return tier == np.array([best[number] for number in component])


def _anchor(players: Sequence[str], bounded: NDArray[np.bool_], anchor: str) -> int:
    if anchor not in players:
        raise UserError(f"The anchor must be a model with games; got '{anchor}'.{nearest(anchor, players)}")
    place = players.index(anchor)
    if not bounded[place]:
        raise UserError(
            f"The anchor must be a model with a bounded rating, from points won and lost; '{anchor}' has none. Choose "
            "another one."
        )
    return place


def _standings(rows: GameRows, ratings: Floats, component: Ints, bounded: NDArray[np.bool_]) -> list[Standing]:
    """Return the standings of ratings [1 + B, N], the first of which are the estimates."""
    edge = (1 - LEVEL) / 2
    drawn = ratings[1:] if len(ratings) > 1 else ratings
    ends = np.quantile(drawn, (edge, 1 - edge), axis=0)
    low, high = np.where(bounded & (np.ptp(drawn, axis=0) > _NO_SPREAD), ends, np.nan)
    value = np.round(ratings[0], 6)  # equal records have equal ratings, except for rounding
    sizes = Counter(component.tolist())
    numbers = {one: number for number, one in enumerate(sorted(sizes, key=lambda one: (-sizes[one], one)))}
    found = []
    for place, player in enumerate(rows.players):
        rivals = np.flatnonzero((component == component[place]) & (np.arange(len(component)) != place))
        better, worse = _apart(ratings, place, rivals[bounded[rivals]]) if bounded[place] else (0, 0)
        standing = Standing(
            player=player,
            rating=float(ratings[0, place]),
            low=float(low[place]),
            high=float(high[place]),
            rank=1 + int((value[rivals] > value[place]).sum()),
            best_rank=1 + better,
            worst_rank=1 + len(rivals) - worse,
            games=rows.games_of(place),
            bounded=bool(bounded[place]),
            component=numbers[component[place]],
        )
        found.append(standing)
    return sorted(found, key=lambda one: (one.component, one.rank, one.player))


def _apart(ratings: Floats, place: int, rivals: Ints) -> tuple[int, int]:
    """Return how many rivals are better and worse than a player, by simultaneous intervals of the differences."""
    ahead = ratings[:, rivals] - ratings[:, [place]]
    ahead = ahead[:, np.ptp(ahead, axis=0) > _NO_SPREAD]  # draws that do not differ say nothing
    if not ahead.size:
        return 0, 0
    se = ahead[1:].std(0)
    most = np.quantile((np.abs(ahead[1:] - ahead[0]) / se).max(1), LEVEL)
    return int((ahead[0] > most * se).sum()), int((ahead[0] < -most * se).sum())
