"""Acts: let an alias name a model that has passed its gate; roll it back; list the aliases.

Input: what `sayso evaluate` and `sayso judge` found about the candidate and about the model that the alias names now.
Output: a row of the history in the life's store.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sayso.base.errors import UserError, require
from sayso.base.files import read_object, sha256, write_json
from sayso.base.life import LONGEST_NAME, NAME_PATTERN, Life
from sayso.base.log import say
from sayso.base.made import work_in
from sayso.base.output import console
from sayso.base.ranges import Options
from sayso.judge.canary import judge_canary
from sayso.judge.endpoint import Endpoint
from sayso.judge.gate.findings import Finding, Measured, judge_gate, verdict_of
from sayso.judge.gate.rules import Gate, read_gate
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.statistics.significance import compare_items
from sayso.run.compare import shared_tasks
from sayso.run.gate_facts import GateFacts, is_behaviour
from sayso.run.suite import fingerprint_of
from sayso.token.load import tokenizer_fingerprint
from sayso.weights.models import models, resolve_model
from sayso.weights.tensors import weights_file

if TYPE_CHECKING:
    from sayso.feedback.aliases import Aliases, Assignment


@dataclass(frozen=True)
class Promote(Options):
    """Options of `sayso promote`."""

    candidate: str
    """Model of the life that the alias is to name."""
    _: KW_ONLY
    to: str = "stable"
    """The alias."""
    gate: Path | None = None
    """TOML file with requirements that differ from the defaults."""
    reason: str | None = None
    """Promote the model even if the gate does not pass it, for this reason, which is kept in the history."""
    check: bool = False
    """Only say what the gate finds, and promote nothing."""
    detector: tuple[str, ...] = ()
    """Detectors of your own, file.py:function, that cases of confirmed misbehaviour are checked by."""
    endpoint: str | None = None
    """Address of a server with OpenAI's API whose model checks the cases that a judge has found."""
    judge: str | None = None
    """Name of that model."""
    key: str | None = None
    """Key of the server. Default: the environment variable SAYSO_ENDPOINT_KEY."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the history, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class Rollback(Options):
    """Options of `sayso rollback`."""

    alias: str = "stable"
    """The alias that is to name the model before its last promotion again."""
    _: KW_ONLY
    reason: str | None = None
    """Why, for the history."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the history, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class ListAliases(Options):
    """Options of `sayso aliases`."""

    _: KW_ONLY
    at: str | None = None
    """Show only what each alias named at this time (UTC), such as 2026-05-31 or 2026-05-31T12:00."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the history, a path or an address. Default: that of the life."""


class NotPromotedError(UserError):
    """A gate did not pass a candidate: its verdict, what it found, and the requirements that did not pass."""

    def __init__(self, candidate: str, findings: list[Finding]) -> None:
        self.findings = findings
        self.verdict = verdict_of(findings)
        self.open = [one.requirement for one in findings if one.state != "passed"]
        super().__init__(
            f"'{candidate}' was not promoted: {self.verdict} ({', '.join(self.open)}). 'sayso promote' with --reason "
            "overrides the gate."
        )


def promote(options: Promote) -> dict[str, Any]:
    """Let an alias name a model of the life, if it passes the gate."""
    from sayso.feedback.detectors.own import judge_server

    life, server = Life(options.life), judge_server(options.endpoint, options.judge, options.key)
    gate = read_gate(options.gate) if options.gate else Gate()
    if options.reason is not None and not options.reason.strip():
        raise UserError("--reason must say why the gate is overridden; got an empty one.")
    if options.check and options.reason is not None:
        raise UserError("--check promotes nothing, so it takes no --reason; omit one of them.")
    if not NAME_PATTERN.fullmatch(options.to) or len(options.to) > LONGEST_NAME:
        raise UserError(f"An alias is a name such as stable or candidate; got '{options.to}'.")
    if options.to in models(life):
        raise UserError(f"'{options.to}' is a model of the life, so it cannot be an alias; choose another with --to.")
    if options.candidate not in models(life):
        resolve_model(life, options.candidate)
        raise UserError(
            f"Only a model of the life can be promoted; add '{options.candidate}' with 'sayso import' first."
        )
    folder = life.model(options.candidate)
    mark = fingerprint_of(folder)
    with _aliases(life, options.store) as aliases:
        current = aliases.current(options.to)
        if current is not None and current.fingerprint == mark:
            same = f", which has the weights of '{options.candidate}'" if current.model != options.candidate else ""
            say(f"'{options.to}' already names '{current.model}'{same}.")
            return asdict(current)
        findings = _findings(life, options, gate, current, server)
        for one in findings:
            say(f"{one.requirement}: {one.state}. {one.said}")
        verdict = verdict_of(findings)
        found = _keep_findings(life, options, current, findings)
        if options.check:
            say(f"The gate's verdict on '{options.candidate}' for '{options.to}': {verdict}.")
            return found
        if verdict != "passed" and options.reason is None:
            raise NotPromotedError(options.candidate, findings)
        evidence = {"verdict": verdict, "findings": [asdict(one) for one in findings], "gate": asdict(gate)}
        reason = options.reason if verdict != "passed" else None
        made = aliases.assign(options.to, options.candidate, mark, after=current, evidence=evidence, reason=reason)
    say(f"'{options.to}' names '{made.model}' from now on.")
    return asdict(made)


