"""Act: from feedback to the next model, as one command: gather, finetune, align, evaluate, gate.

`runs/cycle-N/cycle.json` keeps which steps of a cycle are done, and each step resumes by itself, so that a command
that was killed at any moment goes on when it is started again. Only the last step moves the alias, by one row of its
history.
"""

import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sayso.align.instructions import Finetune
from sayso.align.pairs.alignment import Align
from sayso.base.errors import UserError, require
from sayso.base.files import read_object, write_json
from sayso.base.life import Life
from sayso.base.lock import exclusive
from sayso.base.log import say
from sayso.base.made import work_in
from sayso.base.ranges import (
    Count,
    Epochs,
    Minutes,
    Options,
    Positive,
    Processes,
    Questions,
    Repeats,
    SecondShare,
    Seed,
    Share,
)
from sayso.run.align import align
from sayso.run.evaluate import Evaluate, evaluate
from sayso.run.finetune import finetune
from sayso.run.gather import Gather, gather
from sayso.run.promote import NotPromotedError, Promote, promote
from sayso.run.suite import fingerprint_of
from sayso.weights.models import models

STEPS = ("gather", "finetune", "align", "evaluate", "gate")
_LOOKS = 30.0  # seconds between two looks at the store while waiting
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_KEPT = ("to", "epochs", "minutes", "replay", "feedback_weight", "feedback_share", "eval_texts", "seed")
"""Options that an interrupted cycle was begun with, and that it goes on with."""
State = dict[str, Any]


@dataclass(frozen=True)
class Cycle(Options):
    """Options of `sayso cycle`."""

    _: KW_ONLY
    to: str = "stable"
    """Alias whose model is the parent of the new one, and that is to name the new one."""
    every: str | None = None
    """Begin a cycle this long after the last one began, such as 12h, 1d or 1w, until stopped."""
    when: str | None = None
    """Begin a cycle when there are that many new ratings, such as '200 ratings', until stopped."""
    cycles: Positive | None = None
    """Stop after this number of cycles. Default: one, and with --every or --when no limit."""
    restart: bool = False
    """Leave an unfinished cycle as it is, and begin another one."""
    epochs: Epochs = 1.0
    """Passes over the data of each training."""
    minutes: Minutes | None = None
    """Time budget of the fine-tuning in minutes, instead of --epochs."""
    replay: SecondShare = 0.2
    """Share of prepared documents in every batch against forgetting; 0 = none."""
    feedback_weight: Repeats = 4
    """Number of times each conversation and pair of the feedback is repeated."""
    feedback_share: Share = 0.5
    """Least share of the feedback among the conversations of the fine-tuning; 0 = all prepared ones are used."""
    eval_texts: tuple[Path, ...] = ()
    """Files or folders of evaluation texts, which no gathered row may share 13 words in a row with."""
    gate: Path | None = None
    """TOML file with requirements that differ from the defaults."""
    detector: tuple[str, ...] = ()
    """Detectors of your own, file.py:function, that cases of confirmed misbehaviour are checked by."""
    suites: tuple[str, ...] = ()
    """Suites that both models are evaluated on, such as behaviour or small."""
    data: Path | None = None
    """Folder of the suites' files."""
    n: Questions = 60
    """Questions per small-world task family; 0 = none."""
    text_bytes: Positive = 100_000
    """Approximate amount of held-out text of each kind, in bytes."""
    baseline_bytes: Count = 64_000_000
    """Approximate maximum of training text for the baselines, in bytes; 0 = all."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    processes: Processes | None = None
    """Single-threaded processes that share a batch on a CPU. Default: one per core if each gets a row."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the ratings and aliases, a path or an address. Default: that of the life."""
    seed: Seed = 0
    """Random seed."""


@exclusive(lambda options: Life(options.life).run("cycle"))
def cycle(options: Cycle) -> dict[str, Any]:
    """Gather, train, evaluate and promote the next model; return the state of the last cycle."""
    if options.data is not None and not options.suites:
        raise UserError("--data requires --suites, such as --suites behaviour.")
    every, count = seconds_of(options.every), ratings_of(options.when)
    scheduled = every is not None or count is not None
    if scheduled:
        _ratings(Life(options.life), options)  # a store that cannot be opened is reported now
    limit, done = options.cycles or (None if scheduled else 1), 0
    while True:
        state = _run_when_due(options, every, count) if scheduled else run_cycle(options)
        options, done = replace(options, restart=False), done + 1
        if limit is not None and done >= limit:
            return state


