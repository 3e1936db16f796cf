"""Act: a model that gets better at a game by playing it, tic-tac-toe, each move a reply.

Rounds of games against a pool of opponents, of which the moves that did best are kept and tuned on, leave
`models/NAME-1` and so on, and the best of them against a fixed panel as `models/NAME`. The pool has a random player,
one that errs, and what the model itself was in the last rounds, so that it does not learn to beat one opponent alone.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from random import Random
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
from sayso.align.improve.rounds import Tuning, check_rounds, check_tuning, tune_round, warn_round
from sayso.base.device import pick_device
from sayso.base.intact import check_recorded, recorded
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.base.lock import alone, model_of
from sayso.base.log import RunLog, act_log, read_log, say
from sayso.base.ranges import Scale, Several
from sayso.judge.stats import estimate
from sayso.reply.conversation import Replier
from sayso.run.results import Trained, trained
from sayso.train.session import Session, open_session
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file
from sayso.world.puzzles import tictactoe

ERRORS = 0.25  # share of moves in which a player of pool and panel errs
PAST = 2  # earlier rounds that stay in the pool beside the newest


@dataclass(frozen=True)
class Selfplay(Tuning):
    """Options of `sayso selfplay`."""

    _: KW_ONLY
    parent: str = "tuned"
    """The model to start from."""
    name: str = "player"
    """What the new model is called; those of the rounds have a number behind it."""
    rounds: Several = 6
    """How often to play, select and tune."""
    games: Several = 1000
    """Games of a round; those of the first are played at random, by which the model learns how a move is written."""
    panel_games: Several = 300
    """Games against each player of the panel after each round, played by the likeliest moves."""
    temperature: Scale = 1.0
    """Of the moves in games to learn from."""
    select: Literal["better", "random"] = "better"
    """Keep the moves that did best in their position or, as a control, any one that was played there."""


@alone(model_of)
def selfplay(options: Selfplay) -> Trained:
    """Play, select and tune, round after round, and keep the best model."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    inputs = {options.parent: weights_file(parent)}
    stage = open_session(life, "selfplay", options.name, options, inputs)
    check_rounds(stage, options.rounds, inputs.values())
    check_tuning(options, stage.open(parent, pick_device(options.device).kind, plain=True, restart=options.restart)[0])
    if stage.plan(dict, options.restart) is None:
        say(f"The model '{options.name}' has played already with these options.")
        return trained(life, "selfplay", options.name, finished_before=True)
    with act_log(life, "selfplay", options.name, options) as log:
        points = {event["step"]: event["points"] for event in read_log(log.path) if event["event"] == "round"}
        models: list[Path] = []
        for number in range(1, options.rounds + 1):
            rows = _rows_of_round(options, stage, models, number)
            models.append(tune_round(options, stage, rows, models[-1] if models else parent, number))
            if number not in points:
                points[number] = _judged(options, stage, models[-1], number, log, max(points.values(), default=0.0))
        best = max(points, key=lambda number: (points[number], -number))
        stage.take_model(best)
    say(f"Saved {life.model(options.name)}, that of round {best}: {points[best]:.3f} points a game.")
    return trained(life, "selfplay", options.name)


def _rows_of_round(options: Selfplay, stage: Session, models: list[Path], number: int) -> list[dict[str, Any]]:
    """Return the conversations to tune on; the games of a round that were played are not played again."""
    path = stage.folder / f"round-{number}.jsonl"
    if not path.exists():
        with recorded(path):
            write_jsonl(path, (asdict(game) for game in _games(options, stage, models, number)))
    games = [game for n in range(1, number + 1) for game in _read(stage.folder / f"round-{n}.jsonl")]
    played = [move for game in games for move in legal_moves(game)]
    if number == 1:
        return [_row(position, move) for position, move in dict.fromkeys(played)]
    moves = dict(played) if options.select == "random" else better_moves(games)
    return [_row(position, move) for position, move in moves.items()]


def _games(options: Selfplay, stage: Session, models: list[Path], number: int) -> list[Played]:
    """Play a round: at random in the first, else the newest model against the pool."""
    draw = Random(f"{options.seed}/{number}")
    if not models:
        return play(random_player(draw), [random_player(draw)], options.games)
    device = pick_device(options.device).kind
    own = [policy_player(Replier(*stage.open(path, device)), draw.getrandbits(32)) for path in models[-PAST - 1 :]]
    me = policy_player(Replier(*stage.open(models[-1], device)), draw.getrandbits(32), options.temperature)
    return play(me, [random_player(draw), perfect_player(draw, ERRORS), *own], options.games)


def _judged(options: Selfplay, stage: Session, model: Path, number: int, log: RunLog, best: float) -> float:
    """Play a round's model against the panel, log and tell it; return its points a game."""
    draw = Random(options.seed)
    panel: Mapping[str, Player] = {
        "random": random_player(draw),
        "erring": perfect_player(draw, ERRORS),
        "perfect": perfect_player(draw),
    }
    me = policy_player(Replier(*stage.open(model, pick_device(options.device).kind)), options.seed, 0.0)
    played = {name: play(me, [opponent], options.panel_games) for name, opponent in panel.items()}
    whole = estimate([game.outcome for games in played.values() for game in games])
    told = {name: game_figures(games) for name, games in played.items()}
    illegal = sum(one["illegal"] for one in told.values()) / len(told)
    log.write("round", step=number, points=whole.mean, low=whole.low, high=whole.high, illegal=illegal, panel=told)
    shown = ", ".join(f"{name} {one['win']:.0%} / {one['draw']:.0%} / {one['loss']:.0%}" for name, one in told.items())
    say(
        f"Round {number}: {whole.mean:.3f} points a game ({whole.low:.3f} to {whole.high:.3f}); win / draw / loss "
        f"against {shown}; {illegal:.1%} of games lost by a move that is none."
    )
    if whole.high < best:
        warn_round(log, number, best, "--epochs or --rate, or raise --games")
    return whole.mean


def _read(path: Path) -> list[Played]:
    check_recorded(path, "begin again with --restart")
    return [
        Played(tuple((position, move) for position, move in row["moves"]), row["outcome"], row["illegal"])
        for row in read_jsonl(path)
    ]


def _row(position: str, move: str) -> dict[str, Any]:
    return {"messages": [*tictactoe.asked(position), {"role": "assistant", "content": move}], "source": "own"}
