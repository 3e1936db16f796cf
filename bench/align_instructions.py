"""Measure tuning on instructions: loss, exact match and F1 on held-out rows, before and after.

DATA contains `short_instructions.json` and `fairytaleqa.jsonl`; LIFE is a life of `sayso demo`, whose base model is
ours. The other model is SmolLM2-135M-Instruct with LoRA, which was already tuned on other instructions. Both are tuned
with `sayso finetune --data` and judged on held-out rows of each set. Run:
python -m bench.align_instructions DATA LIFE WORK
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.harness import TINY, parser, result, save_picture, say, sized
from bench.picture import Bar, picture
from bench.smollm2 import smollm2
from bench.tiny import tiny_life, write_instructions
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.judge.answers.text import exact_match, f1
from sayso.judge.replies import reply_nats
from sayso.judge.statistics.estimate import Estimate, estimate, paired, ratio
from sayso.reply.conversation import Replier
from sayso.run.finetune import Finetune, finetune
from sayso.run.import_model import Import, import_model
from sayso.sample.sampling import Sampling
from sayso.token.chat import render
from sayso.weights.folder import load_model, save_model

SAY = Sampling(temperature=0, max_tokens=sized(40, 3))
WORDS = 130  # longest section of a story, to keep rows short
ROW = 512
Row = dict[str, Any]
Figures = dict[str, np.ndarray[Any, np.dtype[np.float64]]]


@dataclass(frozen=True)
class Plan:
    """How one model is tuned and judged."""

    name: str
    train: dict[str, int]
    """Number of training rows of each set; each seed draws others."""
    test: int
    """Number of test rows of each set; the same for every seed."""
    options: dict[str, Any]
    seeds: tuple[int, ...]


SMOL = Plan(
    "SmolLM2-135M-Instruct, LoRA",
    sized({"short": 400, "fairytale": 120}, {"short": 4, "fairytale": 4}),
    sized(80, 2),
    {"parent": "smollm2", "lora_rank": 16, "rows": 2, "epochs": 1.0, "held_out": sized(24, 2)},
    (0,),
)
OURS = Plan(
    "ours, 1.2M weights",
    sized({"short": 900, "fairytale": 2200, "smallworld": 5000}, {"short": 4, "fairytale": 4, "smallworld": 4}),
    sized(200, 2),
    {"parent": "base", "rows": 8, "epochs": 1.5, "rate": 1.0, "held_out": sized(100, 2)},
    sized((0, 1, 2), (0,)),
)


def main() -> None:
    """Tune and judge both models, or the one in ONLY."""
    arguments = parser("align_instructions", __doc__)
    for name in ("data", "life", "work"):
        arguments.add_argument(name, type=Path, nargs=sized(None, "?"))
    arguments.add_argument("only", nargs="*", help="parent of the only model to run, smollm2 or base")
    options = arguments.parse_args()
    if not TINY:
        measured(options.data, options.life, options.work, options.only)
        return
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "work").mkdir()
        measured(write_instructions(root / "data"), tiny_life(root / "life").root, root / "work", ())


def measured(data: Path, life: Path, work: Path, only: Sequence[str]) -> None:
    """Tune and judge both models, draw the results, and print the figures.

    WORK keeps each model's figures, so that two processes may measure one model each, with ONLY.
    """
    sets = {"short": short(data), "fairytale": fairytale(data), "smallworld": small_world(life)}
    found = {}
    for plan in (SMOL, OURS):
        parent = str(plan.options["parent"])
        path = work / f"{parent}.json"
        if not path.exists() and parent in (only or (parent,)):
            with TemporaryDirectory() as folder:
                write_json(path, tuned(plan, sets, Path(folder), life / "models" / "base"))
        if path.exists():
            found[plan.name] = read_json(path)
    if len(found) < 2:
        return
    draw(found)
    smol = found[SMOL.name]["fairytale"]["f1"]
    result(
        "align_instructions", "F1 on FairytaleQA", smol["after"]["mean"], smol["before"]["mean"],
        peer_name="before tuning", models=found,
    )  # fmt: skip


def tuned(plan: Plan, sets: dict[str, tuple[list[Row], list[Row]]], root: Path, base: Path) -> dict[str, Any]:
    """Tune a model once per seed; return each set's figures before and after."""
    tests = {name: sets[name][1][: plan.test] for name in plan.train}
    parent = base
    if plan.options["parent"] == "smollm2":
        parent = root / "models" / "smollm2"
        if TINY:
            save_model(*smollm2(), parent, {"stage": "tuned"})
        else:
            import_model(Import("smollm2", life=root))
    else:
        (root / "models").mkdir(parents=True)
        (root / "models" / "base").symlink_to(base.resolve())
    before = {name: judged(parent, rows) for name, rows in tests.items()}
    after: dict[str, list[Figures]] = {name: [] for name in tests}
    for seed in plan.seeds:
        chosen = [row for name, count in plan.train.items() for row in drawn(sets[name][0], count, seed)]
        path = root / f"train-{seed}.jsonl"
        write_jsonl(path, ({"messages": row["messages"]} for row in chosen))
        finetune(Finetune(
            life=root, data=(str(path),), name=f"tuned-{seed}", seed=seed, row_tokens=ROW, device="cpu",
            processes=1, **plan.options,
        ))  # fmt: skip
        for name, rows in tests.items():
            after[name].append(judged(root / "models" / f"tuned-{seed}", rows))
    return {name: compared(before[name], after[name]) for name in tests}


