"""Proof: a model extends its own addition, digit by digit, by those of its replies that are right.

    python -m bench.align_improve [--seeds 3] [--work FOLDER]

A tiny model of characters is tuned on reversed sums of 1 to 5 digits. Then `sayso improve` practises on longer and
longer ones, keeping what a verifier accepts, what a vote agrees on, or as many at random. Measured on problems of the
test split, which nothing was trained or chosen on. Started again with the same folder, it goes on where it was stopped.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from bench.curves import curves
from bench.harness import keep_picture, parser, result, say, sized
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.batch.chat import ChatBatches
from sayso.judge.stats import student
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.run.improve import Improve, improve
from sayso.sample.sampling import Sampling
from sayso.token.chat import render
from sayso.token.whole import WholeTokenizer
from sayso.train.loop import State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model, save_model
from sayso.world.puzzles import Problem
from sayso.world.puzzles.addition import addition_problem, addition_score

TRAINED, FIELD = sized((5, 10), (1, 3))
SIZES = range(1, FIELD)
STEPS, SHOWN = sized((600, 30_000), (100, 2_000))  # of the first tuning, and its problems
PRACTICE = {size: sized(60 if size <= TRAINED else 250, 12) for size in SIZES}  # prompts of each size
TESTED = sized(100, 3)  # problems of each size that are measured
ROUNDS, EPOCHS, HELD = sized((3, 8, 30), (1, 1, 2))
ARMS = {"verified": "a verifier keeps", "random": "as many at random", "voted": "a vote keeps"}
PICTURE = Path("docs/images/align_improve.svg")
Arms = Mapping[str, Sequence[Mapping[str, Any]]]
"""Of each arm and seed, the share right at each size: in all "rounds", the first being the model that was begun with,
and "kept"; and what the run "told" of its rounds."""


def main() -> None:
    """Run every seed, draw the curves, and print the figures."""
    arguments = parser("align_improve", __doc__)
    arguments.add_argument("--seeds", type=int, default=sized(3, 1))
    arguments.add_argument("--vote-seeds", type=int, help="seeds of the vote; as many as of the others when not given")
    arguments.add_argument("--work", type=Path)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        seeds = dict.fromkeys(ARMS, given.seeds) | ({} if given.vote_seeds is None else {"voted": given.vote_seeds})
        told = {
            arm: [one_run(Life(work / f"seed-{n}"), n, arm) for n in range(seeds[arm])] for arm in ARMS if seeds[arm]
        }
    draw(told)
    report(told, time.process_time() - began)


def one_run(life: Life, seed: int, arm: str) -> Mapping[str, Any]:
    """Return what an arm reaches with a seed; what was measured already is not measured again."""
    path = life.root / f"{arm}.json"
    if path.exists():
        return dict(read_json(path))
    first_model(life, seed)
    prompts, judged = life.root / "prompts.jsonl", life.root / "held_out.jsonl"
    write_jsonl(prompts, (one.row() for one in problems(seed, "train", PRACTICE, start=SHOWN)))
    write_jsonl(judged, (one.row() for one in problems(seed, "val", dict.fromkeys(SIZES, HELD))))
    improve(
        Improve(
            life=life.root,
            name=arm,
            prompts=prompts,
            held_out=judged,
            select=arm,
            curriculum=f"digits={TRAINED + 1}",
            rounds=ROUNDS,
            keep_replies=1,
            max_tokens=FIELD + 4,
            epochs=EPOCHS,
            seed=seed,
            processes=1,
            device="cpu",
        )
    )
    rounds = [life.model("tuned"), *sorted(life.root.glob(f"models/{arm}-*"))]
    shares = [measured(model, seed) for model in rounds]
    found = {"rounds": shares, "kept": measured(life.model(arm), seed), "told": told_of(life, arm)}
    write_json(path, found)
    say(f"seed {seed}, {ARMS[arm]}: {found['kept']}")
    return found


def first_model(life: Life, seed: int) -> None:
    """Make the model that every arm begins with: tuned on sums of up to `TRAINED` digits, from nothing."""
    if life.model("tuned").exists():
        return
    tokenizer = WholeTokenizer("character", [])
    config = ModelConfig(tokenizer.vocab_size, 2, 64, 2, 2, 32, 160, context=128)
    model = Transformer(config).initialize(torch.Generator().manual_seed(seed))
    shown = (addition_problem(seed, i, "train", 1 + i % TRAINED, FIELD) for i in range(SHOWN))
    batches = ChatBatches([render(tokenizer, one.demonstration()["messages"]) for one in shown], 24, 112, seed)
    state = State(model.train(), make_optimizers(model, Rates()))
    train(state, lambda step: [batches.batch(step)], batch_loss, Schedule(STEPS, warmup=20, decay=0.5))
    save_model(model, tokenizer, life.model("tuned"), {"stage": "tuned", "seed": seed})


def problems(seed: int, split: str, counts: Mapping[int, int], start: int = 0) -> list[Problem]:
    """Return so many problems of each size."""
    return [
        addition_problem(seed, start + index, split, size, FIELD) for size in counts for index in range(counts[size])
    ]


def measured(folder: Path, seed: int) -> list[float]:
    """Return the share of test problems of each size that a model's likeliest reply solves."""
    asked = problems(seed, "test", dict.fromkeys(SIZES, TESTED))
    replier = Replier(*load_model(folder))
    said = replier.replies([one.messages for one in asked], Sampling(temperature=0, max_tokens=FIELD + 4))
    right = [addition_score(one.prompt, reply.text, one.info) for one, reply in zip(asked, said, strict=True)]
    return [fmean(right[place * TESTED : (place + 1) * TESTED]) for place in range(len(SIZES))]


