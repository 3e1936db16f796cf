"""Act: from feedback to the next model, as one command: from scan to gate.

`runs/cycle-N/cycle.json` keeps the options of a cycle, its gate, and which steps are done. Each step resumes by itself,
so that a command that was killed at any moment goes on when it is started again. Only the last step moves the alias, by
one row of its history.
"""

import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sayso.align.instructions import Finetune
from sayso.align.pairs.alignment import Align
from sayso.base.errors import UserError, require
from sayso.base.files import read_object, write_atomic, write_json
from sayso.base.life import Life
from sayso.base.lock import exclusive
from sayso.base.log import say
from sayso.base.made import work_in
from sayso.judge.gate.rules import read_gate
from sayso.run.align import align
from sayso.run.cycle_options import Cycle, as_kept, as_typed
from sayso.run.evaluate import Evaluate, evaluate
from sayso.run.finetune import finetune
from sayso.run.flags import ScanFlags, scan_flags
from sayso.run.gather import Gather, gather
from sayso.run.merge import Merge, merge
from sayso.run.promote import NotPromotedError, Promote, promote
from sayso.run.schedule import due, ratings_of, seconds_of
from sayso.run.suite import fingerprint_of
from sayso.weights.models import models

STEPS = ("scan", "gather", "finetune", "align", "average", "evaluate", "gate")
_RATE, _LORA_RATE = 0.03, 0.5  # of the fine-tuning; higher ones lose more than a few hundred conversations teach
_LOOKS = 30.0  # seconds between two looks at the store while waiting
State = dict[str, Any]


@exclusive(lambda options: Life(options.life).run("cycle"))
def cycle(options: Cycle) -> dict[str, Any]:
    """Gather, train, evaluate and promote the next model; return the state of the last cycle."""
    options.check()
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
    if not options.restart and (begun := _unfinished(Life(options.life))) is not None:
        say(_goes_on(options, begun))
    state = advance(options)
    while "ended" not in state:
        state = advance(replace(options, restart=False))
    return state


def advance(options: Cycle) -> State:
    """Do the next step of the unfinished cycle, or the first one of the next; return its state.

    Raises `UserError` if the unfinished one was begun with another store.
    """
    life = Life(options.life)
    state = None if options.restart else _unfinished(life)
    if state is None:
        state = _begun(life, options)
        say(f"Cycle {state['cycle']} begins: '{state['parent']}' learns from feedback.", style="bold")
    _check_store(options, state)
    options = replace(options, **as_kept(state["options"]))
    step = next(one for one in STEPS if one not in state["done"])
    state |= _ACTS[step](options, state)
    state["done"] = [*state["done"], step]
    if {*STEPS} <= {*state["done"]}:
        state |= {"ended": _now(), "said": _told(state) + _flagged(state)}
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


def _unfinished(life: Life) -> State | None:
    """Return the state of the newest cycle of a life, if that has not ended."""
    state = last_state(life)
    return None if state is None or "ended" in state else state


def _goes_on(options: Cycle, state: State) -> str:
    """Return that a cycle goes on with its own options, and which of the given ones are not used."""
    kept = state["options"]
    said = f"Cycle {state['cycle']} goes on with the options that it was begun with: {as_typed(kept)}."
    other = {name: value for name, value in options.kept.items() if value != kept.get(name, value)}
    unused = as_typed(other)
    if unused != "the defaults":
        said += f" Not used: {unused}; add --restart to begin another cycle with that."
    return said


def _check_store(options: Cycle, state: State) -> None:
    if (used := _shown_store(options)) != state.get("store", used):
        was = f"the store '{state['store']}'" if state["store"] else "the store of the life, without --store"
        raise UserError(f"Cycle {state['cycle']} was begun with {was}; go on with that, or add --restart.")


def _shown_store(options: Cycle) -> str | None:
    """Return the address of the database without user and password; None for that of the life."""
    if options.store is None:
        return None
    require("sqlalchemy", "serve")
    from sayso.feedback.database import hidden

    return hidden(options.store)


def _run_when_due(options: Cycle, every: float | None, count: int | None) -> State:
    """Run the unfinished cycle, or the next one when it is due; return its state. Wait for a store that fails."""
    from sayso.feedback.database import StoreError

    life, told = Life(options.life), ""
    while True:
        last = last_state(life)
        try:
            if (not options.restart and _unfinished(life)) or due(
                last, time.time(), _ratings(life, options), every, count
            ):
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
    """Return the state of a new cycle, which is kept before anything is done, with the text of its gate.

    Raises `UserError` without a parent, and for a gate, a detector or a program that cannot be read.
    """
    require("sqlalchemy", "serve")
    from sayso.feedback.detectors.own import case_detectors, judge_server
    from sayso.feedback.programs import load_programs

    load_programs(options.program)
    gate = None
    if options.gate is not None:
        read_gate(options.gate)
        gate = options.gate.read_text(encoding="utf-8")
    case_detectors(options.detector, {}, judge_server(options.endpoint, options.judge, options.key))
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
        "options": options.kept,
        "gate": gate,
        "store": _shown_store(options),
        "done": [],
    }
    _keep(life, state)
    return state


def _scan(options: Cycle, _: State) -> State:
    """Let detectors look at the new replies, so that people find flags to confirm; those of one's own too."""
    where: dict[str, Any] = {"life": options.life, "store": options.store}
    found = [scan_flags(ScanFlags(**where))]
    if options.detector:
        found.append(scan_flags(ScanFlags(detector=options.detector, **_judge(options), **where)))
    return {"flags": sum(count for one in found for count in one.values())}


