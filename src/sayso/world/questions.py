"""Questions about a story: takes facts, returns prompts with their checks, and plausible wrong answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from .story import Fact, Story, sentence
from .types import Task, TaskPrompt, user

STORY_FAMILIES = ("where", "who", "colour", "count", "why", "first")
_NEAR = {
    "in": ("in", "inside", "into", "at", "to", "by"),
    "on": ("on", "onto", "at", "to", "in"),
    "at": ("at", "in", "to", "by", "near"),
    "by": ("by", "near", "beside", "at", "to"),
    "near": ("near", "by", "beside", "at"),
    "beside": ("beside", "by", "near", "at"),
    "under": ("under", "beneath", "below"),
    "behind": ("behind",),
    "among": ("among", "in", "between"),
}  # words for the same place


def _shown(fact: Fact, value: str) -> str:
    """Return a value of the fact's family as a reply."""
    if fact.family == "why":
        return sentence("because " + value)
    if fact.family == "first":
        return sentence(f"{fact.roles[fact.ask.subject].he} {value}")
    return sentence(value)


def check_of(story: Story, fact: Fact, question: str) -> dict[str, Any]:
    """Return the data that scores a reply to `question`."""
    base = {"family": fact.family, "question": question, "answer": fact.answer.rstrip(".")}
    rivals = [o for o in story.others(fact) if fact.family != "who" or f"{o}" not in question]
    others = [_shown(fact, o).rstrip(".") for o in rivals]
    wrong = [fact.reply(question, o).rstrip(".") for o in rivals]
    if fact.family == "where":
        preposition = fact.value.split()[0]
        return {
            "type": "where", **base, "noun": fact.value.noun, "prepositions": list(_NEAR[preposition]),
            "others": [o.noun for o in rivals], "wrong": wrong,
        }  # fmt: skip
    if fact.family in ("why", "first"):
        names = [str(n) for n in story.values.get("who", ())]
        return {"type": "clause", **base, "others": others, "names": names, "wrong": wrong}
    return {"type": "lookup", **base, "others": others, "wrong": wrong}


def prompt_of(story: Story, fact: Fact, question: str) -> TaskPrompt:
    """Return the story followed by a question."""
    return TaskPrompt((user(f"{story.text}\n\n{question}"),), fact.family, check_of(story, fact, question))


def task_of(rng: random.Random, story: Story, fact: Fact) -> Task:
    """Return a task that asks for `fact`, in one of its wordings."""
    question = rng.choice(fact.questions())
    return Task(prompt_of(story, fact, question), fact.reply(question))


def askable(story: Story, split: str, distractors: int = 1) -> list[Fact]:
    """Return the facts whose combination belongs to `split`, with at least `distractors` wrong answers in the story."""
    return [f for f in story.facts if f.split == split and len(story.others(f)) >= distractors]


def several(rng: random.Random, story: Story, split: str, most: int) -> list[tuple[str, str, Fact]]:
    """Return up to `most` different questions with answers: one of each family of the story, then others."""
    facts = askable(story, split, 0)
    rng.shuffle(facts)
    seen: set[str] = set()
    leading: list[Fact] = []
    later: list[Fact] = []
    for fact in facts:
        (later if fact.family in seen else leading).append(fact)
        seen.add(fact.family)
    asked: dict[str, tuple[str, str, Fact]] = {}
    for fact in (leading + later)[:most]:
        question = rng.choice(fact.questions())
        asked.setdefault(question, (question, fact.reply(question), fact))
    rows = list(asked.values())
    rng.shuffle(rows)
    return rows


def wrong_answers(check: dict[str, Any]) -> Sequence[str]:
    """Return replies that name another value of the same story."""
    return [sentence(str(o)) for o in check["wrong"]]
