"""Small made-up inputs for benches with `--tiny`, in the formats of the real ones: a life and human judgements."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import torch

from sayso import world
from sayso.base.files import write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.weights.folder import save_model

TASKS = 24


def tiny_life(folder: Path) -> Life:
    """Return a life with text, conversations and random models, like one of `sayso demo`."""
    life = Life(folder)
    texts = [world.document(0, index, "train") for index in range(40)]
    write_jsonl(life.data("text") / "train-00000.jsonl", texts[:30])
    write_jsonl(life.data("text") / "val-00000.jsonl", texts[30:32])
    for split in ("train", "test"):
        tasks = [world.task(0, index, split, "words") for index in range(TASKS)]
        write_jsonl(
            life.data("chat") / f"{split}.jsonl",
            ({"messages": conversation(one), "source": "smallworld"} for one in tasks),
        )
    tokenizer = train("bpe", [row["text"] for row in texts], 400)
    for name in ("base", "tuned"):
        shape = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 64, context=512)
        model = Transformer(shape).initialize(torch.Generator().manual_seed(0))
        save_model(model.eval(), tokenizer, life.model(name), {"stage": name, "seed": 0})
    return life


def conversation(task: world.Task) -> list[dict[str, str]]:
    """Return a task with its reply as a conversation."""
    return [*task.prompt.messages, {"role": "assistant", "content": task.reply}]


def write_pairs(path: Path) -> None:
    """Write pairs of a task's reply against the reply to another task."""
    tasks = [world.task(0, index, "train", "words") for index in range(TASKS)]
    rows = (
        {"prompt": list(one.prompt.messages), "chosen": one.reply, "rejected": other.reply, "source": "tiny"}
        for one, other in pairwise(tasks)
        if one.reply != other.reply
    )
    write_jsonl(path, rows)


def write_instructions(folder: Path) -> Path:
    """Write short instructions and questions about stories; return their folder."""
    short = [{"instruction": f"Say the number {n}.", "input": "", "output": f"{n}"} for n in range(60)]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "short_instructions.json", short)
    question = {"question": "Who went?", "answer": "the fox", "answer2": "a fox", "section": "1"}
    stories = [
        {"split": split, "sections": [f"The fox went to hill {n}."], "questions": [question]}
        for split in ("train", "test")
        for n in range(6)
    ]
    write_jsonl(folder / "fairytaleqa.jsonl", stories)
    return folder


def write_judgements(folder: Path) -> Path:
    """Write comparisons and ratings, one conversation each; return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "hh_harmless_test.jsonl.gz", "wt") as file:
        for n in range(16):
            before, good, bad = f"\n\nHuman: hello number {n}", "good day to you", "go away"
            row = {"chosen": f"{before}\n\nAssistant: {good}", "rejected": f"{before}\n\nAssistant: {bad} {n}"}
            file.write(json.dumps(row) + "\n")
    for part in (3, 4):
        rows = []
        for n in range(16):
            context = [{"role": "user", "text": f"a table for {n}"}, {"role": "agent", "text": f"at {n} o'clock"}]
            rows.append({
                "context": json.dumps(context), "reward": float(n % 2),
                "generation": json.dumps({"role": "agent", "text": "yes gladly" if n % 2 else "no"}),
            })  # fmt: skip
        write_json(folder / "taskmaster_rewards" / f"TM-{part}-0.json", rows)
    return folder