def _keep_findings(
    life: Life, options: Promote, current: "Assignment | None", findings: list[Finding]
) -> dict[str, Any]:
    """Write what the gate found last about a candidate for an alias to `runs/gate/`, and return it."""
    folder = life.run("gate")
    work_in(folder)
    found = {
        "alias": options.to,
        "candidate": options.candidate,
        "weights": sha256(weights_file(life.model(options.candidate))),
        "current": current.model if current else None,
        "entry": current.id if current else None,
        "verdict": verdict_of(findings),
        "findings": [asdict(one) for one in findings],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / f"{options.candidate}={options.to}.json", found, sealed=True)
    return found


def entry_named(life: Life, name: str, where: str | None) -> "Assignment | None":
    """Return the entry of an alias; None if `name` is a model of the life, or no alias either."""
    if name in models(life) or (where is None and not life.store.exists()):
        return None
    with _aliases(life, where) as aliases:
        return aliases.current(name)


def folder_of(life: Life, entry: "Assignment") -> Path:
    """Return the folder of the model that an alias names. Raises `UserError` if it is gone or has other weights now."""
    folder = life.model(entry.model)
    if entry.model not in models(life):
        raise UserError(f"'{entry.alias}' names '{entry.model}', whose folder is gone; restore it, or roll back.")
    if fingerprint_of(folder) != entry.fingerprint:
        raise UserError(f"'{entry.alias}' names '{entry.model}', which has other weights now; promote it again.")
    return folder


def rollback(options: Rollback) -> dict[str, Any]:
    """Let an alias name the model before its last promotion again."""
    life = Life(options.life)
    with _aliases(life, options.store) as aliases:
        made = aliases.roll_back(options.alias, options.reason)
    if made.model not in models(life) or fingerprint_of(life.model(made.model)) != made.fingerprint:
        say(f"The model '{made.model}' of that time is not in the life any more; restore its folder.")
    say(f"'{made.alias}' names '{made.model}' from now on.")
    return asdict(made)


def list_aliases(options: ListAliases) -> list[dict[str, Any]]:
    """Show the history of all aliases, or what they named at a time."""
    when = None if options.at is None else _utc(options.at)
    with _aliases(Life(options.life), options.store) as aliases:
        found = aliases.history()
        canaries = _canaries(aliases, found) if when is None else []
        if when is not None:
            names = dict.fromkeys(entry.alias for entry in found)
            found = [entry for name in names if (entry := aliases.current(name, when)) is not None]
    if not found:
        say("There are no aliases" + (f" at {options.at}." if options.at else " yet; make one with 'sayso promote'."))
    else:
        table = Table("since (UTC)", "alias", "model", "how", "reason")
        for entry in found:
            table.add_row(entry.created_at[:19], entry.alias, entry.model, entry.kind, entry.reason or "")
        console().print(table)
    for line in canaries:
        say(line)
    return [asdict(entry) for entry in found]


def _canaries(aliases: "Aliases", history: Sequence["Assignment"]) -> list[str]:
    """Return what the canaries that are in progress have shown, a line for each."""
    from sayso.feedback.canary import CanaryLog

    lines, current = [], {entry.alias: entry for entry in history}
    for entry in current.values():
        promoted = any(other.fingerprint == entry.fingerprint for other in current.values() if other is not entry)
        record = None if promoted else CanaryLog(aliases.store, entry).read()
        if record is not None:
            verdict = judge_canary(record.outcomes, record.share)
            advice = f" Promote it with: sayso promote {entry.model}" if verdict.state == "better" else ""
            lines.append(f"Canary '{entry.alias}' ({entry.model}): {verdict.state}. {verdict.said}{advice}")
    return lines