def told_of(life: Life, arm: str) -> list[dict[str, Any]]:
    """Return what the run told of its rounds: how many replies it kept, and how many of them are right."""
    events = [event for event in read_log(life.run(f"improve-{arm}") / "run.jsonl") if event["event"] == "round"]
    return [{key: event[key] for key in ("step", "kept", "kept_right", "solved") if key in event} for event in events]


def draw(told: Arms) -> None:
    """Write the picture of the arms that all seeds ran: by size before and after, and by round at the most digits."""
    told = {arm: runs for arm, runs in told.items() if len(runs) == len(told["verified"])}
    by_size = {"before": {size: [one["rounds"][0][size - 1] for one in told["verified"]] for size in SIZES}}
    by_size |= {ARMS[arm]: {size: [one["kept"][size - 1] for one in told[arm]] for size in SIZES} for arm in told}
    far = SIZES[-1]
    lasting = {arm: [_lasting(one["rounds"]) for one in told[arm]] for arm in told}
    by_round = {
        ARMS[arm]: {number: [rounds[number][far - 1] for rounds in lasting[arm]] for number in range(ROUNDS + 1)}
        for arm in told
    }
    panels = {"Share right, of the model that is kept": by_size, f"Share right at {far} digits": by_round}
    title = f"Reversed addition, tuned on 1 to {TRAINED} digits, then improved by its own replies"
    keep_picture(PICTURE, curves(title, ("digits", "round"), panels))


def _lasting(rounds: list[list[float]]) -> list[list[float]]:
    """Return the shares of all rounds; those after a run ended because it found nothing new are its last."""
    return rounds + [rounds[-1]] * (ROUNDS + 1 - len(rounds))


def report(told: Arms, seconds: float) -> None:
    """Print the last line: up to how many digits 90 % are right, and the shares at each size with their intervals."""
    rows = {"before": [one["rounds"][0] for one in told["verified"]]}
    rows |= {arm: [one["kept"] for one in told[arm]] for arm in told}
    shares = {
        name: {size: interval([row[size - 1] for row in found]) for size in SIZES} for name, found in rows.items()
    }
    reached = {name: [reach(row) for row in found] for name, found in rows.items()}
    ours, peer = fmean(reached["verified"]), fmean(reached["random"])
    runs = {arm: [one["told"] for one in told[arm]] for arm in told}
    details = {"tested": TESTED, "core_seconds": round(seconds), "reached": reached, "shares": shares, "runs": runs}
    result("align_improve", "digits, 90 % right", ours, peer, **details)


def reach(shares: Sequence[float]) -> int:
    """Return up to how many digits 90 % are right, at this length and all shorter ones down to the longest trained."""
    solved = 0
    for size, share in zip(SIZES, shares, strict=True):
        if size >= TRAINED and share < 0.9:
            break
        solved = size
    return solved


def interval(values: Sequence[float]) -> dict[str, float | int | None]:
    """Return the mean over seeds with its 95 % interval by Student's t; no interval for one seed."""
    return student(np.asarray(values), 0.0, 1.0).as_dict()


if __name__ == "__main__":
    main()
