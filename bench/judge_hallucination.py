"""Measure whether models know what they know, and what `sayso finetune --abstain` changes, over several seeds.

LIFE is a life with prepared `wiki` documents and conversations, such as one of `sayso demo`; MODEL is its model. The
other model is SmolLM2-135M-Instruct with LoRA. Both are asked the same questions before and after; the parent is asked
once, the seeds differ in the order of training. WORK keeps everything, so that a killed bench continues. Run:
python -m bench.judge_hallucination LIFE WORK [MODEL]
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.harness import TINY, parser, result, save_picture, say, sized
from bench.smollm2 import smollm2
from bench.tiny import tiny_life
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.judge.bits import bits_per_byte
from sayso.judge.held_out import held_out
from sayso.judge.knowledge.ask import AskedFact
from sayso.judge.scorecard import judge_tasks
from sayso.judge.statistics.estimate import Estimate, estimate, paired
from sayso.reply.conversation import Replier
from sayso.report.chart import COLORS, Panel, Series, picture
from sayso.run.evaluate import Evaluate, evaluate
from sayso.run.finetune import Finetune, finetune
from sayso.run.import_model import Import, import_model
from sayso.weights.folder import load_model, save_model

SEEDS = sized((0, 1, 2), (0,))
QUESTIONS = sized(32, 3)  # of each group
SAMPLES = sized(5, 2)  # to each, before; those after are only marked
BYTES, TASKS = sized(20_000, 2_000), sized(2, 1)


@dataclass(frozen=True)
class Plan:
    """How one model is taught to abstain."""

    name: str
    abstain: int
    """Number of practice questions."""
    talks: int
    """Number of ordinary conversations to mix with."""
    options: Mapping[str, Any]


SMOL = Plan("SmolLM2-135M-Instruct", sized(64, 8), sized(40, 8), {"lora_rank": 16, "rows": 2, "steps": sized(20, 1)})
OURS = Plan("the life's model", sized(200, 8), sized(150, 8), {"rows": 4, "steps": sized(30, 1)})


def main() -> None:
    """Measure both models, or the one in ONLY."""
    arguments = parser("judge_hallucination", __doc__)
    for name in ("life", "work"):
        arguments.add_argument(name, type=Path, nargs=sized(None, "?"))
    arguments.add_argument("model", nargs="?", default="tuned")
    arguments.add_argument("--only", choices=("smollm2", "life"), help="measure only this model")
    options = arguments.parse_args()
    if not TINY:
        measured(options.life, options.work, options.model, options.only)
        return
    with TemporaryDirectory() as folder:
        measured(tiny_titles(Path(folder) / "life").root, Path(folder) / "work", "tuned", None)


def tiny_titles(folder: Path) -> Life:
    """Return a tiny life with documents about towns."""
    life = tiny_life(folder)
    names = [f"{a}{b}" for a in ("Bel", "Kar", "Mon", "Tor") for b in ("ona", "adel", "ivar", "umis", "erin")]
    rows = [{"title": one, "text": f"{one} is a town in Peru. It is old.", "source": "wiki"} for one in names]
    write_jsonl(life.data("text") / "train-00001.jsonl", rows[:14])
    write_jsonl(life.data("text") / "val-00001.jsonl", rows[14:])
    return life


def measured(life: Path, work: Path, model: str, only: str | None) -> None:
    """Measure each model, draw the curves, and print the figures."""
    found = {}
    for plan, parent in ((SMOL, "smollm2"), (OURS, model)):
        path = work / f"{parent}.json"
        if not path.exists() and only in (None, "smollm2" if plan is SMOL else "life"):
            say(f"{plan.name}: {QUESTIONS} questions a group, {plan.abstain} to practice")
            write_json(path, of_model(plan, parent, life.resolve(), work / parent))
        if path.exists():
            found[plan.name] = read_json(path)
    draw(found)
    first = next(iter(found.values()))
    false = first["marks"]["real"]["wrong"]
    result(
        "judge_hallucination", "share of false answers", false["after"]["mean"], false["before"]["mean"],
        peer_name="before", models=found,
    )  # fmt: skip


def of_model(plan: Plan, parent: str, source: Path, root: Path) -> dict[str, Any]:
    """Measure one model before and after, in a life of its own that shares the text of `source`."""
    life = Life(root)
    life.data("text").parent.mkdir(parents=True, exist_ok=True)
    if not life.data("text").exists():
        life.data("text").symlink_to(source / "data" / "text")
    talks = root / "talks.jsonl"
    write_jsonl(talks, islice(read_jsonl(source / "data" / "chat" / "train.jsonl"), plan.talks))
    place_parent(parent, source, life)
    before = exam(life, parent, SAMPLES)
    names = {seed: f"abstains-{seed}" for seed in SEEDS}
    for seed, name in names.items():
        finetune(Finetune(
            life=root, parent=parent, name=name, data=(str(talks),), abstain=plan.abstain, held_out=sized(0.1, 2),
            row_tokens=sized(256, 128), long="drop", seed=seed, device="cpu", processes=1, **plan.options,
        ))  # fmt: skip
    after = [exam(life, name, 2) for name in names.values()]
    run = read_json(life.run(f"finetune-{names[SEEDS[0]]}") / "plan.json")
    costs = [cost(life, name) for name in (parent, *names.values())]
    return {
        "questions": {group: part["items"] for group, part in before[0]["tasks"].items()},
        "confidence": before[0]["confidence"],
        "practice": run["derived"]["abstain"],
        "marks": marks(before[1], [rows for _, rows in after]),
        "bits": change(costs[0]["bits"], [one["bits"] for one in costs[1:]]),
        "tasks": change(costs[0]["tasks"], [one["tasks"] for one in costs[1:]]),
    }


def place_parent(parent: str, source: Path, life: Life) -> None:
    """Make the parent a model of the life."""
    if life.model(parent).exists():
        return
    if parent != "smollm2":
        life.model(parent).parent.mkdir(parents=True, exist_ok=True)
        life.model(parent).symlink_to(source / "models" / parent)
    elif TINY:
        save_model(*smollm2(), life.model(parent), {"stage": "imported"})
    else:
        import_model(Import("smollm2", life=life.root))


def exam(life: Life, name: str, samples: int) -> tuple[dict[str, Any], list[AskedFact]]:
    """Return the figures of a model, and its replies."""
    scores = evaluate(Evaluate(
        name, life=life.root, suite="knowledge", n=QUESTIONS, samples=samples, device="cpu",
    ))  # fmt: skip
    rows = list(read_jsonl(life.run(f"evaluate-{name}") / "knowledge.jsonl"))[1:]
    return scores, [AskedFact.from_dict(row) for row in rows]


def cost(life: Life, name: str) -> dict[str, list[float]]:
    """Return a model's bits per byte on held-out text of each document, and its marks in small-world tasks."""
    path = life.run(f"evaluate-{name}") / "cost.jsonl"
    if path.exists():
        return dict(next(iter(read_jsonl(path))))
    replier = Replier(*load_model(life.model(name), "cpu"))
    sample = next(iter(held_out(life.data("text"), "val", BYTES).values()))
    bits = [bits_per_byte(replier.model, replier.tokenizer, [text]).mean for text in sample.texts]
    tasks = [float(answer.score) for answer in judge_tasks(replier, TASKS, 0).answers]
    found = {"bits": bits, "tasks": tasks}
    write_jsonl(path, [found])
    return found


