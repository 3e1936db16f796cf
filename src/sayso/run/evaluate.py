"""Act: a model is scored on text and tasks that it has not seen.

A model of the life enters; `runs/evaluate-NAME/scores.json` leaves: bits per byte on real text and on the small world
beside what must be beaten, each family of small-world tasks with its standard error, and replies to a fixed handful of
prompts. A base model, which knows no turns, is asked in the chat layout too: what tuning adds is then plain to see.
"""

from dataclasses import KW_ONLY, asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from sayso import world
from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import STAGES, Life
from sayso.base.log import act_log, say
from sayso.base.made import work_in
from sayso.base.ranges import Count, Options, Positive, Questions, Seed
from sayso.judge.baselines.measure import NAMES, Scores, baselines
from sayso.judge.bits import document_bits
from sayso.judge.held_out import HeldOut, held_out
from sayso.judge.stats import Estimate, ratio
from sayso.judge.world import Answer, Messages, WorldScores, judge_world
from sayso.reply.conversation import Replier
from sayso.run.model import called, resolve_model
from sayso.sample.sampling import Sampling
from sayso.token.load import fingerprint
from sayso.token.load import load as load_tokenizer
from sayso.weights.folder import load_model
from sayso.weights.tensors import weights_file

MEANS = ("smallworld_accuracy", "instructions")
CONTINUE = ("The river begins in the mountains and", "Once there was a small fox who")
ASK = (
    "Hello! How are you today?",
    "Who are you?",
    "Tell me a short story about a fox.",
    "Mira put the red cup in the kitchen. Then she took it to the garden. Where is the cup?",
    "Write two sentences with the words boat and lamp.",
)
SPEAK = Sampling(temperature=0.7, top_p=0.95, max_tokens=60, seed=0)  # for the samples, drawn once and not picked
ANSWER = Sampling(temperature=0, max_tokens=40)  # for tasks whose right replies are one short sentence at most
WRITE = Sampling(temperature=0, max_tokens=120)  # for instructions, which ask for more
ROOM = 20  # tokens that a task must leave for its reply


@dataclass(frozen=True)
class Evaluate(Options):
    """Options of `sayso evaluate`."""

    _: KW_ONLY
    life: Path = Path("life")
    """The folder of the life."""
    model: str = "aligned"
    """The model to score: one of the life's, or the path of a model folder."""
    n: Questions = 60
    """Questions of each small-world family; 0 = none."""
    text_bytes: Positive = 100_000
    """About how much held-out text of each kind is read."""
    baseline_bytes: Count = 64_000_000
    """About how much training text the baselines learn from at most; 0 = all."""
    split: str = "val"
    """Which held-out documents are read, val or test; the tasks are always the small world's test ones."""
    device: str | None = None
    """cpu, cuda or mps; the best one here when not given."""
    seed: Seed = 0
    """Fixes the questions."""


def evaluate(options: Evaluate) -> Scores:
    """Score a model on held-out text and tasks."""
    check(options)
    life = Life(options.life)
    folder = resolve_model(life, options.model)
    held = held_out(life.data("text"), options.split, options.text_bytes)
    if not held:
        raise UserError(
            f"A model is scored on held-out text, and '{life.data('text')}' has no {options.split} documents; prepare "
            f"text with --{options.split} above 0."
        )
    name = run_name(life, folder)
    path = life.run(f"evaluate-{name}") / "scores.json"
    work_in(path.parent)
    against = baselines(life, held, load_tokenizer(folder), fingerprint(folder), options.baseline_bytes)
    key = {"weights": sha256(weights_file(folder)), "baselines": against["key"], "asked": asked_for(options)}
    if path.exists() and (stored := read_object(path, "key"))["key"] == key:
        say(f"The model '{folder.name}' is scored already with these options.")
        return stored
    with act_log(life, "evaluate", name, options):
        replier = Replier(*load_model(folder, pick_device(options.device).kind))
        scores: Scores = {"key": key, "model": folder.name, "bpb": judge_text(replier, held, against)}
        asked = judge_tasks(replier, options)
        scores |= told(asked)
        scores["samples"] = samples(replier)
        write_jsonl(path.with_name("answers.jsonl"), (asdict(answer) for answer in asked.answers))
        write_json(path, scores, sealed=True)
    show(scores, against)
    return scores


def run_name(life: Life, folder: Path) -> str:
    """Return what the scores of a model folder are filed under: its name, with a mark if that is a model of the life's.

    So the scores of a model elsewhere never take the place of those of the life's model of the same name.
    """
    name = called(folder)
    own = life.model(name)
    if folder.resolve() == own.resolve() or not (name in STAGES or own.exists()):
        return name
    return f"{name}-{sha256(weights_file(folder))[:8]}"


