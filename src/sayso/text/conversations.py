"""Messages between two sides -> conversations of a size that a small model can learn from.

A long conversation is cut into windows that start with the user and end with the assistant. Chat between strangers must
also pass two rules of decency: no profanity, no personal details.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from sayso.text.clean import clean
from sayso.text.document import Message

ROLES = ("system", "user", "assistant")
MIN_TURNS = 2  # by each side, in chat between strangers and in each window of it: "hi", "hi" teaches nothing
# A word is profane when it begins with one of these stems or is one of these words, which would be innocent as stems.
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
WORD = re.compile(r"[a-z]+")
MAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}")
PHONE = re.compile(r"(?<!\d)\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)")


def as_messages(turns: Iterable[tuple[str, str]]) -> tuple[Message, ...]:
    """Return cleaned messages from (role, content) pairs; empty ones go, neighbours of one role become one."""
    messages: list[Message] = []
    for role, content in turns:
        content = clean(content)
        if not content:
            continue
        if messages and messages[-1]["role"] == role:
            content = join_texts([messages.pop()["content"], content])
        messages.append({"role": role, "content": content})
    return tuple(messages)


def join_texts(texts: Sequence[str]) -> str:
    """Join the texts of one turn by spaces, with a full stop where one ends bare and the next begins with a capital."""
    joined = ""
    for text in texts:
        stop = "." if joined[-1:].isalnum() and text[:1].isupper() else ""
        joined += f"{stop} {text}" if joined and text else text
    return joined


def as_text(messages: Sequence[Message]) -> str:
    """Return a conversation as a document: one paragraph a turn."""
    return "\n".join(message["content"] for message in messages)


def indecent_rule(messages: Sequence[Message]) -> str | None:
    """Return the rule of decency that a conversation breaks ("profane", "personal"), or None."""
    text = as_text(messages)
    words = set(WORD.findall(text.lower()))
    if words & PROFANE_WORDS or any(word.startswith(PROFANE_STEMS) for word in words):
        return "profane"
    return "personal" if ("@" in text and MAIL.search(text)) or PHONE.search(text) else None


def too_few_turns(messages: Sequence[Message], least: int) -> bool:
    """Whether one of the two sides has fewer than `least` turns."""
    return any(sum(message["role"] == side for message in messages) < least for side in ("user", "assistant"))


def windows(messages: Sequence[Message], turns: int, characters: int, least: int = 1) -> list[list[Message]]:
    """Cut a conversation into windows of at most `turns` messages and `characters` characters.

    Each keeps the system message, starts with the user, ends with the assistant and has `least` turns of each;
    what fits no window is left out. `turns` or `characters` 0 = no such limit.
    """
    system = [message for message in messages[:1] if message["role"] == "system"]
    pairs = [
        [user, assistant]
        for user, assistant in pairwise(messages)
        if (user["role"], assistant["role"]) == ("user", "assistant")
    ]
    found: list[list[Message]] = []
    window: list[Message] = []
    for pair in pairs:
        if window and not _fits(system + window + pair, turns, characters):
            found.append(window)
            window = []
        window = window + pair if _fits(system + window + pair, turns, characters) else []
    return [system + window for window in [*found, window] if len(window) >= 2 * least]


def _fits(messages: list[Message], turns: int, characters: int) -> bool:
    length = sum(len(message["content"]) for message in messages)
    return (not turns or len(messages) <= turns) and (not characters or length <= characters)