def marks(before: Sequence[AskedFact], after: Sequence[Sequence[AskedFact]]) -> dict[str, Any]:
    """Return the share of each mark before and after, of questions about real and about invented subjects."""
    found: dict[str, Any] = {}
    for kind in ("real", "invented"):
        chosen = [number for number, row in enumerate(before) if (row.group == "invented") == (kind == "invented")]
        found[kind] = {
            mark: change(
                [float(before[number].mark == mark) for number in chosen],
                [[float(rows[number].mark == mark) for number in chosen] for rows in after],
            )
            for mark in ("right", "wrong", "abstained")
        }
    return found


def change(before: Sequence[float], after: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return a mean before and after, and the difference, paired by item; its value after is the mean of the seeds."""
    mean = np.mean(np.asarray(after, np.float64), axis=0)
    high = 1 if max(*before, *mean) <= 1 else math.inf
    figures = {"before": estimate(before, 0, high), "after": estimate(mean, 0, high), "gain": paired(mean, before)}
    return {
        **{name: brief(one) for name, one in figures.items()},
        "seeds": [round(float(np.mean(one)), 4) for one in after],
    }


def brief(one: Estimate) -> dict[str, float]:
    """Return an estimate, rounded."""
    return {key: round(getattr(one, key), 4) for key in ("mean", "low", "high")}


def draw(found: Mapping[str, Any]) -> None:
    """Draw how reliable each confidence is and the risk at each coverage, before, a pair of panels for each model."""
    panels = []
    for name, one in found.items():
        reliability = [Series("perfect calibration", [(0, 0), (1, 1)], "#7d879a", "dashed")]
        risk = []
        for color, (kind, part) in zip(COLORS, one["confidence"].items(), strict=False):
            reliability.append(Series(kind, [(said, was) for said, was, _ in part["bins"]], color, "both"))
            risk.append(Series(kind, [(x, y) for x, y in part["curve"]], color))
        panels += [
            Panel(name, "confidence", "share that is right", reliability, (0, 1), (0, 1)),
            Panel(name, "share answered", "share of these that is wrong", risk, (0, 1), (0, 1)),
        ]
    save_picture(Path("docs/images/judge_hallucination.svg"), picture("Confidence before tuning", panels, columns=2))


if __name__ == "__main__":
    main()