def asked_for(options: Evaluate) -> Scores:
    """The options that decide the scores."""
    return {"n": options.n, "seed": options.seed, "split": options.split, "text_bytes": options.text_bytes}


def check(options: Evaluate) -> None:
    """Raise `UserError` for an option that cannot work."""
    if options.split not in ("val", "test"):
        raise UserError(f"--split is val or test; got '{options.split}'.")


def judge_text(replier: Replier, held: dict[str, HeldOut], against: Scores) -> Scores:
    """Bits per byte of each kind and source, and how far from each baseline on the same documents."""
    tokenizer = replier.tokenizer
    scores: Scores = {}
    for kind, sample in held.items():
        sizes = np.array(sample.sizes)
        bits = document_bits(replier.model, tokenizer.encode_batch(sample.texts), tokenizer.specials["<|bos|>"])
        of_source = {
            name: np.array([source == name for source in sample.sources]) for name in sorted({*sample.sources})
        }
        scores[kind] = {
            **ratio(bits, sizes).as_dict(),
            "bytes": int(sizes.sum()),
            "sources": {name: ratio(bits[own], sizes[own]).as_dict() for name, own in of_source.items()},
            "above": {  # paired by document; below zero the model needs fewer bits
                name: ratio(bits - np.array(against[name][kind]["bits"]), sizes).as_dict()
                for name in NAMES
                if "bits" in against[name][kind]
            },
        }
    return scores


def judge_tasks(replier: Replier, options: Evaluate) -> WorldScores:
    """Ask the small world's tasks, greedily."""
    answers: list[Answer] = []
    short = tuple(family for family in world.FAMILIES if family not in world.INSTRUCTION_FAMILIES)
    for families, sampling in ((short, ANSWER), (world.INSTRUCTION_FAMILIES, WRITE)):
        reply = partial(replies, replier, sampling)
        answers += judge_world(reply, families=families, n=options.n, seed=options.seed).answers
    return WorldScores(tuple(answers))


def replies(replier: Replier, sampling: Sampling, conversations: list[Messages]) -> list[str]:
    """Reply to each; a conversation that leaves no room in the context is answered with nothing."""
    fits = [len(replier.prompt_ids(messages)) <= replier.context - ROOM for messages in conversations]
    said = (
        replier.replies([m for m, fit in zip(conversations, fits, strict=True) if fit], sampling) if any(fits) else []
    )
    texts = iter(reply.text for reply in said)
    return [next(texts) if fit else "" for fit in fits]


def told(asked: WorldScores) -> Scores:
    """The tasks' part of scores.json: families with every value (for pairs), and the means that are promised."""
    return {
        "families": {
            family: {**found.as_dict(), "values": asked.values(family)} for family, found in asked.families().items()
        },
        "smallworld_accuracy": asked.mean(world.STORY_FAMILIES).as_dict(),
        "instructions": asked.mean(world.INSTRUCTION_FAMILIES).as_dict(),
    }


def samples(replier: Replier) -> list[dict[str, str]]:
    """What the model says to a fixed handful of prompts, as {"kind": "continue" or "ask", "prompt", "reply"}."""
    written = replier.complete(CONTINUE, SPEAK)
    said = replier.replies([[{"role": "user", "content": prompt}] for prompt in ASK], SPEAK)
    rows = [("continue", *pair) for pair in zip(CONTINUE, written, strict=True)]
    rows += [("ask", *pair) for pair in zip(ASK, said, strict=True)]
    return [{"kind": kind, "prompt": prompt, "reply": reply.text} for kind, prompt, reply in rows]


def show(scores: Scores, against: Scores) -> None:
    """Print the scores as two tables."""
    console = Console(highlight=False)
    kinds = list(scores["bpb"])
    text = Table("bits per byte", *kinds, title=f"{scores['model']}: held-out text")
    text.add_row(scores["model"], *(written(Estimate.from_dict(scores["bpb"][kind])) for kind in kinds))
    for name in NAMES:
        text.add_row(name, *(f"{against[name][kind]['bpb']['mean']:.3f}" for kind in kinds))
    console.print(text)
    if scores["families"]:
        tasks = Table("family", "right", "95 % interval", title=f"{scores['model']}: small world, not seen in training")
        for family, found in [*scores["families"].items(), *((key, scores[key]) for key in MEANS)]:
            tasks.add_row(family, f"{found['mean']:.2f}", f"{found['low']:.2f} to {found['high']:.2f}")
        console.print(tasks)


def written(found: Estimate) -> str:
    """An estimate with its standard error, as text."""
    return f"{found.mean:.3f} ± {found.se:.3f}"
