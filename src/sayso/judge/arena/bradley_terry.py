"""Strengths of players from the games between them (Bradley and Terry 1952), with ties as half wins or Davidson's.

    P(a wins) : P(tie) : P(b wins) = exp(d / 2) : v : exp(-d / 2)        d = s[a] - s[b], v = 0 for ties as half wins

Takes points per pair of players, returns the strengths s at the maximum of the likelihood. B data sets at once, P pairs
that played, N players.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sayso.judge.statistics.estimate import Floats

RIDGE = 1e-3
"""Factor, in games, of half the sum of squared parameters, which is added to the loss.

It makes the maximum finite and unique, and the mean strength 0. Where the maximum is finite without it, it moves a
rating by a fraction of an Elo point.
"""
_STEPS = 500
_EXACT = 1e-10  # change of a strength at which the maximum is found
_CLOSE = 1e-6  # the same if rounding stops progress
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """The games of each pair of players, in `weights` of games; the rows are data sets with the same pairs."""

    first: Ints
    """The lower player number of each pair, [P]; each pair occurs once."""
    second: Ints
    """The higher player number of each pair, [P]."""
    points: Floats
    """Wins of the first player plus half of the ties, [B, P]."""
    ties: Floats
    """Number of ties, [B, P]."""
    total: Floats
    """Number of games, [B, P]."""


def chances(difference: Floats, tie: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the probabilities of a win, a tie and a loss, for differences of strength d and log v (-inf: no ties)."""
    scores = np.stack(np.broadcast_arrays(difference / 2, tie, -difference / 2))
    odds = np.exp(scores - scores.max(0))
    win, tied, loss = odds / odds.sum(0)
    return win, tied, loss


def strengths(data: Points, component: Ints, start: Floats | None = None, *, davidson: bool = False) -> Floats:
    """Return the strengths in nats, with mean 0 in each component (see `tiers`), and log v: [B, N + 1].

    With `davidson`, ties are outcomes of their own with a parameter v (Davidson 1970); otherwise log v is -inf. The
    loss is convex. Newton's steps are damped by log(1 + r) / r, r bounding the change of an exponent, with which they
    reach the minimum from any `start`, [B, N + 1] (generalized self-concordance: Sun and Tran-Dinh 2019, nu = 2).
    """
    if start is None:
        start = np.append(np.zeros(len(component)), 0 if davidson else -np.inf)
    found = np.tile(start, (len(data.total) // len(np.atleast_2d(start)), 1))
    same = component[:, None] == component
    change = np.inf
    for _ in range(_STEPS):
        step = _newton_step(data, found, davidson)
        step[:, :-1] -= step[:, :-1] @ (same / same.sum(0))  # only rounding: the ridge keeps the means at 0
        reach = np.ptp(step[:, :-1], axis=1) + np.abs(step[:, -1])
        found -= (np.log1p(reach) / np.where(reach > 0, reach, 1))[:, None] * step
        change, before = float(reach.max()), change
        if change < _EXACT or before <= change < _CLOSE:
            return found
    raise AssertionError("Newton's method has not converged")


def _newton_step(data: Points, found: Floats, davidson: bool) -> Floats:
    """Return the inverse Hessian times the gradient of the loss at strengths and log v [B, N + 1]."""
    rows, size = found.shape
    a, b = data.first, data.second
    win, tied, _ = chances(found[:, a] - found[:, b], found[:, -1:])
    mean = win + tied / 2
    excess = data.total * mean - data.points
    spread = data.total * (win + tied / 4 - mean**2)  # variance of the points
    gradient = RIDGE * np.where(np.isfinite(found), found, 0)
    hessian = np.zeros((rows, size, size))
    hessian[:, a, b] = hessian[:, b, a] = -spread
    diagonal = np.arange(size)
    hessian[:, diagonal, diagonal] = RIDGE - hessian.sum(2)
    signs = np.zeros((len(a), size))
    signs[np.arange(len(a)), a], signs[np.arange(len(a)), b] = 1, -1
    gradient += excess @ signs
    if davidson:
        gradient[:, -1] += (data.total * tied - data.ties).sum(1)
        cross = (data.total * (tied / 2 - mean * tied)) @ signs  # covariance of points and ties
        hessian[:, -1, :] += cross
        hessian[:, :, -1] += cross
        hessian[:, -1, -1] = RIDGE + (data.total * tied * (1 - tied)).sum(1)
    return np.asarray(np.linalg.solve(hessian, gradient[..., None])[..., 0])


def tiers(players: int, winners: Ints, losers: Ints) -> tuple[Ints, Ints]:
    """Return the component and the tier of each player, [N] each, as the lowest player number in it.

    Strengths are comparable within a component, players connected by games. They are finite without the ridge only
    within a tier: players of whom each beat the others, through any number of games (Ford 1957). A tie is a win of
    both. `winners` and `losers` are player numbers, one of each per game.
    """
    beats = np.eye(players, dtype=bool)
    beats[winners, losers] = True
    games, chains = _closure(beats | beats.T), _closure(beats)
    return games.argmax(1), (chains & chains.T).argmax(1)


def _closure(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which players are connected by any number of edges, bool [N, N]; every player has an edge to itself."""
    reach = edges
    while True:
        further = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
        if (further == reach).all():
            return reach
        reach = further
