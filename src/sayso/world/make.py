"""The entry points of the small world: stories, documents, conversations, tasks.

Each is a pure function of (seed, index, split) and, for a task, its family.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sayso.base.errors import UserError, nearest

from .check import score_reply
from .draw import generator
from .instructions import (
    INSTRUCTION_FAMILIES,
    ORDERS,
    happy,
    is_one_word,
    one_word,
    required_words,
    sentences,
    wrong_instruction,
)
from .notes import make_notes
from .questions import STORY_FAMILIES, askable, several, task_of, wrong_answers
from .skills import SKILL_FAMILIES, skill, wrong_skill
from .smalltalk import dressed, small_talk, story_request
from .story import make
from .talk import TALK_FAMILIES, secret, self_talk, wrong_talk
from .types import PlainMessage, Task, assistant, user

FAMILIES = (*STORY_FAMILIES, *SKILL_FAMILIES, *INSTRUCTION_FAMILIES, *TALK_FAMILIES)
_SOURCE = "smallworld"
LONGEST = 1300  # characters of a conversation
# Percentage of each kind of conversation.
CONVERSATION_KINDS = {
    "notes": 33, "story": 25, "words": 3, "sentences": 3, "happy": 2, "one_word": 5, "arithmetic": 2, "spelling": 1,
    "letters": 1, "self": 9, "secret": 2, "chat": 10, "request": 4,
}  # fmt: skip
BREAKS = ("\n\n", "\n\n", "\n\n", "\n", " ")  # between a story and a question about it, as users may write them
QUESTIONS = (6, 12)  # per story of a conversation: another question costs less than another story
BRIEF = 0.5  # share of one-word questions about a story that request one word
TURNS = (1, 3)  # of small talk in a chat
SELF_QUESTIONS = 3  # about Sayso, in a conversation of them alone
REQUESTS = 2  # for a story, in a conversation of them alone
ENDING_IN_STORY = 0.3  # share of the chats that end with a request for a story
DISTRACTORS = 2  # minimum number of wrong answers of the same type in the story of an evaluation task
NOTES, PURE_STORIES = 0.3, 0.3  # shares of the documents; the rest are stories followed by questions and answers


def story(seed: int, index: int, split: str) -> str:
    """Return a story of 80 to 140 words, about 105 on average."""
    return make(seed, index, split, "document")[1].text


def document(seed: int, index: int, split: str) -> dict[str, Any]:
    """Return a story, alone or followed by questions and answers, one per line; or notes with theirs."""
    kind = generator(seed, index, split, "kind").random()
    rng, source = (make_notes if kind < NOTES else make)(seed, index, split, "document")
    text = source.text
    if kind < 1 - PURE_STORIES:
        rows = several(rng, source, split, rng.randint(4, 8))
        text += "".join(f"\n{question} {answer}" for question, answer, _ in rows)
    return {"text": text, "source": _SOURCE}


def conversation(seed: int, index: int, split: str) -> dict[str, Any]:
    """Return a conversation of a kind drawn from `CONVERSATION_KINDS`, at most `LONGEST` characters."""
    rng = generator(seed, index, split, "conversation")
    kind = rng.choices(tuple(CONVERSATION_KINDS), tuple(CONVERSATION_KINDS.values()))[0]
    if kind in ("story", "notes"):
        messages = reading(seed, index, split, kind)
    elif kind == "one_word":
        messages = _turns(task(seed, index, split, "one_word"))
    elif kind == "chat":
        messages = [message for _ in range(rng.randint(*TURNS)) for message in pair(*small_talk(rng))]
        messages += _dressed(rng, self_talk(rng, split))
        if rng.random() < ENDING_IN_STORY:
            messages += pair(*story_request(rng, split))
    elif kind == "request":
        messages = [message for _ in range(REQUESTS) for message in pair(*story_request(rng, split))]
    elif kind == "self":
        messages = [message for _ in range(SELF_QUESTIONS) for message in _dressed(rng, self_talk(rng, split))]
    else:
        size = {"words": 1, "sentences": 2, "happy": 1, "secret": 1}.get(kind, 3)
        messages = [message for _ in range(size) for message in _turns(plain_task(rng, split, kind))]
    return {"messages": messages, "source": _SOURCE}


def pair(question: str, answer: str) -> list[PlainMessage]:
    """Return one turn of each side."""
    return [user(question), assistant(answer)]


def _turns(done: Task) -> list[PlainMessage]:
    """Return a task as a conversation."""
    return [*done.prompt.messages, assistant(done.reply)]


def _dressed(rng: random.Random, done: Task) -> list[PlainMessage]:
    """Return a question and its answer as a conversation, the question in more words than the task's."""
    return pair(dressed(rng, done.prompt.messages[-1]["content"]), done.reply)


def reading(seed: int, index: int, split: str, kind: str) -> list[PlainMessage]:
    """Return a story or notes with a question, then more questions, of every family that it supports."""
    rng, source = (make_notes if kind == "notes" else make)(seed, index, split, "conversation")
    messages: list[PlainMessage] = []
    between = rng.choice(BREAKS)
    room = LONGEST - len(source.text)
    for question, answer, fact in several(rng, source, split, rng.randint(*QUESTIONS)):
        if is_one_word(fact) and rng.random() < BRIEF:
            question, answer = rng.choice(ORDERS) + question, fact.answer
        room -= len(question) + len(answer) + 2
        if room < 0:
            break
        messages += pair(question if messages else f"{source.text}{between}{question}", answer)
    return messages


def plain_task(rng: random.Random, split: str, family: str) -> Task:
    """Return a task that needs no story."""
    makers: dict[str, Callable[[random.Random, str], Task]] = {
        "words": required_words, "sentences": sentences, "happy": happy, "self": self_talk, "secret": secret,
    }  # fmt: skip
    return makers[family](rng, split) if family in makers else skill(rng, split, family)


def task(seed: int, index: int, split: str, family: str) -> Task:
    """Return a task of one family; questions about stories use combinations that belong to `split`."""
    if family not in FAMILIES:
        raise UserError(f"A family must be one of {', '.join(FAMILIES)}; got {family!r}.{nearest(family, FAMILIES)}")
    if family not in STORY_FAMILIES and family != "one_word":
        return plain_task(generator(seed, index, split, "task", family), split, family)
    for attempt in range(1000):
        rng, source = make(seed, index, split, "task", family, attempt)
        if family == "one_word":
            found = one_word(rng, source, split)
            if found:
                return found
        facts = [f for f in askable(source, split, DISTRACTORS) if f.family == family]
        if facts:
            return task_of(rng, source, rng.choice(facts))
    raise AssertionError("no story supports this family")


def rejected(done: Task, seed: int) -> str:
    """Return a plausible reply to the task that scores less than its own."""
    rng = random.Random(seed)
    family = done.prompt.family
    best = score_reply(done.prompt, done.reply).value
    for _ in range(50):
        if family in STORY_FAMILIES:
            reply = rng.choice(wrong_answers(done.prompt.check))
        elif family in SKILL_FAMILIES:
            reply = wrong_skill(rng, done)
        else:
            reply = (wrong_instruction if family in INSTRUCTION_FAMILIES else wrong_talk)(rng, done)
        if score_reply(done.prompt, reply).value < best:
            return reply
    return "I do not know."
