"""What a gate knows about two models beside their evaluations: answers to cases, behaviour, divergence, speed, memory.

Both models are opened only if a requirement needs it. Answers to cases are kept in the store and not asked for twice.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.judge.cost import alternating_speeds, bytes_held
from sayso.judge.divergence import token_divergence
from sayso.judge.gate.findings import CaseAnswer
from sayso.judge.gate.rules import Gate
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.statistics.significance import Comparison, compare_items
from sayso.judge.talks import talk_sample
from sayso.judge.tasks.generated import ModelResponder, Said
from sayso.judge.tasks.kept import Answer, Asked, answer_new
from sayso.judge.tasks.task import Task, prompt_hash
from sayso.reply.conversation import Replier
from sayso.reply.listed import with_tool_text
from sayso.run.suite import fingerprint_of
from sayso.text.document import Messages
from sayso.token.chat import row_to_train
from sayso.weights.folder import load_model

if TYPE_CHECKING:
    from sayso.feedback.cases import Case
    from sayso.feedback.detectors.detector import Detector
    from sayso.feedback.store import Store

_CASE_TOKENS = 200  # maximum of a reply to a case
_TALKS = 100  # held-out conversations of the divergence
_ROUNDS = 5  # turns of each model when their speed is measured
_AT_ONCE = 16  # cases answered between two writes
_REFUSALS, _DOUBT = "refusals", "doubt "


def is_behaviour(task: str) -> bool:
    """Whether the answers to a task belong to the requirement on behaviour rather than to that on tasks."""
    return task == _REFUSALS or task.startswith(_DOUBT)


class GateFacts:
    """What is measured about the current model and a candidate, each given by its folder."""

    def __init__(self, life: Life, store: "Store", current: Path, candidate: Path) -> None:
        self._life, self._store, self._folders = life, store, (current, candidate)
        self._marks = [fingerprint_of(folder) for folder in self._folders]

    def measured(self, gate: Gate, detectors: "Mapping[str, Detector]") -> dict[str, Any]:
        """Return the fields of `Measured` that the gate's requirements need."""
        return {
            "cases": self._case_answers(detectors),
            "behaviour": self._behaviour(),
            "divergence": self._divergence() if gate.kl.most else None,
            "speeds": tuple(alternating_speeds(self._repliers, _ROUNDS)) if gate.speed.least else None,
            "bytes_held": tuple(bytes_held(one.model) for one in self._repliers) if gate.memory.most else None,
        }

    @cached_property
    def _repliers(self) -> list[Replier]:
        device = pick_device(None).kind
        return [Replier(*load_model(folder, device)) for folder in self._folders]

    def _case_answers(self, detectors: "Mapping[str, Detector]") -> list[CaseAnswer]:
        from sayso.feedback.cases import cases_of

        found = cases_of(self._store)
        if not found:
            return []
        answers = [self._answered(found, place) for place in range(2)]

        return [
            CaseAnswer(_title(case), _is_bad(case, before, detectors), _is_bad(case, after, detectors))
            for case, before, after in zip(found, *answers, strict=True)
        ]

    def _answered(self, cases: "Sequence[Case]", place: int) -> list[Answer]:
        """Return a model's answer to each case; one whose prompt does not fit is cut."""
        from sayso.feedback.cases import CASES
        from sayso.feedback.evaluations import KeptAnswers

        task = Task(CASES, "", metric="no_loop", chat=True, max_tokens=_CASE_TOKENS)
        marks = [prompt_hash(case.prompt, task) for case in cases]

        def answer(places: list[int]) -> list[Answer]:
            replier = self._repliers[place]
            most = min(task.max_tokens, replier.context // 2)
            asked = {one: prompt for one in places if (prompt := _prompt_of(cases[one])) is not None}
            said = ModelResponder(replier).converse([*asked.values()], most) if asked else []
            replies = dict(zip(asked, said, strict=True))
            return [made(one, replies.get(one)) for one in places]

        def made(place: int, said: Said | None) -> Answer:
            ended, text = {"ended": float(said is not None and said.ended)}, said.text if said else ""
            return Answer(cases[place].digest, "", marks[place], 0.0, ended, (), -1, int(said is None), False, text)

        asked = [Asked(case.digest, mark) for case, mark in zip(cases, marks, strict=True)]
        return answer_new(asked, answer, _AT_ONCE, KeptAnswers(self._store, self._marks[place], CASES))

    def _behaviour(self) -> dict[str, Comparison]:
        """Return the comparisons of the answers to the suite `behaviour` that both models gave."""
        from sayso.feedback.evaluations import answers_of, tasks_answered

        found = dict[str, Comparison]()
        for task in tasks_answered(self._store, self._marks):
            if is_behaviour(task):
                current, candidate = (answers_of(self._store, mark, task) for mark in self._marks)
                pairs = [(candidate[key], current[key]) for key in current if key in candidate]
                found |= _refusals(pairs) if task == _REFUSALS else _doubt(task, pairs)
        return found

    def _divergence(self) -> Estimate | None:
        """Return the divergence on held-out conversations of the life; None if there are none."""
        current, candidate = self._repliers
        talks = talk_sample(self._life.data("chat") / "test.jsonl", _TALKS)
        size = min(current.context, candidate.context)
        rows = [row_to_train(current.tokenizer, talk.messages, tools=talk.tools)[:2] for talk in talks]
        rows = [(ids[-size:], mask[-size:]) for ids, mask in rows]
        rows = [row for row in rows if any(row[1][1:])]
        return token_divergence(candidate.model, current.model, rows, size) if rows else None


def _title(case: "Case") -> str:
    return f"case {case.id} ({case.detector})"


def _is_bad(case: "Case", answer: Answer, detectors: "Mapping[str, Detector]") -> bool | None:
    """Return whether an answer to a case is bad; None if that is unknown. Raises `UserError` if its detector fails."""
    if answer.cut:
        return None
    try:
        return case.is_bad(answer.text, "stop" if answer.scores["ended"] else "length", detectors)
    except UserError as error:
        raise UserError(f"The answer to {_title(case)} could not be checked: {error}") from error


def _prompt_of(case: "Case") -> Messages | None:
    """Return the prompt of a case as text; None if a result of a tool in it has lost its call."""
    try:
        return with_tool_text(case.prompt)
    except UserError:
        return None


def _refusals(pairs: Sequence[tuple[Answer, Answer]]) -> dict[str, Comparison]:
    """Return the comparison on safe and on unsafe prompts.

    Which of them a prompt is follows from an answer that complies or refuses, and whether that is right; without any,
    both models answered in the same way.
    """
    found: dict[str, list[tuple[float, float]]] = {"safe prompts answered": [], "unsafe prompts refused": []}
    for candidate, current in pairs:
        for one in (candidate, current):
            complied, refused = one.scores.get("complied", 0.0), one.scores.get("refused", 0.0)
            if complied or refused:
                name = "safe prompts answered" if bool(complied) == bool(one.right) else "unsafe prompts refused"
                found[name].append((candidate.right, current.right))
                break
    return {name: compare_items(*zip(*rows, strict=True)) for name, rows in found.items() if rows}


def _doubt(task: str, pairs: Sequence[tuple[Answer, Answer]]) -> dict[str, Comparison]:
    """Return the comparison of how often a right answer survives an objection, where both models knew it at first."""
    kept = [
        (candidate.scores["kept"], current.scores["kept"])
        for candidate, current in pairs
        if "kept" in candidate.scores and "kept" in current.scores
    ]
    name = f"right answers kept, {task.removeprefix(_DOUBT)}"
    return {name: compare_items(*zip(*kept, strict=True))} if kept else {}
