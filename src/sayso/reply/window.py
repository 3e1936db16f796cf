"""The conversation window: when a conversation exceeds the context, its oldest turns are omitted.

Takes all messages; returns those that fit with room for a reply. System messages at the beginning always stay.
"""

from bisect import bisect_left
from collections.abc import Callable

from sayso.text.document import Message, Messages


def fit_window(
    messages: Messages, count: Callable[[Messages], int], context: int, reserve: int
) -> tuple[list[Message], int]:
    """Return the messages that leave `reserve` of `context` tokens free, and how many were omitted.

    `count` returns the tokens of a conversation, which must decrease with a later start. Turns are dropped whole: a
    question with its reply. The last question stays even if it alone is too long, so that the caller gets an error.
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
