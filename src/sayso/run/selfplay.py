"""Act: train a model to play tic-tac-toe by self-play; each move is a reply.

Each round plays games against a pool of opponents, keeps the best moves, fine-tunes on them, and writes `models/NAME-1`
and so on; the best one against a fixed panel becomes `models/NAME`. The pool contains a random player, a fallible one,
and the models of recent rounds, so that the model does not overfit to a single opponent.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Literal

from sayso.align.improve.play import (
    Played,
    Player,
    better_moves,
    game_figures,
    legal_moves,
    perfect_player,
    play,
    policy_player,
    random_player,
)
from sayso.align.improve.rounds import RoundOptions, check_rounds, check_tuning, tune_round, warn_round
from sayso.base.device import pick_device
from sayso.base.intact import check_recorded, recorded
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
from sayso.base.log import RunLog, act_log, read_log, say
from sayso.base.ranges import Scale, Several
from sayso.judge.statistics.estimate import estimate
from sayso.reply.conversation import Replier
from sayso.run.results import Trained, trained
from sayso.train.session import Session, open_session
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file
from sayso.world.puzzles import tictactoe

ERRORS = 0.25  # error rate of the fallible player in the pool and the panel
_PAST = 2  # earlier rounds kept in the pool in addition to the latest


@dataclass(frozen=True)
class Selfplay(RoundOptions):
    """Options of `sayso selfplay`."""

    _: KW_ONLY
    parent: str = "tuned"
    """Model to start from."""
    name: str = "player"
    """Name of the new model; models of the rounds are called NAME-1, NAME-2 and so on."""
    rounds: Several = 6
    """Number of rounds of playing, selecting and fine-tuning."""
    games: Several = 1000
    """Games per round; the first round plays random moves, which teaches the model the format of a move."""
    panel_games: Several = 300
    """Evaluation games per round against each player of the panel, played greedily."""
    temperature: Scale = 1.0
    """Sampling temperature of the moves in training games."""
    select: Literal["better", "random"] = "better"
    """Keep the best move per position or, as a control, any move that was played there."""


@exclusive(model_output)
def selfplay(options: Selfplay) -> Trained:
    """Train a model to play tic-tac-toe by self-play, in rounds; keep the best model."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    inputs = {options.parent: weights_file(parent)}
    session = open_session(life, "selfplay", options.name, options, inputs)
    check_rounds(session, options.rounds, inputs.values())
    if not options.restart and session.finished():
        say(f"The model '{options.name}' has already been trained with these options.")
        return trained(life, "selfplay", options.name, finished_before=True)
    model, _ = session.open(parent, pick_device(options.device).kind, plain=True, restart=options.restart)
    check_tuning(options, model)
    session.plan(dict, options.restart)
    with act_log(life, "selfplay", options.name, options) as log:
        points = {event["step"]: event["points"] for event in read_log(log.path) if event["event"] == "round"}
        models: list[Path] = []
        for number in range(1, options.rounds + 1):
            rows = _rows_of_round(options, session, models, number)
            models.append(tune_round(options, session, rows, models[-1] if models else parent, number))
            if number not in points:
                points[number] = _evaluate(options, session, models[-1], number, log, max(points.values(), default=0.0))
        best = max(points, key=lambda number: (points[number], -number))
        session.take_model(best)
    say(f"Saved {life.model(options.name)} (round {best}): {points[best]:.3f} points per game.")
    return trained(life, "selfplay", options.name)


def _rows_of_round(options: Selfplay, session: Session, models: list[Path], number: int) -> list[dict[str, Any]]:
    """Return the conversations to tune on; games already played are read from the round's file."""
    path = session.folder / f"round-{number}.jsonl"
    if not path.exists():
        with recorded(path):
            write_jsonl(path, (asdict(game) for game in _games(options, session, models, number)))
    games = [game for n in range(1, number + 1) for game in _read(session.folder / f"round-{n}.jsonl")]
    played = [move for game in games for move in legal_moves(game)]
    if number == 1:
        return [_row(position, move) for position, move in dict.fromkeys(played)]
    moves = dict(played) if options.select == "random" else better_moves(games)
    return [_row(position, move) for position, move in moves.items()]


def _games(options: Selfplay, session: Session, models: list[Path], number: int) -> list[Played]:
    """Play a round: random moves in the first, later the latest model against the pool."""
    draw = Random(f"{options.seed}/{number}")
    if not models:
        return play(random_player(draw), [random_player(draw)], options.games)
    device = pick_device(options.device).kind
    own = [policy_player(Replier(*session.open(path, device)), draw.getrandbits(32)) for path in models[-_PAST - 1 :]]
    me = policy_player(Replier(*session.open(models[-1], device)), draw.getrandbits(32), options.temperature)
    return play(me, [random_player(draw), perfect_player(draw, ERRORS), *own], options.games)


def _evaluate(options: Selfplay, session: Session, model: Path, number: int, log: RunLog, best: float) -> float:
    """Play a round's model against the panel, log and report the result; return its points per game."""
    draw = Random(options.seed)
    panel: Mapping[str, Player] = {
        "random": random_player(draw),
        "erring": perfect_player(draw, ERRORS),
        "perfect": perfect_player(draw),
    }
    me = policy_player(Replier(*session.open(model, pick_device(options.device).kind)), options.seed, 0.0)
    played = {name: play(me, [opponent], options.panel_games) for name, opponent in panel.items()}
    points = estimate([game.outcome for games in played.values() for game in games])
    results = {name: game_figures(games) for name, games in played.items()}
    illegal = fmean(one["illegal"] for one in results.values())
    log.write(
        "round", step=number, points=points.mean, low=points.low, high=points.high, illegal=illegal, panel=results
    )
    shares = (f"{name} {one['win']:.0%} / {one['draw']:.0%} / {one['loss']:.0%}" for name, one in results.items())
    say(
        f"Round {number}: {points.mean:.3f} points per game ({points.low:.3f} to {points.high:.3f}); win / draw / loss "
        f"against {', '.join(shares)}; {illegal:.1%} of games lost by an illegal move."
    )
    if points.high < best:
        warn_round(log, number, best, "--epochs or --rate, or raise --games")
    return points.mean


def _read(path: Path) -> list[Played]:
    check_recorded(path, "start from scratch with --restart")
    return [
        Played(tuple((position, move) for position, move in row["moves"]), row["outcome"], row["illegal"])
        for row in read_jsonl(path)
    ]


def _row(position: str, move: str) -> dict[str, Any]:
    return {"messages": [*tictactoe.move_prompt(position), {"role": "assistant", "content": move}], "source": "own"}
