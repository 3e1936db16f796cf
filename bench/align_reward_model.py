"""Reward models on human judgements: accuracy on held-out conversations, compared with the length of replies alone.

    python -m bench.align_reward_model MODEL DATA [--only harmless taskmaster-3 taskmaster-4] [--work FOLDER]

With the same FOLDER, another run may use other data and another model; the picture shows both.

MODEL is the folder of the model to start from, such as a demo's tuned model, or an imported SmolLM2 cut to its first
`--layers` and tuned with `--rank`. DATA is a folder with `hh_harmless_test.jsonl.gz` (comparisons of replies, Bai et
al. 2022) and `taskmaster_rewards` (turns of an agent, rated good or bad). Every conversation is held out once: each
fold is scored by a model that `sayso reward` trained on the other folds, with another seed.
"""

import argparse
import gzip
import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import numpy as np

from bench.harness import TINY, parser, result, save_picture, say, sized
from bench.tiny import tiny_life, write_judgements
from sayso.align.pairs.comparisons import ComparisonRow
from sayso.align.pairs.reward_data import Question, questions, tokenized
from sayso.align.scorer import open_scorer
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.batch.judged import JudgedPrompt
from sayso.judge.reward import length_sign, reward_knowledge
from sayso.judge.statistics.estimate import Floats
from sayso.model import Transformer
from sayso.report.chart import COLORS, Panel, Series, picture
from sayso.run.reward import Reward, reward
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import load_model, save_model

LONGEST = 192  # tokens of a prompt with its reply; longer ones are left out
TURN_WORDS = 24  # last words of the turn before the reply
PICTURE = Path("docs/images/align_reward_model.svg")
NAMES = ("harmless", "taskmaster-3", "taskmaster-4")


def harmless(data: Path) -> Iterator[ComparisonRow]:
    """Yield comparisons of two replies to one conversation."""
    with gzip.open(data / "hh_harmless_test.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            (before, chosen), (other, rejected) = (
                row[key].rsplit("\n\nAssistant:", 1) for key in ("chosen", "rejected")
            )
            chosen, rejected = chosen.strip(), rejected.strip()
            if before == other and chosen and rejected and chosen != rejected:
                question = cut(re.split(r"\n\n(?:Human|Assistant):", before)[-1])
                prompt = [{"role": "user", "content": question}]
                yield {"prompt": prompt, "chosen": chosen, "rejected": rejected, "group": before[:200]}


def taskmaster(data: Path, part: str) -> Iterator[ComparisonRow]:
    """Yield rated turns of an agent, tool calls included, with the turn before as the prompt."""
    for path in sorted((data / "taskmaster_rewards").glob(f"TM-{part}-*.json")):
        for row in json.loads(path.read_text()):
            context = [f"{turn['role']}: {cut(text_of(turn))}" for turn in json.loads(row["context"])]
            if context:
                prompt = [{"role": "user", "content": context[-1]}]
                reply, good = text_of(json.loads(row["generation"])), row["reward"] == 1.0
                yield {"prompt": prompt, "reply": reply, "good": good, "group": " ".join(context[:2])}


def text_of(turn: dict[str, Any]) -> str:
    """Return the text of a turn, or the data of a call or result."""
    return str(turn.get("text") or json.dumps({key: value for key, value in turn.items() if key != "role"}))


def cut(text: str) -> str:
    """Return the last words of a text."""
    return " ".join(text.split()[-TURN_WORDS:])


def truncated(folder: Path, layers: int, into: Path) -> None:
    """Write a model with only its first layers (0 = all)."""
    full, tokenizer = load_model(folder)
    config = replace(full.config, layers=layers or full.config.layers, windows=full.config.windows[: layers or None])
    model = Transformer(config)
    state = full.state_dict()
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    if config.tie_embeddings:
        model.unembed.weight = model.embed.weight
    save_model(model, tokenizer, into, {"stage": "tuned", "parent": folder.name})


