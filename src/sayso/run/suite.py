"""Act: score a model on a suite of tasks, and keep every answer in the life's store.

The part of `sayso evaluate` with `--suite`. Answers that the store has are not asked for again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sayso.base.device import pick_device
from sayso.base.errors import require
from sayso.base.files import sha256, write_json
from sayso.base.life import Life, name_from
from sayso.base.log import Progress, say
from sayso.base.made import work_in
from sayso.base.output import console
from sayso.judge.endpoint import Endpoint
from sayso.judge.likelihood.continuations import ModelScorer, Scorer
from sayso.judge.likelihood.endpoint_scorer import EndpointScorer
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.tasks.answer import answer_items
from sayso.judge.tasks.asked import Asked, AskedSuite
from sayso.judge.tasks.contamination import seen, text_of, training_text
from sayso.judge.tasks.generated import EndpointResponder, ModelResponder, Responder, generate_answers
from sayso.judge.tasks.item import has_equal_options
from sayso.judge.tasks.result import TaskResult, blimp_mean, core_mean, result_of
from sayso.judge.tasks.suites import BLIMP, CORE
from sayso.judge.tasks.task import GENERATED, chosen
from sayso.reply.conversation import Replier
from sayso.run.earlier import with_earlier
from sayso.token.load import tokenizer_fingerprint
from sayso.weights.folder import load_model
from sayso.weights.tensors import weights_file

if TYPE_CHECKING:
    from sayso.feedback.store import Store


@dataclass(frozen=True)
class Judged:
    """The model that a suite is given to."""

    name: str
    fingerprint: str
    """Identifies its answers in the store."""
    scorer: Scorer
    responder: Responder
    converses: bool = True
    """Whether it has a chat template."""


def fingerprint_of(folder: Path) -> str:
    """Return what identifies a model's answers in the store: a hash of its weights and its tokenizer."""
    return hash_of(f"{sha256(weights_file(folder))} {tokenizer_fingerprint(folder)}".encode()).hexdigest()


def local_model(folder: Path, name: str, device: str | None) -> Judged:
    """Open a model folder for a suite."""
    model, tokenizer = load_model(folder, pick_device(device).kind)
    replier = Replier(model, tokenizer)
    scorer, responder = ModelScorer(model, tokenizer), ModelResponder(replier)
    return Judged(name, fingerprint_of(folder), scorer, responder, replier.converses)


def served_model(base_url: str, model: str, key: str | None) -> Judged:
    """Return a model behind a server for a suite; nothing is asked yet."""
    endpoint = Endpoint(base_url, model, key)
    mark = hash_of(f"{base_url} {model}".encode()).hexdigest()
    return Judged(name_from(f"{model}-{mark[:8]}"), mark, EndpointScorer(endpoint), EndpointResponder(endpoint))


def evaluate_suite(
    life: Life, judged: Judged, asked: AskedSuite, store: str | None = None, *, contamination: bool = False
) -> dict[str, Any]:
    """Score a model on the tasks, print the results, and write them to `runs/evaluate-NAME/SUITE.json`.

    With `contamination`, the life's training text is searched for the items.
    """
    require("sqlalchemy", "serve")
    from sayso.feedback.store import Store

    path = life.run(f"evaluate-{judged.name}") / f"{name_from(Path(asked.name).stem)}.json"
    work_in(path.parent)
    kept = Store(store or life.store)
    try:
        results = [_result(judged, asked, one, kept, life if contamination else None) for one in asked.tasks]
    finally:
        kept.close()
    tasks = {
        found.task.name: found.as_dict() | {"source": one.source, "revision": one.revision}
        for found, one in zip(results, asked.tasks, strict=True)
    }
    scores = suite_json(judged, asked.name, asked.limit, asked.missing, tasks) | _means(asked.name, results)
    write_json(path, with_earlier(path, scores), sealed=True)
    show_suite(judged, asked, results)
    say(f"Wrote {path}.")
    return scores


