"""Skills without a story: small sums, spelling and counting letters, each as a task with an exact answer."""

from __future__ import annotations

import random

from . import words as w
from .draw import split_of
from .lookup import NUMBER_WORDS
from .types import Task, TaskPrompt, user

SKILL_FAMILIES = ("arithmetic", "spelling", "letters")
_LARGEST = 20
_NAMED = (w.TOYS, w.WEAR, w.TOOLS, w.SMALL, w.GIFTS, w.HEIRLOOMS, w.FRUIT, w.ROOTS, w.BAKED, w.STUFF, w.YARD, w.COLOURS)
SPELLABLE = tuple(dict.fromkeys(str(x) for pool in _NAMED for x in pool if 3 <= len(x) <= 7 and x.isalpha()))


def in_split(rng: random.Random, pool: tuple[str, ...], subject: str, split: str) -> str:
    """Return a member of `pool` whose pair with `subject` belongs to `split`."""
    while True:
        word = pool[int(rng.random() * len(pool))]
        if split_of(subject, word) == split:
            return word


def exact(family: str, question: str, answer: str, reply: str) -> Task:
    """Return a task with one exact answer."""
    check = {"type": "exact", "family": family, "question": question, "answer": answer}
    return Task(TaskPrompt((user(question),), family, check), reply)


def arithmetic(rng: random.Random, split: str) -> Task:
    """Return a sum or difference up to twenty, in digits, words or a tiny story; pairs (left, right) are held out."""
    while True:
        left, right, plus = rng.randint(1, _LARGEST), rng.randint(1, 10), rng.random() < 0.6
        total = left + right if plus else left - right
        if 0 <= total <= _LARGEST and split_of(f"{left}{'+' if plus else '-'}", str(right)) == split:
            break
    form = rng.randrange(4)
    if form == 0:
        return exact("arithmetic", f"What is {left} {'+' if plus else '-'} {right}?", str(total), f"{total}.")
    if form == 1:
        sign = "plus" if plus else "minus"
        return exact(
            "arithmetic",
            f"What is {NUMBER_WORDS[left]} {sign} {NUMBER_WORDS[right]}?",
            NUMBER_WORDS[total],
            NUMBER_WORDS[total].capitalize() + ".",
        )
    name = rng.choice(w.CHILDREN)
    items = rng.choice(w.FRUIT + w.STUFF)
    had, more = (items if left == 1 else items.s), (items if right == 1 else items.s)
    change = f"gets {NUMBER_WORDS[right]} more" if plus else f"gives away {NUMBER_WORDS[right]}"
    if form == 3:
        change = f"finds {NUMBER_WORDS[right]} more {more}" if plus else f"loses {NUMBER_WORDS[right]} {more}"
    question = f"{name} has {NUMBER_WORDS[left]} {had} and {change}. How many {items.s} does {name} have now?"
    return exact("arithmetic", question, NUMBER_WORDS[total], NUMBER_WORDS[total].capitalize() + ".")


def spelling(rng: random.Random, split: str) -> Task:
    """Return the task to spell a word."""
    word = in_split(rng, SPELLABLE, "spell", split)
    question = rng.choice(
        (f"Spell {word}.", f"How do you spell {word}?", f'Spell the word "{word}".', f"Can you spell {word}?")
    )
    return exact("spelling", question, word, "-".join(word) + ".")


def letters(rng: random.Random, split: str) -> Task:
    """Return a question about a word's number of letters, the count of one letter, or its first or last letter."""
    word = in_split(rng, SPELLABLE, "letters", split)
    form = rng.randrange(4)
    if form == 0:
        return exact("letters", f"What is the first letter of {word}?", word[0], f"{word[0].upper()}.")
    if form == 1:
        return exact("letters", f"What is the last letter of {word}?", word[-1], f"{word[-1].upper()}.")
    if form == 2:
        question = f"How many letters does {word} have?"
        return exact("letters", question, NUMBER_WORDS[len(word)], NUMBER_WORDS[len(word)].capitalize() + ".")
    letter = rng.choice(word)
    question = f"How many times does the letter {letter} come in {word}?"
    return exact(
        "letters", question, NUMBER_WORDS[word.count(letter)], NUMBER_WORDS[word.count(letter)].capitalize() + "."
    )


def skill(rng: random.Random, split: str, family: str) -> Task:
    """Return a task of one of `SKILL_FAMILIES`."""
    return {"arithmetic": arithmetic, "spelling": spelling, "letters": letters}[family](rng, split)


def wrong_skill(rng: random.Random, task: Task) -> str:
    """Return a near miss: a number off by one or two, a misspelled word, another letter."""
    answer = str(task.prompt.check["answer"])
    if task.prompt.family == "spelling":
        at = rng.randrange(len(answer))
        other = rng.choice(
            (
                answer[:at] + answer[at + 1 :],
                answer[:at] + answer[at] + answer[at:],
                answer[:at] + "e" + answer[at + 1 :],
            )
        )
        return "-".join(other if other != answer else answer + answer[-1]) + "."
    if len(answer) == 1 and answer.isalpha():
        return rng.choice([c for c in "abcdefghijklmnoprstuwy" if c != answer]).upper() + "."
    value = int(answer) if answer.isdigit() else NUMBER_WORDS.index(answer)
    other_value = rng.choice([v for v in (value - 2, value - 1, value + 1, value + 2) if 0 <= v <= _LARGEST])
    return f"{other_value}." if answer.isdigit() else NUMBER_WORDS[other_value].capitalize() + "."