def of_fold(
    rows: Sequence[ComparisonRow], name: str, fold: int, life: Life, options: argparse.Namespace
) -> dict[str, Any]:
    """Train on all folds but one; return the scores of that one, and figures about them."""
    _, tokenizer = load_model(life.model("begin"))
    inside = [row for row in rows if place(row, options.folds) != fold]
    outside = read([row for row in rows if place(row, options.folds) == fold], tokenizer)
    path = life.root / f"{name}-{fold}.jsonl"
    write_jsonl(path, inside)
    pairs, ratings = ((path,), ()) if "chosen" in rows[0] else ((), (path,))
    began = time.process_time()
    reward(
        Reward(life=life.root, parent="begin", name=f"{name}-{fold}", lora_rank=options.rank or None, seed=10 * fold,
               epochs=options.epochs, rate=options.rate, members=options.members, samples=0, processes=1,
               save_seconds=1e9, pairs=pairs, ratings=ratings)
    )  # fmt: skip
    members = [f"{name}-{fold}", *(f"{name}-{fold}-{n}" for n in range(2, options.members + 1))]
    scorer = open_scorer([life.model(member) for member in members])
    asked: list[tuple[Any, str, dict[str, Any]]] = [
        (one.prompt, reply, {}) for one, _ in outside for reply in one.replies
    ]
    cuts = np.cumsum([len(one.replies) for one, _ in outside])[:-1]
    scores = np.split(np.array(scorer(asked)), cuts)
    sign = length_sign([judged for _, judged in read(inside, tokenizer)])
    found = figures_of(outside, scores, sign)
    say(f"{name} fold {fold}: {json.dumps(found)}")
    seconds = time.process_time() - began
    return {"sign": sign, "scores": [own.tolist() for own in scores], "told": found, "seconds": seconds}


def figures_of(asked: Sequence[tuple[Question, JudgedPrompt]], scores: Sequence[Floats], sign: int) -> dict[str, Any]:
    """Return figures about the scores of judged questions."""
    judged, groups = [judged for _, judged in asked], [one.group for one, _ in asked]
    return reward_knowledge(judged, scores, groups, sign).as_dict()


def read(rows: Sequence[ComparisonRow], tokenizer: Tokenizer) -> list[tuple[Question, JudgedPrompt]]:
    """Return the questions of the rows that fit."""
    return tokenized(questions(rows), tokenizer, LONGEST)


def place(row: ComparisonRow, folds: int) -> int:
    """Return the fold of a row's conversation."""
    return crc32(str(row["group"]).encode()) % folds


def measured(name: str, life: Life, options: argparse.Namespace) -> dict[str, Any]:
    """Return figures of the models of all folds on their held-out data."""
    _, tokenizer = load_model(life.model("begin"))
    found_rows = harmless(options.data) if name == "harmless" else taskmaster(options.data, name[-1])
    rows = [row for row in found_rows if read([row], tokenizer)]
    Random(0).shuffle(rows)
    rows = rows[: options.most or None]
    folds: list[dict[str, Any]] = []
    asked: list[tuple[Question, JudgedPrompt]] = []
    scores: list[Floats] = []
    for fold in range(options.folds):
        kept = options.work / f"{name}-{fold}.json" if options.work else None
        if kept is None or not kept.exists():
            folds.append(of_fold(rows, name, fold, life, options))
            if kept is not None:
                write_json(kept, folds[-1])
        else:
            folds.append(read_json(kept))
        own = [np.array(each) for each in folds[-1]["scores"]]
        flat = np.concatenate(own)
        middle, spread = (flat.mean(), flat.std()) if "good" in rows[0] else (0.0, 1.0)
        # each fold has its own model: ratings are comparable across folds only with standardized scores
        scores += [(each - middle) / spread for each in own]
        asked += read([row for row in rows if place(row, options.folds) == fold], tokenizer)
    total = figures_of(asked, scores, 1 if sum(one["sign"] for one in folds) >= 0 else -1)
    if "good" in rows[0]:  # standardized scores are not probabilities, but each fold's own are
        errors = [one["told"]["calibration_error"] for one in folds]
        total |= {"bins": [], "calibration_error": float(np.mean(errors)) if None not in errors else None}
    return total | {
        "folds": [round(one["told"]["accuracy"]["mean"], 4) for one in folds],
        "rows": len(rows),
        "conversations": len({one.group for one, _ in asked}),
        "cpu_minutes": round(sum(one["seconds"] for one in folds) / 60, 1),
    }


