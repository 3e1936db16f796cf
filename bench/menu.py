"""A toy world of restaurant orders in which a program scores replies, to test reward models against.

A guest wishes for four dishes; a reply is a list of words. It is better the more of the dishes it names, the fewer
words it repeats, and the closer its number of kind words is to three.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

DISHES = ("soup", "bread", "cheese", "apple", "fish", "rice", "plum", "cake", "pie", "beans", "egg", "pear")
KIND = ("please", "gladly", "dear", "welcome")
OTHER = ("here", "comes", "some", "and", "with", "the", "hot", "fresh", "now", "table", "plate", "today")
WORDS = (*DISHES, *KIND, *OTHER)
WISHED = 4
BEST_KIND = 3
WISHES, FRESH, WARM = 0.5, 0.2, 0.3  # weights of the parts
LENGTHS = (5, 14)
HEARD = 0.3  # probability that an untrained waiter names a wished dish


def gold(prompt: list[dict[str, Any]], reply: str, info: Mapping[str, Any]) -> float:  # noqa: ARG001 - the signature of a reward
    """Return the score of a reply, 0 to 1."""
    words = reply.split()
    wished = set(prompt[-1]["content"].split())
    if not words:
        return 0.0
    kind = sum(word in KIND for word in words)
    warm = max(0.0, 1 - abs(kind - BEST_KIND) / BEST_KIND)
    return WISHES * len(wished & {*words}) / len(wished) + FRESH * len({*words}) / len(words) + WARM * warm


def order(draw: Random) -> list[dict[str, str]]:
    """Return the prompt of a guest."""
    return [{"role": "user", "content": " ".join(draw.sample(DISHES, WISHED))}]


def untrained(prompt: list[dict[str, str]], draw: Random) -> str:
    """Return a reply of an untrained waiter."""
    words = draw.choices(WORDS, k=draw.randint(*LENGTHS))
    for dish in prompt[-1]["content"].split():
        if draw.random() < HEARD:
            words[draw.randrange(len(words))] = dish
    return " ".join(words)