def run_cycle(options: Cycle) -> State:
    """Go on with the unfinished cycle, or begin the next one, and end it; return its state."""
    state = advance(options)
    while "ended" not in state:
        state = advance(replace(options, restart=False))
    return state


def advance(options: Cycle) -> State:
    """Do the next step of the unfinished cycle, or the first one of the next; return its state."""
    life = Life(options.life)
    state = None if options.restart else last_state(life)
    if state is None or "ended" in state:
        state = _begun(life, options)
        say(f"Cycle {state['cycle']} begins: '{state['parent']}' learns from feedback.", style="bold")
    kept = {name: state["options"][name] for name in _KEPT}
    options = replace(options, **{**kept, "eval_texts": tuple(map(Path, kept["eval_texts"]))})
    step = STEPS[len(state["done"])]
    state |= _ACTS[step](options, state)
    state["done"] = [*state["done"], step]
    if len(state["done"]) == len(STEPS):
        state |= {"ended": _now(), "said": _told(state)}
    _keep(life, state)
    if "said" in state:
        say(state["said"])
    return state


def last_state(life: Life) -> State | None:
    """Return the state of the newest cycle of a life; None if there is none."""
    numbers = [number for path in life.root.glob("runs/cycle-*/cycle.json") if (number := _number(path.parent.name))]
    if not numbers:
        return None
    return read_object(life.run(f"cycle-{max(numbers)}") / "cycle.json", "cycle", "done", "options", "parent")


def due(state: State | None, now: float, ratings: int, every: float | None, count: int | None) -> bool:
    """Whether a cycle is to begin, given the last one, the time in seconds and the number of ratings in the store.

    With both, there must be enough ratings when the time has come. The first cycle waits for ratings only.
    """
    began = datetime.fromisoformat(state["began"]).timestamp() if state else -float("inf")
    known = int(state["ratings"]) if state else 0
    return (every is None or now >= began + every) and (count is None or ratings - known >= count)


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of a time such as 90m, 12h, 1d or 1w. Raises `UserError` for another text."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhdw])\w*\s*", text)
    if not found or not float(found[1]):
        raise UserError(f"--every must be a time such as 90m, 12h, 1d or 1w; got '{text}'.")
    return float(found[1]) * _UNITS[found[2]]


