"""The conversation window: when a conversation outgrows the context, its oldest turns are left out.

Takes all messages; gives those that fit with room for a reply. System messages at the beginning always stay.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

Message = dict[str, Any]


def fit(
    messages: Sequence[Message], count: Callable[[Sequence[Message]], int], context: int, reserve: int
) -> tuple[list[Message], int]:
    """Return the messages that leave `reserve` of `context` tokens free, and how many were left out.

    `count` gives the tokens of a conversation, which are fewer the later it begins. Turns go whole: a question with its
    reply. The last question stays even when it alone is too long, so that whoever asks is told so.
    """
    head = next((place for place, message in enumerate(messages) if message["role"] != "system"), len(messages))
    starts = [place for place in range(head, len(messages)) if messages[place]["role"] == "user"]
    if not starts:
        return list(messages), 0

    def kept(start: int) -> list[Message]:
        return [*messages[:head], *messages[start:]]

    def fits(start: int) -> bool:
        return count(kept(start)) + reserve <= context

    if fits(starts[0]):
        return kept(starts[0]), starts[0] - head
    first = bisect_left(starts, True, lo=1, hi=max(len(starts) - 1, 1), key=fits)
    start = starts[min(first, len(starts) - 1)]
    return kept(start), start - head
