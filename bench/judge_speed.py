"""Questions a second on multiple choice: ours against lm-evaluation-harness with `hf`, on the same model and texts.

    python -m bench.judge_speed [DATA]     # a folder with arc_easy.jsonl and hellaswag_val_full.txt.bz2 below it

SmolLM2-135M-Instruct, float32. Both get the same pairs of context and continuation; the harness has the batch size that
was fastest for it in a first round. Rounds alternate, and all choices must agree. `ours` and `peer` are means over the
tasks; `together` is over all questions. On a machine that is busy with other work, use --cpu-time.
"""

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.harness import parser, result, rounded, say, sized, turns
from bench.judge_agree import Groups, invented, public
from bench.smollm2 import smollm2
from sayso.judge.likelihood.continuations import ContinuationScore, ModelScorer
from sayso.weights.folder import save_model

ITEMS = sized(500, 4)
ROUNDS = sized(3, 1)
BATCHES = sized((1, 4, 16), (2,))
TASKS = ("arc_easy", "hellaswag")


def main() -> None:
    """Race on each task."""
    arguments = parser("judge_speed", __doc__)
    arguments.add_argument("data", nargs="?", type=Path)
    arguments.add_argument("--items", type=int, default=ITEMS, help=f"questions of each task ({ITEMS})")
    arguments.add_argument("--cpu-time", action="store_true", help="count the CPU time of one thread, not of two")
    given = arguments.parse_args()
    torch.set_num_threads(1 if given.cpu_time else sized(2, 1))
    clock = time.process_time if given.cpu_time else time.perf_counter
    model, tokenizer = smollm2()
    tasks = public(given.data, given.items, TASKS) if given.data else {"words": invented(given.items)}
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, tokenizer, Path(folder) / "model", {"stage": "base"})
        rows = {
            name: raced(ModelScorer(model, tokenizer), Path(folder) / "model", part, clock)
            for name, part in tasks.items()
        }
    ours, peer = (sum(row[side] for row in rows.values()) / len(rows) for side in ("ours", "lm-eval"))
    together = {side: len(rows) / sum(1 / row[side] for row in rows.values()) for side in ("ours", "lm-eval")}
    result(
        "judge_speed", "questions a second", ours, peer, items=given.items, tasks=rows, together=rounded(together),
        clock="CPU time of one thread" if given.cpu_time else "two threads",
    )  # fmt: skip


def raced(scorer: ModelScorer, folder: Path, groups: Groups, clock: Callable[[], float]) -> dict[str, Any]:
    """Return both speeds, the harness' batch size, and how far the scores are apart."""
    few = groups[: max(1, len(groups) // 10)]
    batch = max(BATCHES, key=lambda size: _speed(lambda: harness(folder, size, scorer.begin)(few), len(few), clock))
    asked = harness(folder, batch, scorer.begin)
    found: dict[str, list[list[ContinuationScore]]] = {}

    def ours() -> float:
        return _speed(lambda: found.update(ours=scorer.score(groups)), len(groups), clock)

    def theirs() -> float:
        return _speed(lambda: found.update(theirs=asked(groups)), len(groups), clock)

    speeds = turns({"ours": ours, "lm-eval": theirs}, rounds=ROUNDS, label=f"{len(groups)} questions")
    pairs = [
        (a, b)
        for one, other in zip(found["ours"], found["theirs"], strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    choices = [
        [max(range(len(one)), key=lambda n: one[n].logprob) for one in found[side]] for side in ("ours", "theirs")
    ]
    row = {
        **{name: round(value, 2) for name, value in speeds.items()},
        "batch": batch,
        "largest_difference": max(abs(a.logprob - b.logprob) for a, b in pairs),
        "same_choice": sum(a == b for a, b in zip(*choices, strict=True)),
    }
    say(row)
    return row


def _speed(work: Any, items: int, clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return items / (clock() - began)


def harness(folder: Path, batch: int, begin: bool) -> Any:
    """Return a function that scores groups with lm-evaluation-harness."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval.models.huggingface import HFLM

        model = HFLM(pretrained=str(folder), dtype="float32", batch_size=batch, add_bos_token=begin, device="cpu")

    def score(groups: Groups) -> list[list[ContinuationScore]]:
        answers = iter(model.loglikelihood(instances(groups), disable_tqdm=True))
        return [[ContinuationScore(*next(answers), 1) for _ in group] for group in groups]

    return score


def instances(groups: Groups, before: str = "") -> list[Any]:
    """Return the continuations as the harness takes them, each context after the text `before`."""
    from lm_eval.api.instance import Instance

    return [
        Instance("loglikelihood", {}, (before + one.context.rstrip(), _blank(one.context) + one.text), number)
        for number, one in enumerate(one for group in groups for one in group)
    ]


def _blank(context: str) -> str:
    """Return the white space at the end of a context, which belongs to the continuation."""
    return context[len(context.rstrip()) :]


if __name__ == "__main__":
    main()
