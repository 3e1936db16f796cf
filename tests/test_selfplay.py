"""Self-play: the rules of tic-tac-toe, games side by side, and an act that learns to win from them."""

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


def test_the_rules_are_those_of_the_game():
    """Three in a row ends a game; the best moves take a win, block a loss, and any first move draws."""
    assert tictactoe.best("") == tictactoe.CELLS
    assert tictactoe.won("15294") is False
    assert tictactoe.won("15273")
    assert tictactoe.free("15273") == ""
    assert tictactoe.best("1527") == "3", "win"
    assert tictactoe.best("152") == "3", "block"
    assert set(tictactoe.best("1")) == {"5"}, "a corner is answered in the middle"
    assert set(tictactoe.best("5")) == set("1379")
    assert tictactoe.board("91573") == tictactoe.board("31579") == "x359 o17"


def test_every_game_of_perfect_players_is_a_draw_and_none_is_lost_to_a_random_one():
    """Neither side wins under best play; against random moves the perfect player never loses, and wins most."""
    draw = Random(0)
    perfect = perfect_player(draw)
    assert {game.outcome for game in play(perfect, [perfect_player(draw)], 60)} == {0.5}
    against = game_figures(play(perfect, [random_player(draw)], 300))
    assert against["loss"] == against["illegal"] == 0
    assert against["win"] > 0.8
    erring = game_figures(play(perfect_player(draw, 0.5), [perfect], 300))
    assert erring["loss"] > 0.2
    assert erring["win"] == 0


@pytest.mark.parametrize("said", ["", "0", "10", "1 ", "x", "１"])
def test_a_move_that_is_none_loses(said):
    """Whatever is not one free cell ends the game there, for the policy as a loss that is counted as illegal."""
    games = play(lambda boards: [said] * len(boards), [random_player(Random(1))], 20)
    assert all(game.outcome == 0 and game.illegal and len(game.moves) == 1 for game in games)
    assert {game.outcome for game in play(random_player(Random(1)), [lambda boards: [said] * len(boards)], 9)} == {1.0}


def test_sides_and_opponents_take_turns():
    """Half of the games against each opponent begin with the policy's move."""
    draw = Random(2)
    games = play(random_player(draw), [random_player(draw), random_player(draw)], 40)
    first = [game.moves[0][0] == "" for game in games]
    assert sum(first[::2]) == sum(first[1::2]) == 10


def test_the_better_moves_of_games_are_kept():
    """Of each position the move with the best average stays, if it is above half a point; illegal ones never."""
    games = [
        *[Played((("", "5"), ("51", "9")), outcome, False) for outcome in (1.0, 1.0, 0.0)],
        *[Played((("", "1"),), 0.5, False)] * 5,
        Played((("", "x"),), 0.0, True),
        *[Played((("2", "3"),), 0.0, False)] * 2,
    ]
    assert better_moves(games) == {"x o": "5", "x5 o1": "9"}


FLAGS = ["--rounds", "2", "--games", "150", "--panel-games", "20", "--epochs", "4", "--rows", "8", "--rate", "2"]


def act(root: Path, *flags: str) -> int:
    """Let the base model of a life play; return the exit code."""
    return run(["selfplay", "--life", str(root), "--parent", "base", *FLAGS, "--processes", "1", *flags])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life with a model of random weights that has played two rounds."""
    life = Life(tmp_path_factory.mktemp("selfplay") / "life")
    tokenizer = WholeTokenizer("character", [])
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 64, context=48)
    base = Transformer(config).initialise(torch.Generator().manual_seed(0))
    save_model(base, tokenizer, life.model("base"), {"stage": "base"})
    assert act(life.root) == 0
    return life.root


def test_each_round_is_judged_against_the_panel_and_the_best_is_kept(played):
    """The log has each round's points with their interval and the panel's games; the rules are learned from games."""
    told = [line for line in read_log(played / "runs/selfplay-player/run.jsonl") if line["event"] == "round"]
    assert [line["step"] for line in told] == [1, 2]
    for line in told:
        assert line["low"] <= line["points"] <= line["high"]
    for number in (1, 2):  # the same loss as fine-tuning's, so the same figures
        log = read_log(played / f"runs/selfplay-player-{number}/run.jsonl")
        assert all(0 < line["mfu"] < 1 for line in log if line["event"] == "step")
        assert set(line["panel"]) == {"random", "erring", "perfect"}
        assert all(
            sum(one[key] for key in ("win", "draw", "loss")) == pytest.approx(1) for one in line["panel"].values()
        )
    assert told[-1]["illegal"] < 0.9, "a model of random weights plays no legal move at all"
    best = max(told, key=lambda line: line["points"])["step"]
    weights = [sha256(played / f"models/{name}/model.safetensors") for name in ("player", f"player-{best}")]
    assert weights[0] == weights[1]


def test_a_run_that_was_cut_goes_on_with_the_games_it_played(played, tmp_path):
    """From a life as a kill in the second round's training leaves it, the same command gives bitwise equal weights."""
    cut = Path(shutil.copytree(played, tmp_path / "life"))
    for gone in ("models/player", "models/player-2", "runs/selfplay-player-2"):
        shutil.rmtree(cut / gone)
    log = cut / "runs/selfplay-player/run.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    left = [line for line in lines if line["event"] != "end" and not (line["event"] == "round" and line["step"] > 1)]
    log.write_text("".join(json.dumps(line) + "\n" for line in left))
    assert act(cut) == 0
    for name in ("player", "player-2"):
        assert sha256(cut / f"models/{name}/model.safetensors") == sha256(played / f"models/{name}/model.safetensors")
