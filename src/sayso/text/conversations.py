"""Convert messages between two sides to conversations of a size that a small model can learn from.

A long conversation is split into windows that start with the user and end with the assistant. Chat between strangers
must also be free of profanity and personal details.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sayso.text.clean import clean
from sayso.text.document import Message, Messages

MIN_TURNS = 2  # of each side, in chat between strangers and in each of its windows: "hi", "hi" teaches nothing
# A word is profane if it begins with one of these stems or is one of these words, which are harmless as stems.
# fmt: off
PROFANE_STEMS = (
    "fuck", "motherf", "shit", "bitch", "cunt", "nigg", "faggot", "whore", "slut", "porn", "rapist", "wank", "bollock",
    "asshole", "arsehole", "dickhead", "goddamn",
)
PROFANE_WORDS = frozenset((
    "ass", "arse", "dick", "cock", "pussy", "sex", "sexy", "rape", "raped", "damn", "bastard", "fag", "tits", "boobs",
    "penis", "vagina", "nude", "nudes",
))
# fmt: on
UNPAIRED, TOO_LONG, SHORT = "unpaired_turn", "exchange_too_long", "exchange_in_short_window"
"""Why turns are omitted: without a question or a reply; exchange longer than a window; window with too few turns."""
_WORD = re.compile(r"[a-z]+")
MAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}")
PHONE = re.compile(r"(?<!\d)\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)")


def as_messages(turns: Iterable[tuple[str, str]]) -> tuple[Message, ...]:
    """Return cleaned messages from (role, content) pairs."""
    return cleaned({"role": role, "content": content} for role, content in turns)


def cleaned(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return messages with clean contents; empty ones are removed, consecutive ones of one role are joined.

    Tool results, calls and replies of weight 0 are not joined.
    """
    done: list[Message] = []
    for message in messages:
        message = {**message, "content": clean(message["content"])}
        if not message["content"] and not message.get("tool_calls") and message["role"] != "tool":
            continue
        if done and _plain(message) and _plain(done[-1]) and done[-1]["role"] == message["role"]:
            message["content"] = join_texts([done.pop()["content"], message["content"]])
        done.append(message)
    return tuple(done)


def join_texts(texts: Sequence[str]) -> str:
    """Join the texts of one turn by spaces, adding a full stop if one is missing before a capital letter."""
    joined = ""
    for text in texts:
        stop = "." if joined[-1:].isalnum() and text[:1].isupper() else ""
        joined += f"{stop} {text}" if joined and text else text
    return joined


def as_text(messages: Messages) -> str:
    """Return a conversation as a document: one line per message or call, calls as JSON."""
    return "\n".join(text for message in messages for text in _texts_of(message) if text)


def decency_rule(messages: Messages) -> str | None:
    """Return the rule that a conversation breaks, "profane" or "personal", or None."""
    text = as_text(messages)
    words = set(_WORD.findall(text.lower()))
    if words & PROFANE_WORDS or any(word.startswith(PROFANE_STEMS) for word in words):
        return "profane"
    return "personal" if ("@" in text and MAIL.search(text)) or PHONE.search(text) else None


def too_few_turns(messages: Messages, least: int) -> bool:
    """Whether one of the two sides has fewer than `least` turns."""
    return any(sum(message["role"] == side for message in messages) < least for side in ("user", "assistant"))


def windows(
    messages: Messages,
    fits: Callable[[list[Message]], bool],
    least: int = 1,
    left_out: Counter[str] | None = None,
) -> list[list[Message]]:
    """Split a conversation into the longest windows that fit, in order.

    Each keeps the system message, starts with the user, ends with the assistant and has at least `least` turns of each;
    tool calls stay with their results. Exchanges outside all windows are counted in `left_out`, by reason.
    """
    left_out = Counter() if left_out is None else left_out
    system = [message for message in messages[:1] if message["role"] == "system"]
    found: list[list[list[Message]]] = [[]]
    answered = exchanges(messages[len(system) :])
    left_out[UNPAIRED] += len(messages) - len(system) - sum(map(len, answered))
    for exchange in answered:
        if not fits(system + exchange):
            left_out[TOO_LONG] += 1
            found.append([])
        elif fits(system + _joined(found[-1]) + exchange):
            found[-1].append(exchange)
        else:
            found.append([exchange])
    kept = []
    for window in found:
        if too_few_turns(_joined(window), least):
            left_out[SHORT] += len(window)
        else:
            kept.append(system + _joined(window))
    return kept


def exchanges(messages: Messages) -> list[list[Message]]:
    """Return each exchange: the messages from a user's turn to the last reply of the assistant."""
    found: list[list[Message]] = []
    before = ""
    for message in messages:
        opens = message["role"] in ("user", "system")
        if opens and before not in ("user", "system"):
            found.append([])
        if found:
            found[-1].append(message)
        before = message["role"]
    for exchange in found:
        while exchange and exchange[-1]["role"] != "assistant":
            exchange.pop()
    return [exchange for exchange in found if exchange]


def within(turns: int, characters: int) -> Callable[[list[Message]], bool]:
    """Return a check that messages are within a number of turns and characters; 0 = no limit."""

    def fits(messages: list[Message]) -> bool:
        length = sum(len(text) for message in messages for text in _texts_of(message))
        return (not turns or len(messages) <= turns) and (not characters or length <= characters)

    return fits


def _joined(window: Sequence[Messages]) -> list[Message]:
    return [message for exchange in window for message in exchange]


def _plain(message: Message) -> bool:
    return message["role"] != "tool" and not {"tool_calls", "weight"} & message.keys()


def _texts_of(message: Message) -> list[str]:
    calls: list[dict[str, Any]] = message.get("tool_calls", [])
    return [message["content"], *(json.dumps(call["function"], ensure_ascii=False) for call in calls)]
