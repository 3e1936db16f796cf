"""The scores of one model: bits per byte with baselines, small-world tasks, and replies to fixed prompts."""

from functools import partial

import numpy as np
from rich.table import Table

from sayso import world
from sayso.base.output import console
from sayso.judge.baselines import BASELINES
from sayso.judge.baselines.measure import Scores
from sayso.judge.bits import document_bits
from sayso.judge.held_out import HeldOutSample
from sayso.judge.statistics.estimate import Estimate, ratio
from sayso.judge.world import TaskAnswer, WorldScores, judge_world
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling
from sayso.text.document import Messages

CONTINUE = ("The river begins in the mountains and", "Once there was a small fox who")
ASK = (
    "Hello! How are you today?",
    "Who are you?",
    "Tell me a short story about a fox.",
    "Mira put the red cup in the kitchen. Then she took it to the garden. Where is the cup?",
    "Write two sentences with the words boat and lamp.",
)
SPEAK = Sampling(temperature=0.7, top_p=0.95, max_tokens=60, seed=0)  # for the sample replies
ANSWER = Sampling(temperature=0, max_tokens=40)  # for tasks with correct replies of at most one short sentence
WRITE = Sampling(temperature=0, max_tokens=120)  # for instructions, which need longer replies
MEANS = ("smallworld_accuracy", "instructions")
ROOM = 20  # minimum number of tokens left for the reply to a task


def judge_text(replier: Replier, held: dict[str, HeldOutSample], against: Scores) -> Scores:
    """Return the bits per byte of each kind and source, and the difference from each baseline on the same documents."""
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
            "above": {  # paired by document; negative: the model needs fewer bits
                name: ratio(bits - np.array(against[name][kind]["bits"]), sizes).as_dict()
                for name in BASELINES
                if "bits" in against[name][kind]
            },
        }
    return scores


def judge_tasks(replier: Replier, n: int, seed: int = 0) -> WorldScores:
    """Score greedy replies to `n` small-world tasks of each family."""
    answers: list[TaskAnswer] = []
    short = tuple(family for family in world.FAMILIES if family not in world.INSTRUCTION_FAMILIES)
    for families, sampling in ((short, ANSWER), (world.INSTRUCTION_FAMILIES, WRITE)):
        reply = partial(_replies, replier, sampling)
        answers += judge_world(reply, families=families, n=n, seed=seed).answers
    return WorldScores(tuple(answers))


def _replies(replier: Replier, sampling: Sampling, conversations: list[Messages]) -> list[str]:
    """Return the reply to each conversation, empty if the context has no room for one."""
    fits = [len(replier.prompt_ids(messages)) <= replier.context - ROOM for messages in conversations]
    fitting = [messages for messages, fit in zip(conversations, fits, strict=True) if fit]
    texts = iter([reply.text for reply in replier.replies(fitting, sampling)] if fitting else [])
    return [next(texts) if fit else "" for fit in fits]


def tasks_json(scores: WorldScores) -> Scores:
    """Return the tasks' part of scores.json: families with every value (for pairing), and means with fixed keys."""
    return {
        "families": {
            family: {**found.as_dict(), "values": scores.values(family)} for family, found in scores.families().items()
        },
        "smallworld_accuracy": scores.mean(world.STORY_FAMILIES).as_dict(),
        "instructions": scores.mean(world.INSTRUCTION_FAMILIES).as_dict(),
    }


def sample_replies(replier: Replier) -> list[dict[str, str]]:
    """Return replies to a fixed set of prompts, as {"kind": "continue" or "ask", "prompt", "reply"}."""
    continuations = replier.complete(CONTINUE, SPEAK)
    replies = replier.replies([[{"role": "user", "content": prompt}] for prompt in ASK], SPEAK)
    rows = [("continue", *pair) for pair in zip(CONTINUE, continuations, strict=True)]
    rows += [("ask", *pair) for pair in zip(ASK, replies, strict=True)]
    return [{"kind": kind, "prompt": prompt, "reply": reply.text} for kind, prompt, reply in rows]


def show_scores(scores: Scores, against: Scores) -> None:
    """Print the scores as two tables."""
    screen = console()
    kinds = list(scores["bpb"])
    text = Table("bits per byte", *kinds, title=f"{scores['model']}: held-out text")
    text.add_row(scores["model"], *(_written(Estimate.from_dict(scores["bpb"][kind])) for kind in kinds))
    for name in BASELINES:
        text.add_row(name, *(f"{against[name][kind]['bpb']['mean']:.3f}" for kind in kinds))
    screen.print(text)
    if scores["families"]:
        tasks = Table("family", "right", "95 % interval", title=f"{scores['model']}: small-world tasks, held out")
        for family, found in [*scores["families"].items(), *((key, scores[key]) for key in MEANS)]:
            tasks.add_row(family, f"{found['mean']:.2f}", f"{found['low']:.2f} to {found['high']:.2f}")
        screen.print(tasks)


def _written(found: Estimate) -> str:
    """Format an estimate with its standard error."""
    return f"{found.mean:.3f} ± {found.se:.3f}"