def _result(judged: Judged, asked: AskedSuite, one: Asked, store: "Store", searched: Life | None) -> TaskResult:
    """Ask the items of one task, except those that the store has answers to."""
    from sayso.feedback.evaluations import KeptAnswers

    task, items = one.task, one.items()
    numbers = chosen(len(items), asked.limit)
    done = 0
    with Progress(len(numbers), f"{task.name}: item") as line:

        def show(more: int) -> None:
            nonlocal done
            done += more
            line.update(done)

        memory = KeptAnswers(store, judged.fingerprint, task.name)
        if task.metric in GENERATED:
            answers = generate_answers(judged.responder, task, items, numbers, memory, show, execute=asked.execute)
        else:
            answers = answer_items(judged.scorer, task, items, numbers, memory, show)
    known = None
    if searched is not None:
        training = training_text(searched.data("text"), searched.data("chat"))
        known = seen([text_of(items[number].item) for number in numbers], training)
    return result_of(task, items, numbers, answers, known)


def suite_json(
    judged: Judged, name: str, limit: int, missing: Sequence[str], tasks: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the results of tasks as JSON-ready data."""
    return {
        "model": judged.name,
        "fingerprint": judged.fingerprint,
        "suite": name,
        "limit": limit,
        "missing": list(missing),
        "tasks": dict(tasks),
    }


def _means(name: str, results: Sequence[TaskResult]) -> dict[str, Any]:
    """Return the means over the tasks of a suite that has one."""
    if name == BLIMP:
        return {"blimp": blimp_mean(results).as_dict()}
    if name == "core":
        return {"core": core_mean(results).as_dict(), "core_older": core_mean(results, older=True).as_dict()}
    return {}


def show_suite(judged: Judged, asked: AskedSuite, results: Sequence[TaskResult]) -> None:
    """Print a table of the results, and what limits how they can be read."""
    table = Table(
        "task", "score", "95 % interval", "items", "baseline", "bits per byte", title=f"{judged.name}: {asked.name}"
    )
    for found in results:
        main, bits = found.main, found.scores.get("bits_per_byte")
        table.add_row(
            found.task.name,
            f"{main.mean:.3f}",
            main.interval(),
            f"{main.n:,}",
            f"{found.task.baseline:.3f}",
            f"{bits.mean:.3f}" if bits else "",
        )
    if asked.name == BLIMP:
        whole = blimp_mean(results)
        table.add_row(
            "mean", f"{whole.mean:.3f}", whole.interval(), f"{sum(found.items for found in results):,}", "0.500", ""
        )
    console().print(table)
    if asked.name == "core":
        mean, older = core_mean(results), core_mean(results, older=True)
        ends = mean.interval(".4f")
        say(
            f"CORE over {len(results)} of {len(CORE)} tasks: {mean.mean:.4f}{ends and f' ({ends})'}; with the older "
            f"baselines {older.mean:.4f}."
        )
    for found in results:
        if found.unseen is not None:
            say(_unseen(found, found.unseen))
    for note in _notes(asked, results):
        say(note)


def _unseen(found: TaskResult, unseen: Estimate) -> str:
    """Return a sentence on the items that the training text contains."""
    count = found.items - unseen.n
    if not count:
        return f"{found.task.name}: no item was found in the training text."
    without = f"without them the score is {unseen.mean:.3f}" if unseen.n else "no others are left"
    return f"{found.task.name}: {count:,} of {found.items:,} items are in the training text; {without}."


def _notes(asked: AskedSuite, results: Sequence[TaskResult]) -> list[str]:
    """Return a sentence for each thing that limits how the results can be read."""
    why = f"their files are not below '{asked.data}'" if asked.data else "the hub has no data set in their form"
    notes = [f"Left out, because {why}: {', '.join(asked.missing)}."] * bool(asked.missing)
    cut, merged = sum(found.cut for found in results), sum(found.merged for found in results)
    if cut:
        notes.append(f"{_counted(cut)} had a context that was too long and lost its beginning.")
    if merged:
        have = "has" if merged == 1 else "have"
        notes.append(f"{_counted(merged)} {have} a token across the border between context and continuation.")
    tasks = {one.task.name: one for one in asked.tasks}
    notes += [_equal(tasks[found.task.name], found.equal) for found in results if found.equal]
    return notes


def _equal(one: Asked, count: int) -> str:
    """Return a sentence on the items of a task with equal options."""
    have = "has" if count == 1 else "have"
    first = next(item.name for item in one.items() if has_equal_options(item.item))
    return f"{one.task.name}: {_counted(count)} {have} two options with the same text, such as {first} of {one.source}."


def _counted(count: int) -> str:
    return f"{count:,} item{'s' * (count != 1)}"