def judged(folder: Path, rows: Sequence[Row]) -> Figures:
    """Return each row's nats and trained tokens, exact match, F1, and whether the reply ended with a stop token."""
    model, tokenizer = load_model(folder, "cpu")
    conversations = [render(tokenizer, row["messages"]) for row in rows]
    nats, counts = reply_nats(model, conversations, max(ROW, *(len(ids) for ids, _ in conversations)))
    replies = Replier(model, tokenizer).replies([row["messages"][:-1] for row in rows], SAY)
    for row, reply in list(zip(rows, replies, strict=True))[:3]:
        say(f"{folder.name}: {row['right'][0]!r} <- {reply.text!r}")
    pairs = [(reply.text, row["right"]) for row, reply in zip(rows, replies, strict=True)]
    return {
        "nats": nats,
        "counts": counts,
        "exact": np.array([exact_match(*pair) for pair in pairs]),
        "f1": np.array([f1(*pair) for pair in pairs]),
        "ended": np.array([float(reply.finish == "stop") for reply in replies]),
    }


def compared(before: Figures, after: Sequence[Figures]) -> dict[str, Any]:
    """Return each figure before and after, and the gain, with 95 % intervals over the rows.

    The value of a row after tuning is its mean over the seeds; `seeds` lists each seed's figure.
    """
    mean = {name: np.mean([one[name] for one in after], axis=0) for name in before}
    counts = before["counts"]
    figures: dict[str, Any] = {"loss": _rounded(
        ratio(before["nats"], counts), ratio(mean["nats"], counts), ratio(mean["nats"] - before["nats"], counts),
        [one["nats"].sum() / counts.sum() for one in after],
    )}  # fmt: skip
    for name in ("exact", "f1", "ended"):
        figures[name] = _rounded(
            estimate(before[name], 0, 1), estimate(mean[name], 0, 1), paired(mean[name], before[name]),
            [one[name].mean() for one in after],
        )  # fmt: skip
    return figures


def _rounded(before: Estimate, after: Estimate, gain: Estimate, seeds: Sequence[float]) -> dict[str, Any]:
    figures = {"before": before, "after": after, "gain": gain}
    rounded = {
        name: {key: round(getattr(one, key), 4) for key in ("mean", "low", "high")} for name, one in figures.items()
    }
    return {**rounded, "seeds": [round(float(one), 4) for one in seeds]}


def short(data: Path) -> tuple[list[Row], list[Row]]:
    """Return the short instructions to train on and the held-out ones, a fixed seventh."""
    rows = []
    for row in read_json(data / "short_instructions.json"):
        question = f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"]
        rows.append(_row(question, [row["output"]]))
    return [row for row in rows if _rank(row) % 7], sorted((row for row in rows if not _rank(row) % 7), key=_rank)


def fairytale(data: Path) -> tuple[list[Row], list[Row]]:
    """Return questions about short sections of the training stories and of the test stories."""
    parts: dict[str, list[Row]] = {"train": [], "val": [], "test": []}
    for story in read_jsonl(data / "fairytaleqa.jsonl"):
        for one in story["questions"]:
            if not one["section"].isdigit():
                continue  # a question about several sections
            section = story["sections"][int(one["section"]) - 1]
            if len(section.split()) <= WORDS:
                right = [answer for answer in (one["answer"], one["answer2"]) if answer]
                parts[story["split"]].append(_row(f"{section}\n\n{one['question']}", right))
    return parts["train"], sorted(parts["test"], key=_rank)


def small_world(life: Path) -> tuple[list[Row], list[Row]]:
    """Return the life's conversations of the small world from its training and its test split."""
    parts = []
    for split in ("train", "test"):
        rows = (row["messages"] for row in read_jsonl(life / "data" / "chat" / f"{split}.jsonl") if _world(row))
        parts.append([{"messages": messages, "right": [messages[-1]["content"]]} for messages in rows])
    return parts[0], sorted(parts[1], key=_rank)


def drawn(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Return `count` rows drawn with a seed."""
    order = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [rows[index] for index in order]


def draw(found: dict[str, Any]) -> None:
    """Draw each model's figures on each set, before and after."""
    names = {"loss": "loss, nats per token", "f1": "F1", "exact": "exact match"}
    panels = {
        title: [
            Bar(f"{model.split(',')[0]}: {part}", *(figures[key][when] for when in ("before", "after")))
            for model, sets in found.items()
            for part, figures in sets.items()
        ]
        for key, title in names.items()
    }
    path = Path("docs/images/align_instructions.svg")
    save_picture(path, picture("Tuning on instructions: before and after, on held-out rows (95 %)", panels))


def _row(question: str, right: list[str]) -> Row:
    return {"messages": [_turn("user", question), _turn("assistant", right[0])], "right": right}


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _world(row: Row) -> bool:
    return bool(row["source"] == "smallworld")


def _rank(row: Row) -> int:
    return int(sha256(json.dumps(row["messages"]).encode()).hexdigest()[:8], 16)


if __name__ == "__main__":
    main()