def kept(name: str, life: Life, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures, from the work folder if they exist, whatever model they started from."""
    path = options.work / f"whole-{name}.json" if options.work else None
    if path is not None and path.exists():
        return dict(read_json(path))
    found = measured(name, life, options) | {"from": options.model.name, "layers": options.layers, "rank": options.rank}
    if path is not None:
        write_json(path, found)
    return found


def drawn(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the accuracy, that of length alone, and the calibration."""
    shares = [
        Series(label, [(n + shift, one[key]["mean"]) for n, one in enumerate(found.values(), 1)], color, "dots",
               [(one[key]["low"], one[key]["high"]) for one in found.values()])
        for label, key, color, shift in (
            ("reward model, with its 95 % interval", "accuracy", COLORS[0], -0.06),
            ("length alone", "length_accuracy", COLORS[1], 0.06),
        )
    ]  # fmt: skip
    chance = Series("chance", [(0.5, 0.5), (len(found) + 0.5, 0.5)], COLORS[3], "dashed")
    names = ", ".join(f"{n} {name}" for n, name in enumerate(found, 1))
    panels = [Panel("Accuracy on held-out conversations", names, "share", [chance, *shares], (0.5, len(found) + 0.5))]
    for n, (name, one) in enumerate(found.items()):
        bins = [each for each in one["bins"] if each["n"] >= 20]
        if name == "harmless" and bins:
            ends = [2 * (each["was"] * (1 - each["was"]) / each["n"]) ** 0.5 for each in bins]
            reach = [(each["was"] - end, each["was"] + end) for each, end in zip(bins, ends, strict=True)]
            dots = Series(name, [(each["said"], each["was"]) for each in bins], COLORS[n], "both", reach)
            straight = Series("ideal", [(0.5, 0.5), (1, 1)], COLORS[3], "dashed")
            panels.append(Panel("Calibration", "predicted probability", "share", [straight, dots]))
    save_picture(path, picture("Reward models on human judgements", panels))


def main() -> None:
    """Measure, draw, and print one JSON object."""
    arguments = parser("align_reward_model", __doc__)
    arguments.add_argument("model", type=Path, nargs=sized(None, "?"))
    arguments.add_argument("data", type=Path, nargs=sized(None, "?"))
    arguments.add_argument("--layers", type=int, default=0, help="number of first layers to keep; 0 = all")
    arguments.add_argument("--rank", type=int, default=0, help="LoRA rank; 0 = train all weights")
    arguments.add_argument("--folds", type=int, default=2)
    arguments.add_argument("--epochs", type=float, default=sized(2.0, 1.0))
    arguments.add_argument("--rate", type=float, default=0.3)
    arguments.add_argument("--members", type=int, default=1, help="members of the ensemble of each fold")
    arguments.add_argument("--most", type=int, default=0, help="maximum number of rows of a data set; 0 = all")
    arguments.add_argument("--only", nargs="*", default=list(NAMES))
    arguments.add_argument("--work", type=Path, help="folder for finished folds, to resume from")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder))
        if TINY:
            options.model = tiny_life(life.root / "begun").model("tuned")
            options.data = write_judgements(life.root / "judgements")
        truncated(options.model, options.layers, life.model("begin"))
        found = {name: kept(name, life, options) for name in options.only}
    for path in sorted(options.work.glob("whole-*.json")) if options.work else ():
        found.setdefault(path.stem.removeprefix("whole-"), read_json(path))
    drawn(found, PICTURE)
    first = found[options.only[0]]
    result(
        "align_reward_model", f"accuracy on {options.only[0]}, against length alone",
        first["accuracy"]["mean"], first["length_accuracy"]["mean"],
        **{name: {key: value for key, value in one.items() if key != "bins"} for name, one in found.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
