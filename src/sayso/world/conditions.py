"""Checks of instructions: each condition earns its share; text that is not prose earns nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from .lookup import LookupCheck, right, some, wrong
from .types import Score

COMMON = some(
    "a an the and but so then he she it they his her its him them was were is are had has have in on at to of for with "
    "from by not that this there i you we my your one when because who very all as up out into"
)


def split_sentences(text: str) -> list[str]:
    """Sentences of a reply; an end mark inside quotes with a lower-case word after it does not end one."""
    parts = re.split(r'(?<=[.!?])\s+(?=["“]?[A-Z0-9])|(?<=[.!?]["”])\s+(?=["“]?[A-Z])', text.strip())
    return [p for p in parts if re.search(r"[A-Za-z0-9]", p)]


def prose_fault(reply: str) -> str:
    """Why a reply is not prose, or an empty string."""
    said = re.findall(r"[a-z']+", reply.lower())
    sentences = split_sentences(reply)
    if len(said) < 4:
        return "The reply is too short to be a text."
    if reply.strip()[-1] not in '.!?"”':
        return "The last sentence has no end."
    if any(len(s.split()) < 2 for s in sentences) or len(said) / len(sentences) > 40:
        return "The sentences are not whole."
    if len({s.lower() for s in sentences}) < len(sentences):
        return "A sentence is repeated."
    top, times = Counter(w for w in said if w not in COMMON).most_common(1)[0] if set(said) - COMMON else ("", 0)
    if times > max(3, len(said) // 5):
        return f"{top!r} is repeated too often."
    if any(x == y == z for x, y, z in zip(said, said[1:], said[2:], strict=False)):
        return "A word is repeated."
    if sum(w in COMMON for w in said) < 0.2 * len(said):
        return "The reply is a list of words and not sentences."
    return ""


def condition_words(condition: LookupCheck, reply: str) -> Score:
    """The share of the asked words that are used (their plural counts)."""
    said = set(re.findall(r"[a-z]+", reply.lower()))
    missing = [w for w in condition["words"] if not {w, w + "s", w + "es", w[:-1] + "ies"} & said]
    share = 1 - len(missing) / len(condition["words"])
    return Score(share, (f"Missing: {', '.join(missing)}." if missing else f"Uses {', '.join(condition['words'])}.",))


def condition_sentences(condition: LookupCheck, reply: str) -> Score:
    """Exactly so many sentences."""
    count = len(split_sentences(reply))
    return (right if count == condition["n"] else wrong)(f"{count} sentences, {condition['n']} were asked for.")


def condition_ending(condition: LookupCheck, reply: str) -> Score:
    """The last sentence holds a word of the asked mood and none of the other."""
    last = set(re.findall(r"[a-z]+", split_sentences(reply)[-1].lower()))
    glad = bool(last & set(condition["glad"])) and not last & set(condition["sad"])
    return right("It ends happily.") if glad else wrong("The last sentence is not a happy one.")


def condition_length(condition: LookupCheck, reply: str) -> Score:
    """Neither too short nor too long."""
    size = len(reply.split())
    fits = condition["least"] <= size <= condition["most"]
    return (right if fits else wrong)(f"{size} words, {condition['least']} to {condition['most']} fit.")


CONDITIONS: dict[str, Callable[[LookupCheck, str], Score]] = {
    "words": condition_words, "sentences": condition_sentences, "ending": condition_ending, "length": condition_length,
}  # fmt: skip


def check_conditions(check: LookupCheck, reply: str) -> Score:
    """The mean of the conditions; nothing for a reply that is not prose."""
    fault = prose_fault(reply) if reply.strip() else "The reply is empty."
    if fault:
        return wrong(fault)
    scores = [CONDITIONS[c["type"]](c, reply) for c in check["conditions"]]
    value = sum(s.value for s in scores) / len(scores)
    return Score(value, tuple(r for s in scores for r in s.reasons))