def _utc(text: str) -> str:
    """Return a time as the history has it; one without an offset is in UTC. Raises `UserError` if it is no time."""
    try:
        when = datetime.fromisoformat(text)
        utc = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise UserError(f"--at must be a time such as 2026-05-31 or 2026-05-31T12:00; got '{text}'.") from error
    return utc.isoformat(timespec="milliseconds")


@contextmanager
def _aliases(life: Life, where: str | None) -> "Iterator[Aliases]":
    require("sqlalchemy", "serve")
    from sayso.feedback.aliases import Aliases
    from sayso.feedback.store import Store

    store = Store(where or life.store)
    try:
        yield Aliases(store)
    finally:
        store.close()


def _findings(
    life: Life, options: Promote, gate: Gate, current: "Assignment | None", server: Endpoint | None
) -> list[Finding]:
    """Return what the gate finds; a first model has nothing to be compared with, but it must have been evaluated."""
    candidate = life.model(options.candidate)
    if not _scores(life, options.candidate):
        raise UserError(f"'{options.candidate}' has not been evaluated; run: sayso evaluate {options.candidate}")
    if current is None:
        said = f"'{options.to}' names no model yet, so there is nothing to compare with."
        return [Finding("first model", "passed", said)]
    before = life.model(current.model)
    if current.model not in models(life) or fingerprint_of(before) != current.fingerprint:
        raise UserError(
            f"'{options.to}' names '{current.model}', whose folder is gone or has other weights now; restore it, or "
            f"run 'sayso rollback {options.to}'."
        )
    if tokenizer_fingerprint(before) != tokenizer_fingerprint(candidate):
        raise UserError(
            f"'{options.candidate}' has another tokenizer than '{current.model}', so that their scores cannot be "
            "compared item by item; promote it to an alias of its own with --to."
        )
    folders = {options.candidate: candidate, current.model: before}
    tasks = {
        task.name: compare_items(task.scores[options.candidate], task.scores[current.model], task.clusters)
        for task in shared_tasks(life, folders, options.store)
        if not is_behaviour(task.name)
    }
    more = _more(life, options, gate, (before, candidate), server)
    bits, rate = _bits(life, current.model, options.candidate), _win_rate(life, before, candidate)
    return judge_gate(gate, Measured(tasks, bits, rate, **more), current.model)


def _more(
    life: Life, options: Promote, gate: Gate, folders: tuple[Path, Path], server: Endpoint | None
) -> dict[str, Any]:
    """Return what the gate needs beside the evaluations of the current model and of the candidate."""
    from sayso.feedback.detectors.own import case_detectors
    from sayso.feedback.scans import Scans
    from sayso.feedback.store import Store

    with closing(Store(options.store or life.store)) as store:
        detectors = case_detectors(options.detector, Scans(store).questions(), server)
        return GateFacts(life, store, *folders).measured(gate, detectors)


def _scores(life: Life, name: str) -> Mapping[str, Any]:
    """Return the scores of a model's own evaluation; empty if it is of other weights, or there is none."""
    path = life.run(f"evaluate-{name}") / "scores.json"
    scores = read_object(path, "key") if path.exists() else {}
    weights = sha256(weights_file(life.model(name)))
    return scores if scores and scores["key"]["weights"] == weights else {}


def _bits(life: Life, current: str, candidate: str) -> dict[str, tuple[float, float]]:
    """Return the bits per byte of both models by kind of text, if they read the same text."""
    old, new = _scores(life, current), _scores(life, candidate)
    if not old or not new or old["key"]["baselines"] != new["key"]["baselines"]:
        return {}
    return {kind: (old["bpb"][kind]["mean"], new["bpb"][kind]["mean"]) for kind in old["bpb"]}


def _win_rate(life: Life, current: Path, candidate: Path) -> Estimate | None:
    """Return the candidate's win rate at equal length by `sayso judge CURRENT CANDIDATE`, if of these weights."""
    path = life.run(f"judge-{current.name}-{candidate.name}") / "scores.json"
    if not path.exists():
        return None
    scores = read_object(path, "players")
    players = [f"{folder.name} {sha256(weights_file(folder))[:8]}" for folder in (current, candidate)]
    return Estimate.from_dict(scores["length_controlled"]) if scores["players"] == players else None
