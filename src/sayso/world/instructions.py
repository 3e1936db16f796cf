"""Instructions with conditions that a program can check, and replies that meet them by construction."""

from __future__ import annotations

import random
import re
from typing import Any

from .conditions import COMMON, split_sentences
from .lookup import NUMBER_WORDS
from .questions import askable, check_of
from .story import Fact, Story
from .tales import GLAD, LONGEST_TALE, SAD, TALES, Tale, roles_for, tale
from .types import Task, TaskPrompt, user
from .words import Word

INSTRUCTION_FAMILIES = ("words", "sentences", "happy", "one_word")
ORDERS = ("Answer in one word: ", "In one word: ", "Give a one-word answer: ")
PROSE = {"type": "length", "least": 6, "most": 130}


def conditions(prompt: str, family: str, wanted: list[dict[str, Any]], reply: str) -> Task:
    """Return a task with conditions on its reply."""
    return Task(TaskPrompt((user(prompt),), family, {"type": "conditions", "conditions": [*wanted, PROSE]}), reply)


def stem(word: Word) -> str:
    """Return the word that a text must contain to mention `word`: the last one of its noun, in lower case."""
    return word.noun.split()[-1].lower()


def mentioned(words: list[Word], text: str) -> list[str]:
    """Return the stems of the words that a text mentions, in the singular or plural."""
    found = set(re.findall(r"[a-z]+", text.lower()))
    return [
        stem(word) for word in words if {stem(word), word.s.split()[-1].lower()} & found and stem(word) not in COMMON
    ]


def topic_of(kind: Tale, roles: dict[str, Word], text: str) -> tuple[str, str] | None:
    """Return the tale's topic as a prompt names it, and the word to look for; None if the text does not name it."""
    topic = roles[kind.topic]
    if not mentioned([topic], text):
        return None
    named = {"t": topic.a, "c": topic.a, "f": topic.s, "q": topic.the}.get(kind.topic, str(topic))
    return named, stem(topic)


def draw_tale(rng: random.Random, split: str, least: int, most: int) -> tuple[Tale, dict[str, Word], list[str]]:
    """Return a kind of tale, its roles, and its `least` to `most` sentences."""
    kind, roles = rng.choice(TALES), roles_for(rng, split)
    return kind, roles, tale(rng, kind, roles, rng.randint(least, most))


def required_words(rng: random.Random, split: str) -> Task:
    """Return the task to tell a story that uses two or three words."""
    while True:
        _, roles, parts = draw_tale(rng, split, 4, LONGEST_TALE)
        text = " ".join(parts)
        pool = mentioned([roles[name] for name in ("t", "p", "q", "g", "c", "k", "f")], text)
        if len(pool) >= 2:
            break
    wanted = rng.sample(pool, min(len(pool), rng.choice((2, 3))))
    listed = ", ".join(wanted[:-1]) + " and " + wanted[-1]
    prompt = rng.choice((
        f"Tell me a story with the words {listed}.", f"Write a short story that uses the words {listed}.",
        f"Make up a story with these words: {', '.join(wanted)}.", f"Can you tell a story with the words {listed} "
                                                                   f"in it?",
    ))  # fmt: skip
    return conditions(prompt, "words", [{"type": "words", "words": wanted}], text)


def sentences(rng: random.Random, split: str) -> Task:
    """Return the task to write an exact number of sentences about something."""
    while True:
        kind, roles, parts = draw_tale(rng, split, 2, LONGEST_TALE - 1)
        text = " ".join(parts)
        topic = topic_of(kind, roles, text)
        if topic and len(split_sentences(text)) == len(parts):
            break
    named, word = topic
    number = NUMBER_WORDS[len(parts)]
    prompt = rng.choice((
        f"Write {number} sentences about {named}.", f"Tell me a story about {named} in {number} sentences.",
        f"In {number} sentences, tell me about {named}.", f"Tell a story about {named}. Use exactly {number} "
                                                          f"sentences.",
    ))  # fmt: skip
    wanted: list[dict[str, Any]] = [{"type": "sentences", "n": len(parts)}, {"type": "words", "words": [word]}]
    return conditions(prompt, "sentences", wanted, text)


def happy(rng: random.Random, split: str) -> Task:
    """Return the task to tell a story about something that ends happily."""
    while True:
        kind, roles, parts = draw_tale(rng, split, 3, LONGEST_TALE)
        text = " ".join(parts)
        topic = topic_of(kind, roles, text)
        if topic:
            break
    named, word = topic
    prompt = rng.choice((
        f"Tell me a story about {named} that ends happily.", f"Tell a story about {named}. It should end happily.",
        f"Write a story with a happy ending about {named}.", f"I would like a story about {named} with a happy end, "
                                                             f"please.",
    ))  # fmt: skip
    wanted: list[dict[str, Any]] = [
        {"type": "ending", "glad": list(GLAD), "sad": list(SAD)},
        {"type": "words", "words": [word]},
    ]
    return conditions(prompt, "happy", wanted, text)


def one_word(rng: random.Random, story: Story, split: str) -> Task | None:
    """Return the task to answer a question about a story in one word, or None if the story has none."""
    facts = [fact for fact in askable(story, split) if is_one_word(fact)]
    if not facts:
        return None
    fact = rng.choice(facts)
    question = rng.choice(fact.questions())
    check = {"type": "one_word", "of": check_of(story, fact, question)}
    return Task(TaskPrompt((user(f"{story.text}\n\n{rng.choice(ORDERS)}{question}"),), "one_word", check), fact.answer)


def is_one_word(fact: Fact) -> bool:
    """Whether one word answers the question about a fact."""
    return fact.family in ("who", "colour", "count") and " " not in fact.value


SAD_ENDS = (
    "But then it was lost again, and everybody was sad.",
    "In the end it was broken, and they cried.",
    "After that they were lonely.",
)


def wrong_instruction(rng: random.Random, task: Task) -> str:
    """Return a reply that breaks a condition: a word or sentence missing, a sentence added, a sad end, extra words."""
    check, reply = task.prompt.check, task.reply
    if task.prompt.family == "one_word":
        inner = check["of"]
        return rng.choice([f"The answer is {inner['answer'].lower()}.", *(f"{o}." for o in inner["wrong"])])
    parts = split_sentences(reply)
    if task.prompt.family == "sentences":
        fewer = " ".join(parts[:-1])
        return fewer if len(parts) > 2 and rng.random() < 0.5 else f"{reply} Then they all went home for supper."
    if task.prompt.family == "happy":
        return " ".join((*parts[:-1], rng.choice(SAD_ENDS)))
    missing = rng.choice(check["conditions"][0]["words"])
    kept = [p for p in parts if missing[:-1] not in p.lower()]
    return " ".join(kept) if kept else "One day a friend came for a visit. They had a good time."
