"""Act: ask a model about facts, and measure whether it knows what it knows.

The part of `sayso evaluate` with `--suite knowledge`. Replies from before an interruption are not generated again.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from sayso.base.device import pick_device
from sayso.base.errors import UserError, nearest, require
from sayso.base.files import write_json
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.log import Progress, say
from sayso.base.made import work_in
from sayso.base.output import console
from sayso.judge.knowledge.ask import Asking, ask_facts, asking_key
from sayso.judge.knowledge.corpus import read_corpus
from sayso.judge.knowledge.marking import MARKS
from sayso.judge.knowledge.questions import GROUPS
from sayso.judge.knowledge.result import confidence_scores, group_scores
from sayso.judge.statistics.estimate import Estimate
from sayso.reply.conversation import Replier
from sayso.report.reliability import knowledge_picture
from sayso.run.earlier import keep_apart
from sayso.run.suite import fingerprint_of
from sayso.weights.folder import load_model
from sayso.weights.lineage import read_lineage

NAME = "knowledge"


def check_groups(groups: Sequence[str]) -> None:
    """Raise `UserError` for a group that does not exist."""
    for one in groups:
        if one not in GROUPS:
            raise UserError(
                f"--tasks must be groups of the suite '{NAME}': {', '.join(GROUPS)}; got '{one}'.{nearest(one, GROUPS)}"
            )


def evaluate_knowledge(
    life: Life,
    folder: Path,
    name: str,
    asking: Asking,
    count: int,
    corpus: str | None,
    groups: Sequence[str],
    device: str | None,
) -> dict[str, Any]:
    """Ask at most `count` questions of each group, and write `runs/evaluate-NAME/knowledge.json` and `.svg`.

    An earlier result of the same model on other questions is kept in a folder next to it.

    Raises `UserError` for an unknown group, a corpus without facts or without questions of these groups, and if scipy
    is missing.
    """
    require("scipy.stats", "judge")
    found = read_corpus(life, corpus, BadRows()).questions("exam", count, asking.seed, groups or GROUPS)
    questions = [(group, fact) for group, facts in found.items() for fact in facts]
    if not questions:
        raise UserError(
            f"The corpus has no question of {' or '.join(groups or GROUPS)}; choose other --tasks, or another corpus, "
            "such as wiki."
        )
    path = life.run(f"evaluate-{name}") / f"{NAME}.json"
    work_in(path.parent)
    key = {"fingerprint": fingerprint_of(folder)}
    keep_apart(path, asking_key(key, questions, asking))
    replier = Replier(*load_model(folder, pick_device(device).kind))
    with Progress(len(questions), f"{NAME}: question") as line:
        asked = ask_facts(replier, questions, asking, path.with_suffix(".jsonl"), key, line.update)
    scores: dict[str, Any] = {
        "model": name,
        "fingerprint": key["fingerprint"],
        "suite": NAME,
        "limit": count,
        "missing": [group for group in groups or GROUPS if not found.get(group)],
        "asked": {**asdict(asking), "corpus": corpus},
        "tasks": group_scores(asked),
        "confidence": confidence_scores(asked),
    }
    write_json(path, scores, sealed=True)
    if scores["confidence"]:
        knowledge_picture(name, scores["confidence"], path.with_suffix(".svg"))
    show(scores)
    say(f"Wrote {path}.")
    return scores


def asked_in_messages(folder: Path, replier_converses: bool) -> bool:
    """Whether a model is asked in messages: not a base model of a life that never saw the chat layout."""
    made = read_lineage(folder)
    return replier_converses and (made.get("stage") != "base" or bool(made.get("config", {}).get("conversations")))


def show(scores: dict[str, Any]) -> None:
    """Print the marks by group, and what each kind of confidence is worth."""
    marks = Table("questions", *(f"{mark}, %" for mark in MARKS), "asked", title=f"{scores['model']}: {NAME}")
    for group, part in scores["tasks"].items():
        marks.add_row(group, *(_percent(part["scores"][mark]) for mark in MARKS), f"{part['items']:,}")
    console().print(marks)
    if not scores["confidence"]:
        say("No question about a real subject was answered, so there is no confidence to judge.")
        return
    table = Table("confidence", "calibration error", "debiased", "Brier", "AUROC", "real or invented", "AURC")
    for name, part in scores["confidence"].items():
        means = (_number(part[key]["mean"]) for key in ("brier", "auroc", "invented", "aurc"))
        table.add_row(name, _number(part["ece"]), _number(part["rms_debiased"]), *means)
    console().print(table)


def _percent(part: dict[str, Any]) -> str:
    one = Estimate.from_dict(part)
    return f"{100 * one.mean:.0f} ({100 * one.low:.0f} to {100 * one.high:.0f})"


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"
