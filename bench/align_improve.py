"""Self-improvement: a model learns longer additions, digit by digit, from its own correct replies.

    python -m bench.align_improve [--seeds 3] [--work FOLDER]

A tiny character-level model is tuned on reversed sums of 1 to 5 digits. Then `sayso improve` practises on longer and
longer ones, keeping the replies that a verifier accepts, that a vote agrees on, or as many at random. Measured on
problems of the test split, which no training or selection used. With the same --work folder, a stopped run resumes.
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
from bench.harness import parser, result, save_picture, say, sized
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.batch.chat import ChatBatches
from sayso.judge.statistics.estimate import student
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
STEPS, SHOWN = sized((600, 30_000), (100, 2_000))  # steps and problems of the first tuning
PRACTICE = {size: sized(60 if size <= TRAINED else 250, 12) for size in SIZES}  # prompts of each size
TESTED = sized(100, 3)  # test problems of each size
ROUNDS, EPOCHS, HELD = sized((3, 8, 30), (1, 1, 2))
ARMS = {"verified": "kept by a verifier", "random": "as many at random", "voted": "kept by a vote"}
PICTURE = Path("docs/images/align_improve.svg")
Arms = Mapping[str, Sequence[Mapping[str, Any]]]
"""By arm and seed: the share right at each size, for the models of all "rounds" (first the initial one) and for the one
"kept"; and the "told" log of the rounds."""


def main() -> None:
    """Run every seed, draw the curves, and print the figures."""
    arguments = parser("align_improve", __doc__)
    arguments.add_argument("--seeds", type=int, default=sized(3, 1), help="number of seeds")
    arguments.add_argument("--vote-seeds", type=int, help="number of seeds for the vote; default: --seeds")
    arguments.add_argument("--work", type=Path, help="folder for intermediate results, to resume from")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        seeds = dict.fromkeys(ARMS, options.seeds) | (
            {} if options.vote_seeds is None else {"voted": options.vote_seeds}
        )
        results = {
            arm: [one_run(Life(work / f"seed-{n}"), n, arm) for n in range(seeds[arm])] for arm in ARMS if seeds[arm]
        }
    draw(results)
    report(results, time.process_time() - began)


def one_run(life: Life, seed: int, arm: str) -> Mapping[str, Any]:
    """Return the results of one arm and seed, from its file if it exists."""
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
    found = {"rounds": shares, "kept": measured(life.model(arm), seed), "told": rounds_of(life, arm)}
    write_json(path, found)
    say(f"seed {seed}, {ARMS[arm]}: {found['kept']}")
    return found


def first_model(life: Life, seed: int) -> None:
    """Train the initial model of every arm from scratch, on sums of up to `TRAINED` digits."""
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
    """Return `counts[size]` problems of each size."""
    return [
        addition_problem(seed, start + index, split, size, FIELD) for size in counts for index in range(counts[size])
    ]


def measured(folder: Path, seed: int) -> list[float]:
    """Return the share of test problems of each size that a model's greedy reply solves."""
    tests = problems(seed, "test", dict.fromkeys(SIZES, TESTED))
    replier = Replier(*load_model(folder))
    replies = replier.replies([one.messages for one in tests], Sampling(temperature=0, max_tokens=FIELD + 4))
    right = [addition_score(one.prompt, reply.text, one.info) for one, reply in zip(tests, replies, strict=True)]
    return [fmean(right[place * TESTED : (place + 1) * TESTED]) for place in range(len(SIZES))]


def rounds_of(life: Life, arm: str) -> list[dict[str, Any]]:
    """Return the logged rounds of a run: how many replies it kept, and how many of them are right."""
    events = [event for event in read_log(life.run(f"improve-{arm}") / "run.jsonl") if event["event"] == "round"]
    return [{key: event[key] for key in ("step", "kept", "kept_right", "solved") if key in event} for event in events]


def draw(results: Arms) -> None:
    """Draw the arms that ran with all seeds: shares by size before and after, and by round at the largest size."""
    results = {arm: runs for arm, runs in results.items() if len(runs) == len(results["verified"])}
    by_size = {"before": {size: [one["rounds"][0][size - 1] for one in results["verified"]] for size in SIZES}}
    by_size |= {ARMS[arm]: {size: [one["kept"][size - 1] for one in results[arm]] for size in SIZES} for arm in results}
    far = SIZES[-1]
    padded = {arm: [_padded(one["rounds"]) for one in results[arm]] for arm in results}
    by_round = {
        ARMS[arm]: {number: [rounds[number][far - 1] for rounds in padded[arm]] for number in range(ROUNDS + 1)}
        for arm in results
    }
    panels = {"Share right, kept model": by_size, f"Share right at {far} digits": by_round}
    title = f"Reversed addition, tuned on 1 to {TRAINED} digits, then improved by its own replies"
    save_picture(PICTURE, curves(title, ("digits", "round"), panels))


def _padded(rounds: list[list[float]]) -> list[list[float]]:
    """Return the shares of all rounds; a run that ended early keeps its last ones."""
    return rounds + [rounds[-1]] * (ROUNDS + 1 - len(rounds))


def report(results: Arms, seconds: float) -> None:
    """Print the last line: the number of digits at which 90 % are right, and the shares at each size with intervals."""
    rows = {"before": [one["rounds"][0] for one in results["verified"]]}
    rows |= {arm: [one["kept"] for one in results[arm]] for arm in results}
    shares = {
        name: {size: interval([row[size - 1] for row in found]) for size in SIZES} for name, found in rows.items()
    }
    reached = {name: [reach(row) for row in found] for name, found in rows.items()}
    ours, peer = fmean(reached["verified"]), fmean(reached["random"])
    runs = {arm: [one["told"] for one in results[arm]] for arm in results}
    details = {"tested": TESTED, "core_seconds": round(seconds), "reached": reached, "shares": shares, "runs": runs}
    result("align_improve", "digits, 90 % right", ours, peer, **details)


def reach(shares: Sequence[float]) -> int:
    """Return the largest size at which, as at all untrained smaller ones, 90 % are right."""
    solved = 0
    for size, share in zip(SIZES, shares, strict=True):
        if size >= TRAINED and share < 0.9:
            break
        solved = size
    return solved


def interval(values: Sequence[float]) -> dict[str, float | int | None]:
    """Return the mean over seeds with its 95 % interval by Student's t; a single seed has none."""
    return student(np.asarray(values), 0.0, 1.0).as_dict()


if __name__ == "__main__":
    main()
