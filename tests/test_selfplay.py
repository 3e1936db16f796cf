"""Self-play: the rules of tic-tac-toe, parallel games, and the act that learns from them."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest
import torch

from sayso.align.improve.play import Played, better_moves, game_figures, perfect_player, play, random_player
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.token.whole import WholeTokenizer
from sayso.weights.folder import save_model
from sayso.world.puzzles import tictactoe


def test_the_rules_and_the_best_moves():
    """Three in a row wins; the best moves win, block a loss, or keep the draw."""
    assert tictactoe.best("") == tictactoe.CELLS
    assert tictactoe.won("15294") is False
    assert tictactoe.won("15273")
    assert tictactoe.free("15273") == ""
    assert tictactoe.best("1527") == "3", "win"
    assert tictactoe.best("152") == "3", "block"
    assert set(tictactoe.best("1")) == {"5"}, "a corner is answered with the center"
    assert set(tictactoe.best("5")) == set("1379")
    assert tictactoe.board("91573") == tictactoe.board("31579") == "x359 o17"


def test_a_perfect_player_never_loses():
    """It draws against itself and wins most games against a random player; a fallible player loses some."""
    draw = Random(0)
    perfect = perfect_player(draw)
    assert {game.outcome for game in play(perfect, [perfect_player(draw)], 60)} == {0.5}
    against = game_figures(play(perfect, [random_player(draw)], 300))
    assert against["loss"] == against["illegal"] == 0
    assert against["win"] > 0.8
    erring = game_figures(play(perfect_player(draw, 0.5), [perfect], 300))
    assert erring["loss"] > 0.2
    assert erring["win"] == 0


@pytest.mark.parametrize("move", ["", "0", "10", "1 ", "x", "１"])
def test_an_illegal_move_loses(move):
    """A move other than one free cell ends the game; that of an opponent is a win for the policy."""
    games = play(lambda boards: [move] * len(boards), [random_player(Random(1))], 20)
    assert all(game.outcome == 0 and game.illegal and len(game.moves) == 1 for game in games)
    assert {game.outcome for game in play(random_player(Random(1)), [lambda boards: [move] * len(boards)], 9)} == {1.0}


def test_the_policy_moves_first_in_half_of_the_games():
    """Against each opponent."""
    draw = Random(2)
    games = play(random_player(draw), [random_player(draw), random_player(draw)], 40)
    first = [game.moves[0][0] == "" for game in games]
    assert sum(first[::2]) == sum(first[1::2]) == 10


def test_the_better_moves_of_games_are_kept():
    """The move with the best average of each position, if it is above half a point; illegal ones are not kept."""
    games = [
        *[Played((("", "5"), ("51", "9")), outcome, False) for outcome in (1.0, 1.0, 0.0)],
        *[Played((("", "1"),), 0.5, False)] * 5,
        Played((("", "x"),), 0.0, True),
        *[Played((("2", "3"),), 0.0, False)] * 2,
    ]
    assert better_moves(games) == {"x o": "5", "x5 o1": "9"}


FLAGS = ["--rounds", "2", "--games", "150", "--panel-games", "20", "--epochs", "4", "--rows", "8", "--rate", "2"]


def act(root: Path, *flags: str) -> int:
    """Run self-play with the base model of a life; return the exit code."""
    return run(["selfplay", "--life", str(root), "--parent", "base", *FLAGS, "--processes", "1", *flags])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life in which a model of random weights has played two rounds."""
    life = Life(tmp_path_factory.mktemp("selfplay") / "life")
    tokenizer = WholeTokenizer("character", [])
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 64, context=48)
    base = Transformer(config).initialize(torch.Generator().manual_seed(0))
    save_model(base, tokenizer, life.model("base"), {"stage": "base"})
    assert act(life.root) == 0
    return life.root


def test_each_round_is_evaluated_against_the_panel_and_the_best_is_kept(played):
    """The log has the points of each round with their interval, and the results against each player."""
    events = [line for line in read_log(played / "runs/selfplay-player/run.jsonl") if line["event"] == "round"]
    assert [line["step"] for line in events] == [1, 2]
    for line in events:
        assert line["low"] <= line["points"] <= line["high"]
        assert set(line["panel"]) == {"random", "erring", "perfect"}
        for result in line["panel"].values():
            assert sum(result[key] for key in ("win", "draw", "loss")) == pytest.approx(1)
    for number in (1, 2):
        log = read_log(played / f"runs/selfplay-player-{number}/run.jsonl")
        assert all(0 < line["mfu"] < 1 for line in log if line["event"] == "step")
    assert events[-1]["illegal"] < 0.9, "a model of random weights makes no legal move at all"
    best = max(events, key=lambda line: line["points"])["step"]
    weights = [sha256(played / f"models/{name}/model.safetensors") for name in ("player", f"player-{best}")]
    assert weights[0] == weights[1]


def test_an_interrupted_run_ends_with_the_same_weights(played, tmp_path):
    """After a kill during the training of the second round, the same command ends with bitwise equal weights."""
    killed = Path(shutil.copytree(played, tmp_path / "life"))
    for gone in ("models/player", "models/player-2", "runs/selfplay-player-2"):
        shutil.rmtree(killed / gone)
    log = killed / "runs/selfplay-player/run.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    left = [line for line in lines if line["event"] != "end" and not (line["event"] == "round" and line["step"] > 1)]
    log.write_text("".join(json.dumps(line) + "\n" for line in left))
    assert act(killed) == 0
    for name in ("player", "player-2"):
        assert sha256(killed / f"models/{name}/model.safetensors") == sha256(
            played / f"models/{name}/model.safetensors"
        )
