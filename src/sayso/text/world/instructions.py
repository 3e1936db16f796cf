"""Instructions with conditions that a program can check, and replies that meet them by construction."""

from __future__ import annotations

import random
import re

from .check import COMMON, split_sentences
from .questions import askable, check_of
from .skills import NUMBERS
from .story import Story
from .tales import GLAD, SAD, roles_for, tale
from .types import Prompt, Task, user
from .words import Word

INSTRUCTION_FAMILIES = ("words", "sentences", "happy", "one_word")
PROSE = {"type": "length", "least": 8, "most": 130}


def conditions(prompt: str, family: str, wanted: list[dict[str, object]], reply: str) -> Task:
    return Task(Prompt((user(prompt),), family, {"type": "conditions", "conditions": [*wanted, PROSE]}), reply)


def usable(roles: dict[str, Word], text: str) -> list[str]:
    """Nouns of the tale that a prompt may ask for: single words that the text holds."""
    said = set(re.findall(r"[a-z]+", text.lower()))
    nouns = [roles["t"].noun, roles["p"].noun, roles["c"].noun, roles["k"], roles["f"].noun]
    return [str(n) for n in nouns if n in said and n not in COMMON]


def words(rng: random.Random, split: str) -> Task:
    """Tell a story that uses two or three given words."""
    while True:
        roles = roles_for(rng, split)
        text = " ".join(tale(rng, roles, rng.choice((4, 5, 6))))
        pool = usable(roles, text)
        if len(pool) >= 2:
            break
    wanted = rng.sample(pool, min(len(pool), rng.choice((2, 3))))
    listed = ", ".join(wanted[:-1]) + " and " + wanted[-1]
    prompt = rng.choice((
        f"Tell me a story with the words {listed}.", f"Write a short story that uses the words {listed}.",
        f"Make up a story with these words: {', '.join(wanted)}.", f"Can you tell a story with {listed} in it?",
    ))  # fmt: skip
    return conditions(prompt, "words", [{"type": "words", "words": wanted}], text)


def sentences(rng: random.Random, split: str) -> Task:
    """Write exactly so many sentences about a thing or an animal."""
    while True:
        roles, size = roles_for(rng, split), rng.randint(2, 5)
        told = tale(rng, roles, size)
        text = " ".join(told)
        if len(split_sentences(text)) == size:
            break
    topic = roles["t"]
    number = NUMBERS[size]
    prompt = rng.choice((
        f"Write {number} sentences about {topic.a}.", f"Tell me a story about {topic.a} in {number} sentences.",
        f"In {number} sentences, tell me about {topic.a}.", f"Tell a story about {roles['a']} and {topic.a}. Use exactly {number} sentences.",
    ))  # fmt: skip
    wanted = [{"type": "sentences", "n": size}, {"type": "words", "words": [topic.split()[-1]]}]
    return conditions(prompt, "sentences", wanted, text)


def happy(rng: random.Random, split: str) -> Task:
    """Tell a story about somebody that ends happily."""
    roles = roles_for(rng, split)
    text = " ".join(tale(rng, roles, rng.choice((3, 4, 5))))
    hero, topic = roles["a"], roles["t"]
    prompt = rng.choice((
        f"Tell me a story about {hero} and {topic.a} that ends happily.", f"Tell a story about {hero} and {topic.a}. It should end happily.",
        f"Write a story with a happy ending about {hero} and {topic.a}.", f"I would like a story about {topic.a} and {hero}, with a happy end, please.",
    ))  # fmt: skip
    wanted = [{"type": "ending", "glad": list(GLAD), "sad": list(SAD)}, {"type": "words", "words": [hero.lower(), topic.split()[-1]]}]
    return conditions(prompt, "happy", wanted, text)


def one_word(rng: random.Random, story: Story, split: str) -> Task | None:
    """Answer a question about a story in one word, where the answer is one word."""
    facts = [f for f in askable(story, split) if f.family in ("who", "colour", "count") and " " not in f.value]
    if not facts:
        return None
    fact = rng.choice(facts)
    question = rng.choice(fact.questions())
    order = rng.choice(("Answer in one word: ", "In one word: ", "Give a one-word answer: "))
    check = {"type": "one_word", "of": check_of(story, fact, question)}
    return Task(Prompt((user(f"{story.text}\n\n{order}{question}"),), "one_word", check), fact.answer)


def wrong_instruction(rng: random.Random, task: Task) -> str:
    """A reply that breaks a condition: a word left out, a sentence too few or too many, a sad ending, more than one word."""
    check, reply = task.prompt.check, task.reply
    if task.prompt.family == "one_word":
        inner = check["of"]
        return rng.choice([f"The answer is {inner['answer'].lower()}.", *(f"{o}." for o in inner["wrong"])])
    parts = split_sentences(reply)
    if task.prompt.family == "sentences":
        return " ".join(parts[:-1]) if len(parts) > 2 and rng.random() < 0.5 else " ".join((*parts, "Then they all went home for supper."))
    if task.prompt.family == "happy":
        return " ".join((*parts[:-1], rng.choice(("But then it was lost again, and everybody was sad.", "In the end it was broken, and they cried."))))
    missing = rng.choice(check["conditions"][0]["words"])
    kept = [p for p in parts if missing not in p.lower()]
    return " ".join(kept) if kept else "One day a friend came for a visit. They had a good time."