def _gather(options: Cycle, state: State) -> State:
    chosen: dict[str, Any] = {name: getattr(options, name) for name in ("life", "store", "eval_texts", "program")}
    made = gather(Gather(policy=state["parent"], **chosen))
    return {name: made[name] for name in ("ratings", "conversations", "pairs", "single_ratings")}


def _finetune(options: Cycle, state: State) -> State:
    if not state["conversations"]:
        return {"tuned": None}
    name = _name(options, state, "-tuned" if _comparisons(options, state) else "")
    chosen: dict[str, Any] = {one: getattr(options, one) for one in ("epochs", "minutes", "feedback_share")}
    chosen["rate"] = options.rate or (_RATE if options.lora_rank is None else _LORA_RATE)
    finetune(Finetune(parent=state["parent"], name=name, **chosen, **_training(options)))
    return {"tuned": name}


def _align(options: Cycle, state: State) -> State:
    if not _comparisons(options, state):
        return {"candidate": state["tuned"]}
    name, parent = _name(options, state), state["tuned"] or state["parent"]
    chosen: dict[str, Any] = {one: getattr(options, one) for one in ("loss", "beta", "tasks")}
    chosen |= {"epochs": options.align_epochs, "rate": options.align_rate}
    align(Align(parent=parent, name=name, **chosen, **_training(options)))
    return {"candidate": name}


def _average(options: Cycle, state: State) -> State:
    """Average the trained model with its parent, if a share of the parent is to be kept; that is the candidate then."""
    if not options.parent_share or not state["candidate"]:
        return {}
    name = f"cycle-{state['cycle']}"
    where = {"parent": state["parent"], "average": state["candidate"], "life": options.life}
    merge(Merge(name=name, share=options.parent_share, **where))
    return {"candidate": name}


def _name(options: Cycle, state: State, suffix: str = "") -> str:
    """Return the name of a trained model; without a suffix, it is the candidate, unless that is an average."""
    return f"cycle-{state['cycle']}{suffix or ('-trained' if options.parent_share else '')}"


def _comparisons(options: Cycle, state: State) -> int:
    """Return the number of gathered pairs, or ratings, that the alignment can learn from."""
    return int(state["pairs"] + (state["single_ratings"] if options.loss == "kto" else 0))


def _unchanged(options: Cycle, state: State) -> bool:
    """Whether the candidate has its parent's weights, because no evaluation of its trainings was better."""
    life = Life(options.life)
    return len({fingerprint_of(life.model(state[name])) for name in ("parent", "candidate")}) == 1


def _evaluate(options: Cycle, state: State) -> State:
    if not state["candidate"] or _unchanged(options, state):
        return {}
    for model in (state["parent"], state["candidate"]):
        sizes = {name: getattr(options, name) for name in ("n", "text_bytes", "baseline_bytes", "device")}
        evaluate(Evaluate(model, life=options.life, **sizes))
        for suite in options.suites:
            evaluate(Evaluate(model, life=options.life, suite=suite, data=options.data, store=options.store))
    return {}


def _gate(options: Cycle, state: State) -> State:
    """Promote the candidate, if the gate passes it; again, if that was done but not kept, changes nothing."""
    if not state["candidate"]:
        return {"verdict": None, "open": [], "findings": []}
    if _unchanged(options, state):
        return {"verdict": "unchanged", "open": [], "findings": []}
    where: dict[str, Any] = {"life": options.life, "store": options.store, "to": state["alias"]}
    gate = None
    if state["gate"] is not None:
        gate = Life(options.life).run(f"cycle-{state['cycle']}") / "gate.toml"
        write_atomic(gate, state["gate"])
    try:
        made = promote(Promote(state["candidate"], gate=gate, detector=options.detector, **_judge(options), **where))
    except NotPromotedError as refused:
        return {"verdict": refused.verdict, "open": refused.open, "findings": [*map(asdict, refused.findings)]}
    return {"verdict": "passed", "open": [], "findings": (made["evidence"] or {}).get("findings", [])}


_ACTS: dict[str, Callable[[Cycle, State], State]] = {
    "scan": _scan,
    "gather": _gather,
    "finetune": _finetune,
    "align": _align,
    "average": _average,
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
    if state["verdict"] == "unchanged":
        return (
            f"{head} made '{state['candidate']}' with the weights of '{state['parent']}', which '{state['alias']}' "
            "still names: no training was better on what was held out. Collect more feedback, or lower --rate."
        )
    verdict = f"{state['verdict']}: {', '.join(state['open'])}"
    return (
        f"{head} made '{state['candidate']}', which is not promoted ({verdict}); '{state['alias']}' still names "
        f"'{state['parent']}'."
    )


def _flagged(state: State) -> str:
    """Return what there is to look at in a sentence; "" if there is nothing."""
    count = state.get("flags", 0)
    return f" {count:,} new flag{'' if count == 1 else 's'} to look at: sayso flags list." if count else ""


def _training(options: Cycle) -> dict[str, Any]:
    """Return the options of both trainings; without prepared text in the life, no documents are replayed."""
    names = ("life", "feedback_weight", "lora_rank", "lora_alpha", "lora_targets", "seed", "device", "processes")
    has_text = (Life(options.life).data("text") / "manifest.json").exists()
    return {name: getattr(options, name) for name in names} | {"replay": options.replay if has_text else 0.0}


def _judge(options: Cycle) -> dict[str, Any]:
    return {"endpoint": options.endpoint, "judge": options.judge, "key": options.key}


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
    """Return N of cycle-N, cycle-N-tuned and cycle-N-trained; 0 for another name."""
    found = re.fullmatch(r"cycle-(\d{1,9})(?:-tuned|-trained)?", name)
    return int(found[1]) if found else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
