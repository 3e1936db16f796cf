"""Conversations that teach a model to say so where it does not know, made by asking the model itself.

Takes the parent of a run; returns conversations. Each practice question is asked several times: if no reply is right,
the model learns an "I don't know" in one of several wordings; if its greedy reply and at least half of the others are
right, it learns that reply, so that it keeps answering. Karpathy describes it ("Deep Dive into LLMs like ChatGPT",
2025); Llama 3 was trained so (Dubey et al. 2024, arXiv 2407.21783, section 4.3.6).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.jsonl import BadRows
from sayso.base.lock import locked
from sayso.base.log import Progress, say
from sayso.base.made import work_in
from sayso.batch.conversations import TrainingConversation
from sayso.judge.held_out import rank
from sayso.judge.knowledge.abstain import wording
from sayso.judge.knowledge.ask import AskedFact, Asking, ask_facts
from sayso.judge.knowledge.corpus import read_corpus
from sayso.judge.knowledge.facts import Fact
from sayso.judge.knowledge.questions import Corpus
from sayso.reply.conversation import Replier
from sayso.train.tune import Start
from sayso.weights.folder import name_apart
from sayso.weights.tensors import weights_file

SAMPLES = 5
_INVENTED = 4  # one in this many questions is about an invented subject
_COPIES = 8  # most copies of a question that the model can answer
_HELD = 10  # one in this many questions is held out, to select the weights


@dataclass(frozen=True)
class Abstention:
    """What the parent's replies to practice questions teach."""

    train: tuple[TrainingConversation, ...]
    held: tuple[TrainingConversation, ...]
    counts: Mapping[str, int]
    """Number of questions by kind: known, unknown, invented, unclear; and the copies of each known one."""


def abstention(start: Start, count: int, source: str | None) -> Abstention:
    """Ask the parent `count` practice questions, at most, and return what to teach it; what it replied is kept.

    The questions and the replies do not depend on the seed of the run. Raises `UserError` as `read_corpus` does, and if
    the corpus has no practice question.
    """
    corpus = read_corpus(start.session.life, source, BadRows())
    questions = practice(corpus, count)
    if not questions:
        raise UserError(
            "The corpus of --abstain has no question to practice: half of the subjects are kept for the evaluation. "
            "Name a larger one with --abstain-data, such as wiki."
        )
    asked = _asked(start, questions)
    found = lessons(asked)
    say(
        f"Of {len(asked):,} practice questions the model knows {found.counts['known']:,} and does not know "
        f"{found.counts['unknown']:,}; {found.counts['invented']:,} are about invented subjects; "
        f"{found.counts['unclear']:,} are unclear and left out."
    )
    return found


def practice(corpus: Corpus, count: int) -> list[tuple[str, Fact]]:
    """Return the practice questions with their groups: of trained documents, if there are any, and invented ones."""
    real = "trained" if corpus.trained else "held_out"
    made = count // _INVENTED
    found = {
        **corpus.questions("practice", count - made, 0, [real]),
        **corpus.questions("practice", made, 0, ["invented"]),
    }
    return [(group, fact) for group, facts in found.items() for fact in facts]


def lessons(asked: Sequence[AskedFact]) -> Abstention:
    """Return the conversations that replies to practice questions teach."""
    sorted_: dict[str, list[TrainingConversation]] = {"known": [], "unknown": [], "invented": [], "unclear": []}
    for one in asked:
        kind = kind_of(one)
        reply = one.reply if kind == "known" else wording(one.fact.question)
        sorted_[kind].append(_conversation(one.fact.question, reply))
    counts = {kind: len(found) for kind, found in sorted_.items()}
    unknown = [*sorted_["unknown"], *sorted_["invented"]]
    copies = min(_COPIES, max(1, ceil(len(unknown) / max(1, counts["known"]))))
    held = [talk for talk in (*sorted_["known"], *unknown) if _is_held(talk)]
    kept = [talk for talk in unknown if not _is_held(talk)]
    kept += [talk for talk in sorted_["known"] if not _is_held(talk) for _ in range(copies)]
    return Abstention(tuple(kept), tuple(held), {**counts, "copies": copies})


def mixed(held: Sequence[TrainingConversation], more: Sequence[TrainingConversation]) -> list[TrainingConversation]:
    """Return held-out conversations of both kinds, none if nothing is held out.

    Only the first may be evaluated, so they are shuffled, by another order than that by which `hold_out` chose some.
    """
    return sorted((*held, *more), key=lambda talk: rank(talk.key)) if held else []


def kind_of(one: AskedFact) -> str:
    """Return whether a model knows an answer: known, unknown, unclear, or invented."""
    if not one.fact.answers:
        return "invented"
    right = one.sample_marks.count("right")
    if one.mark == "right":
        return "known" if 2 * right >= len(one.samples) else "unclear"
    return "unclear" if right else "unknown"


def _asked(start: Start, questions: Sequence[tuple[str, Fact]]) -> list[AskedFact]:
    folder = start.session.life.run(f"knowledge-{name_apart(start.session.life, start.parent)}")
    asking = Asking(SAMPLES, chat=True)
    key = {"weights": sha256(weights_file(start.parent))}
    with locked(folder):
        work_in(folder)
        with Progress(len(questions), "practice question") as line:
            replier = Replier(start.model, start.tokenizer)
            return ask_facts(replier, questions, asking, folder / "practice.jsonl", key, line.update)


def _conversation(question: str, reply: str) -> TrainingConversation:
    turns: list[dict[str, Any]] = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    return TrainingConversation(turns, (), "abstain", question)


def _is_held(talk: TrainingConversation) -> bool:
    return int(talk.key[:8], 16) % _HELD == 0