def ratings_of(text: str | None) -> int | None:
    """Return the number in "200 ratings". Raises `UserError` for another text."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,9})\s+ratings?\s*", text)
    if not found or not int(found[1]):
        raise UserError(f"--when must be a number of ratings such as '200 ratings'; got '{text}'.")
    return int(found[1])


def _run_when_due(options: Cycle, every: float | None, count: int | None) -> State:
    """Run the unfinished cycle, or the next one when it is due; return its state. Wait for a store that fails."""
    from sayso.feedback.database import StoreError

    life, told = Life(options.life), ""
    while True:
        last = last_state(life)
        try:
            unfinished = not options.restart and last is not None and "ended" not in last
            if unfinished or due(last, time.time(), _ratings(life, options), every, count):
                return run_cycle(options)
            reason = "Waiting for the next cycle."
        except StoreError as error:
            reason = f"{error} The cycle waits until it is back."
            if last_state(life) != last:  # it has begun
                options = replace(options, restart=False)
        if reason != told:
            say(reason)
        told = reason
        time.sleep(_LOOKS)


def _begun(life: Life, options: Cycle) -> State:
    """Return the state of a new cycle, which is kept before anything is done. Raises `UserError` without a parent."""
    assignment = _current(life, options)
    if assignment is None:
        raise UserError(
            f"'{options.to}' names no model yet, so there is nothing to improve; run: sayso promote MODEL --to "
            f"{options.to}"
        )
    parent, fingerprint = assignment
    if parent not in models(life) or fingerprint_of(life.model(parent)) != fingerprint:
        raise UserError(f"'{options.to}' names '{parent}', whose folder is gone or has other weights now; restore it.")
    runs = (path.name for path in life.root.glob("runs/cycle-*") if _is_used(path))
    taken = [_number(name) for name in (*models(life), *runs)]
    state = {
        "cycle": max(taken, default=0) + 1,
        "alias": options.to,
        "parent": parent,
        "began": _now(),
        "ratings": _ratings(life, options),
        "options": {name: getattr(options, name) for name in _KEPT} | {"eval_texts": [*map(str, options.eval_texts)]},
        "done": [],
    }
    _keep(life, state)
    return state


def _gather(options: Cycle, state: State) -> State:
    made = gather(Gather(life=options.life, store=options.store, eval_texts=options.eval_texts, policy=state["parent"]))
    return {name: made[name] for name in ("ratings", "conversations", "pairs")}


def _finetune(options: Cycle, state: State) -> State:
    if not state["conversations"]:
        return {"tuned": None}
    name = f"cycle-{state['cycle']}{'-tuned' if state['pairs'] else ''}"
    chosen: dict[str, Any] = {"minutes": options.minutes, "feedback_share": options.feedback_share}
    finetune(Finetune(parent=state["parent"], name=name, **chosen, **_training(options)))
    return {"tuned": name}


def _align(options: Cycle, state: State) -> State:
    if not state["pairs"]:
        return {"candidate": state["tuned"]}
    name, parent = f"cycle-{state['cycle']}", state["tuned"] or state["parent"]
    align(Align(parent=parent, name=name, tasks=0, **_training(options)))
    return {"candidate": name}


def _evaluate(options: Cycle, state: State) -> State:
    for model in (state["parent"], state["candidate"]) if state["candidate"] else ():
        sizes = {name: getattr(options, name) for name in ("n", "text_bytes", "baseline_bytes", "device")}
        evaluate(Evaluate(model, life=options.life, **sizes))
        for suite in options.suites:
            evaluate(Evaluate(model, life=options.life, suite=suite, data=options.data, store=options.store))
    return {}


def _gate(options: Cycle, state: State) -> State:
    """Promote the candidate, if the gate passes it; again, if that was done but not kept, changes nothing."""
    if not state["candidate"]:
        return {"verdict": None, "open": []}
    where = {"life": options.life, "store": options.store, "to": state["alias"]}
    try:
        promote(Promote(state["candidate"], gate=options.gate, detector=options.detector, **where))
    except NotPromotedError as refused:
        return {"verdict": refused.verdict, "open": refused.open}
    return {"verdict": "passed", "open": []}


_ACTS: dict[str, Callable[[Cycle, State], State]] = {
    "gather": _gather,
    "finetune": _finetune,
    "align": _align,
    "evaluate": _evaluate,
    "gate": _gate,
}


def _told(state: State) -> str:
    """Return what came of a cycle in a sentence."""
    learned = f"{state['conversations']:,} conversations and {state['pairs']:,} pairs from {state['ratings']:,} ratings"
    head = f"Cycle {state['cycle']}: {learned}"
    if not state["candidate"]:
        return f"{head}; there is nothing to learn from yet, and '{state['alias']}' still names '{state['parent']}'."
    if state["verdict"] == "passed":
        return f"{head} made '{state['candidate']}', which passed the gate: '{state['alias']}' names it from now on."
    verdict = f"{state['verdict']}: {', '.join(state['open'])}"
    return (
        f"{head} made '{state['candidate']}', which is not promoted ({verdict}); '{state['alias']}' still names "
        f"'{state['parent']}'."
    )


def _training(options: Cycle) -> dict[str, Any]:
    """Return the options of both trainings; without prepared text in the life, no documents are replayed."""
    names = ("life", "epochs", "feedback_weight", "seed", "device", "processes")
    has_text = (Life(options.life).data("text") / "manifest.json").exists()
    return {name: getattr(options, name) for name in names} | {"replay": options.replay if has_text else 0.0}


def _current(life: Life, options: Cycle) -> tuple[str, str] | None:
    """Return the model that the alias names, and its fingerprint."""
    require("sqlalchemy", "serve")
    from sayso.feedback.aliases import Aliases
    from sayso.feedback.store import Store

    if options.store is None and not life.store.exists():
        return None
    with closing(Store(options.store or life.store)) as store:
        found = Aliases(store).current(options.to)
    return (found.model, found.fingerprint) if found else None


def _ratings(life: Life, options: Cycle) -> int:
    require("sqlalchemy", "serve")
    from sayso.feedback.store import Store

    if options.store is None and not life.store.exists():
        return 0
    with closing(Store(options.store or life.store)) as store:
        return store.count_ratings()


def _keep(life: Life, state: State) -> None:
    folder = life.run(f"cycle-{state['cycle']}")
    work_in(folder)
    write_json(folder / "cycle.json", state, sealed=True)


def _is_used(run: Path) -> bool:
    """Whether a run's folder has content; a process that was killed as it began a cycle may leave one without."""
    return not run.is_dir() or any(not path.name.startswith(".") for path in run.iterdir())


def _number(name: str) -> int:
    """Return N of cycle-N and cycle-N-tuned; 0 for another name."""
    found = re.fullmatch(r"cycle-(\d{1,9})(?:-tuned)?", name)
    return int(found[1]) if found else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
