"""Whole lives of `sayso demo`, from scratch, with several seeds, to see whether the assistant is right every time.

    python -m bench.demo_lives [--seeds 5] [--minutes 11.9] [--work FOLDER]

Each seed is one life in a process of its own, as a user runs it, then fifty turns of everyday chat with the aligned
model (bench/everyday.py). `ours` is the lowest of the lives' mean accuracies on look-ups, six families of questions
about stories; `peer` is the bar. Run it on a quiet machine: the budget is in minutes. Started again with the same
folder, it continues where it was stopped; a finished life is not repeated. The time of an interrupted life is that of
its last command only, and its row says so.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.everyday import SHOWN, TURNS, on_topic
from bench.harness import TINY, parser, result, say, sized
from sayso.base.files import read_json, write_json
from sayso.base.life import STAGES, Life
from sayso.judge.statistics.estimate import paired
from sayso.reply.conversation import Replier
from sayso.run.demo import MINUTES, Demo, demo
from sayso.sample.sampling import Sampling
from sayso.weights.folder import load_model
from sayso.world import STORY_FAMILIES

BAR = 0.80
OTHERS = ("one_word", "self")
CHAT = Sampling(temperature=0, max_tokens=sized(120, 4))


def main() -> None:
    """Live every life, and print its row and the summary."""
    arguments = parser("demo_lives", __doc__)
    arguments.add_argument("--seeds", type=int, default=sized(5, 1))
    arguments.add_argument("--minutes", type=float, default=MINUTES)
    arguments.add_argument("--work", type=Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        rows = [row_of(work, seed, given.minutes) for seed in range(given.seeds)]
    lowest = min(row["look_ups"]["aligned"] for row in rows)
    result("demo_lives", "right look-ups", lowest, BAR, minutes=given.minutes, lives=rows)


def row_of(work: Path, seed: int, minutes: float) -> dict[str, Any]:
    """Return the row of a life, living it first if necessary."""
    path = work / f"seed-{seed}.json"
    if not path.exists():
        life = Life(work / f"seed-{seed}")
        resumed, began = life.root.exists(), time.perf_counter()
        live(life, seed, minutes)
        row = {"seed": seed, "seconds": round(time.perf_counter() - began), "resumed": resumed, **figures(life)}
        write_json(path, row)
    row = read_json(path)
    say({name: value for name, value in row.items() if name != "replies"})
    for reply in row["chat"]["read"]:
        say(reply)
    return dict(row)


def live(life: Life, seed: int, minutes: float) -> None:
    """Run the demo."""
    if TINY:
        demo(Demo(life=life.root, seed=seed, serve=False, tiny=True))
        return
    flags = ["--life", str(life.root), "--seed", str(seed), "--minutes", str(minutes), "--no-serve"]
    subprocess.run([sys.executable, "-m", "sayso", "demo", *flags], check=True, env=os.environ, stdout=sys.stderr)


def figures(life: Life) -> dict[str, Any]:
    """Return what a life's models reached."""
    scores = {stage: read_json(life.run(f"evaluate-{stage}") / "scores.json") for stage in STAGES}
    values = {stage: _look_ups(found) for stage, found in scores.items()}
    gain = paired(values["aligned"], values["tuned"])
    families = scores["aligned"]["families"]
    return {
        "look_ups": {stage: _rounded(scores[stage]["smallworld_accuracy"]["mean"]) for stage in STAGES},
        "families": {name: _rounded(families[name]["mean"]) for name in (*STORY_FAMILIES, *OTHERS)},
        "instructions": {stage: _rounded(scores[stage]["instructions"]["mean"]) for stage in STAGES},
        "aligned_minus_tuned": {name: _rounded(value) for name, value in gain.as_dict().items() if value is not None},
        "bits_per_byte": {
            stage: {kind: _rounded(found["mean"]) for kind, found in scores[stage]["bpb"].items()} for stage in STAGES
        },
        "above_baselines": {
            kind: {name: _rounded(value["mean"]) for name, value in found["above"].items()}
            for kind, found in scores["base"]["bpb"].items()
        },
        "forgotten": {
            kind: _rounded(scores["aligned"]["bpb"][kind]["mean"] - found["mean"])
            for kind, found in scores["base"]["bpb"].items()
        },
        "chat": chat(life),
    }


def chat(life: Life) -> dict[str, Any]:
    """Return how many replies of the aligned model to everyday chat count, and those to read."""
    replier = Replier(*load_model(life.model("aligned")))
    replies = replier.replies([[{"role": "user", "content": turn.said}] for turn in TURNS], CHAT)
    right = [on_topic(turn, reply.text, reply.finish) for turn, reply in zip(TURNS, replies, strict=True)]
    read = [{"said": TURNS[n].said, "reply": replies[n].text, "counts": right[n]} for n in SHOWN]
    missed = [{"said": TURNS[n].said, "reply": replies[n].text} for n in range(len(TURNS)) if not right[n]]
    return {"right": sum(right), "of": len(TURNS), "read": read, "missed": missed}


def _look_ups(scores: Mapping[str, Any]) -> list[float]:
    return [value for family in STORY_FAMILIES for value in scores["families"][family]["values"]]


def _rounded(value: float) -> float:
    return round(value, 4)


if __name__ == "__main__":
    main()
