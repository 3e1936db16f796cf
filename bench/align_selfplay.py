"""Self-play from random weights: tic-tac-toe learned by playing, compared with a control that keeps any move.

    python -m bench.align_selfplay [--seeds 2] [--work FOLDER]

Runs `sayso selfplay` from random weights, keeping the most successful moves, or random ones. The kept models then play
new games against the panel. With the same --work folder, a stopped run resumes.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import torch

from bench.curves import curves
from bench.harness import parser, result, save_picture, say, sized
from sayso.align.improve.play import game_figures, perfect_player, play, policy_player, random_player
from sayso.base.files import read_json, write_json
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.run.selfplay import ERRORS, Selfplay, selfplay
from sayso.token.whole import WholeTokenizer
from sayso.weights.folder import load_model, save_model

ARMS = {"better": "most successful moves", "random": "any move"}
ROUNDS, GAMES, PANEL_GAMES, EPOCHS = sized((5, 800, 60, 5), (1, 20, 4, 1))
TESTED = sized(200, 4)  # games against each player of the panel
PICTURE = Path("docs/images/align_selfplay.svg")
Arms = Mapping[str, Mapping[str, Any]]
"""By arm: points per game in the "rounds" of the run, and figures of new games of the "kept" model."""


def main() -> None:
    """Run every seed, draw the curves, and print the figures."""
    arguments = parser("align_selfplay", __doc__)
    arguments.add_argument("--seeds", type=int, default=sized(2, 1), help="number of seeds")
    arguments.add_argument("--work", type=Path, help="folder for results, to resume from")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        results = [one_seed(Life(work / f"seed-{seed}"), seed) for seed in range(options.seeds)]
    lines = {
        name: {number: [one[arm]["rounds"][number - 1] for one in results] for number in range(1, ROUNDS + 1)}
        for arm, name in ARMS.items()
    }
    title = "Tic-tac-toe from random weights, by self-play"
    save_picture(PICTURE, curves(title, ["round"], {"Points per game against the panel": lines}))
    ours, peer = (fmean(one[arm]["kept"]["all"]["points"] for one in results) for arm in ARMS)
    details = {arm: [one[arm] for one in results] for arm in ARMS}
    seconds = round(time.process_time() - began)
    result("align_selfplay", "points per game", ours, peer, seeds=len(results), core_seconds=seconds, **details)


def one_seed(life: Life, seed: int) -> Arms:
    """Return the results of each arm from the same random weights."""
    if not life.model("base").exists():
        tokenizer = WholeTokenizer("character", [])
        config = ModelConfig(tokenizer.vocab_size, 2, 64, 2, 2, 32, 160, context=64)
        model = Transformer(config).initialize(torch.Generator().manual_seed(seed))
        save_model(model, tokenizer, life.model("base"), {"stage": "base"})
    found = {}
    for arm in ARMS:
        path = life.root / f"{arm}.json"
        if not path.exists():
            selfplay(
                Selfplay(
                    life=life.root,
                    parent="base",
                    name=arm,
                    select=arm,
                    rounds=ROUNDS,
                    games=GAMES,
                    panel_games=PANEL_GAMES,
                    epochs=EPOCHS,
                    rate=1.0,
                    seed=seed,
                    processes=1,
                    device="cpu",
                )
            )
            events = read_log(life.run(f"selfplay-{arm}") / "run.jsonl")
            rounds = [event["points"] for event in events if event["event"] == "round"]
            write_json(path, {"rounds": rounds, "kept": against_panel(life.model(arm), 1000 + seed)})
        found[arm] = read_json(path)
        say(f"seed {seed}, {ARMS[arm]}: {found[arm]['rounds']}")
    return found


def against_panel(folder: Path, seed: int) -> dict[str, Mapping[str, float]]:
    """Return the figures of a model's greedy moves in new games against each player, and against all."""
    draw = Random(seed)
    me = policy_player(Replier(*load_model(folder)), seed, 0.0)
    panel = {"random": random_player(draw), "erring": perfect_player(draw, ERRORS), "perfect": perfect_player(draw)}
    played = {name: play(me, [opponent], TESTED) for name, opponent in panel.items()}
    every: Sequence = [game for games in played.values() for game in games]
    return {name: game_figures(games) for name, games in [*played.items(), ("all", every)]}


if __name__ == "__main__":
    main()
