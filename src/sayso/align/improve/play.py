"""Plays many games of a policy against opponents in parallel.

A player takes positions and returns a move for each, as text. An illegal move loses the game, so that the policy learns
the rules too. All games advance one move at a time, in one batch per player.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling
from sayso.world.puzzles import tictactoe

Player = Callable[[Sequence[str]], list[str]]
"""Takes positions and returns a move for each."""
PRIOR_GAMES = 1.0  # draws added to the outcomes of every move, so that a single win does not make it a good one


@dataclass(frozen=True)
class Played:
    """A game that the policy played."""

    moves: tuple[tuple[str, str], ...]
    """Positions in which the policy moved, with its moves."""
    outcome: float
    """1 for a win of the policy, 0.5 for a draw, 0 for a loss."""
    illegal: bool
    """Whether the policy lost by an illegal move."""


def random_player(draw: Random) -> Player:
    """Return a player that takes a random free cell."""
    return lambda games: [draw.choice(tictactoe.free(game)) for game in games]


def perfect_player(draw: Random, errors: float = 0.0) -> Player:
    """Return a player that plays optimally, except for a share of `errors` random moves."""
    return lambda games: [
        draw.choice(tictactoe.free(game) if draw.random() < errors else tictactoe.best(game)) for game in games
    ]


def policy_player(replier: Replier, seed: int, temperature: float = 1.0) -> Player:
    """Return a player that samples moves from a model; temperature 0 is greedy."""
    draw = Random(seed)

    def move(games: Sequence[str]) -> list[str]:
        prompts = [tictactoe.move_prompt(tictactoe.board(game)) for game in games]
        sampling = Sampling(temperature=temperature, max_tokens=2, seed=draw.getrandbits(32))
        return [one.text for one in replier.replies(prompts, sampling)]

    return move


def play(policy: Player, opponents: Sequence[Player], games: int) -> list[Played]:
    """Play games against the opponents in turn; the policy moves first in half of those against each."""
    boards = [""] * games
    starts = [number // len(opponents) % 2 == 0 for number in range(games)]
    moves: list[list[tuple[str, str]]] = [[] for _ in boards]
    outcomes: dict[int, tuple[float, bool]] = {}
    for ply in range(9):
        running = [number for number in range(games) if number not in outcomes]
        mine = [number for number in running if starts[number] == (ply % 2 == 0)]
        for number, move in zip(mine, policy([boards[n] for n in mine]) if mine else [], strict=True):
            moves[number].append((boards[number], move))
            _make_move(boards, number, move, outcomes, mine=True)
        for place, opponent in enumerate(opponents):
            theirs = [n for n in running if n % len(opponents) == place and starts[n] != (ply % 2 == 0)]
            for number, move in zip(theirs, opponent([boards[n] for n in theirs]) if theirs else [], strict=True):
                _make_move(boards, number, move, outcomes, mine=False)
    return [Played(tuple(moves[number]), *outcomes[number]) for number in range(games)]


def better_moves(games: Sequence[Played], least: float = 0.5) -> dict[str, str]:
    """Return the move with the best average outcome of each board, if it is above `least`.

    Averages over few games are shrunk towards half a point.
    """
    points: dict[str, dict[str, list[float]]] = {}
    for game in games:
        for position, move in legal_moves(game):
            points.setdefault(position, {}).setdefault(move, []).append(game.outcome)
    chosen = {position: max(tried, key=lambda move: _mean(tried[move])) for position, tried in points.items()}
    return {position: move for position, move in chosen.items() if _mean(points[position][move]) > least}


def legal_moves(game: Played) -> list[tuple[str, str]]:
    """Return the boards on which the policy made a legal move, with these moves."""
    moves = game.moves[:-1] if game.illegal else game.moves
    return [(tictactoe.board(position), move) for position, move in moves]


def game_figures(games: Sequence[Played]) -> Mapping[str, float]:
    """Return the shares of wins, draws, losses and games lost by an illegal move, and the points per game."""
    count = len(games)
    return {
        "win": sum(game.outcome == 1 for game in games) / count,
        "draw": sum(game.outcome == 0.5 for game in games) / count,
        "loss": sum(game.outcome == 0 for game in games) / count,
        "illegal": sum(game.illegal for game in games) / count,
        "points": sum(game.outcome for game in games) / count,
    }


def _mean(outcomes: Sequence[float]) -> float:
    return (sum(outcomes) + 0.5 * PRIOR_GAMES) / (len(outcomes) + PRIOR_GAMES)


def _make_move(
    boards: list[str], number: int, move: str, outcomes: dict[int, tuple[float, bool]], *, mine: bool
) -> None:
    """Make a move; if it ends the game, add the outcome."""
    if move not in tictactoe.free(boards[number]) or len(move) != 1:
        outcomes[number] = (0.0, True) if mine else (1.0, False)
        return
    boards[number] += move
    if tictactoe.won(boards[number]):
        outcomes[number] = (1.0 if mine else 0.0, False)
    elif len(boards[number]) == len(tictactoe.CELLS):
        outcomes[number] = (0.5, False)
