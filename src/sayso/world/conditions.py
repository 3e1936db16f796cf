"""Check replies to instructions: the score is the mean over conditions; a reply that is not prose scores 0."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from .lookup import LookupCheck, right, word_set, wrong
from .types import Score

COMMON = word_set(
    "a an the and but so then he she it they his her its him them was were is are had has have in on at to of for with "
    "from by not that this there i you we my your one when because who very all as up out into"
)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a reply; punctuation inside quotes, before a lower-case word, does not end one."""
    parts = re.split(r'(?<=[.!?])\s+(?=["“]?[A-Z0-9])|(?<=[.!?]["”])\s+(?=["“]?[A-Z])', text.strip())
    return [p for p in parts if re.search(r"[A-Za-z0-9]", p)]


def prose_fault(reply: str) -> str:
    """Return why a reply is not prose, or ""."""
    words = re.findall(r"[a-z']+", reply.lower())
    sentences = split_sentences(reply)
    if len(words) < 4:
        return "The reply is too short."
    if reply.strip()[-1] not in '.!?"”':
        return "The last sentence has no closing punctuation."
    if any(len(s.split()) < 2 for s in sentences) or len(words) / len(sentences) > 40:
        return "A sentence is too short, or sentences are too long."
    if len({s.lower() for s in sentences}) < len(sentences):
        return "A sentence is repeated."
    top, times = Counter(w for w in words if w not in COMMON).most_common(1)[0] if set(words) - COMMON else ("", 0)
    if times > max(3, len(words) // 5):
        return f"{top!r} is repeated too often."
    if any(x == y == z for x, y, z in zip(words, words[1:], words[2:], strict=False)):
        return "A word is repeated."
    if sum(w in COMMON for w in words) < 0.2 * len(words):
        return "The reply is a list of words, not sentences."
    return ""


def condition_words(condition: LookupCheck, reply: str) -> Score:
    """Return the share of the requested words that are used (plurals count)."""
    used = set(re.findall(r"[a-z]+", reply.lower()))
    missing = [w for w in condition["words"] if not {w, w + "s", w + "es", w[:-1] + "ies"} & used]
    share = 1 - len(missing) / len(condition["words"])
    return Score(share, (f"Missing: {', '.join(missing)}." if missing else f"Uses {', '.join(condition['words'])}.",))


def condition_sentences(condition: LookupCheck, reply: str) -> Score:
    """Score 1 for exactly `n` sentences."""
    count = len(split_sentences(reply))
    return (right if count == condition["n"] else wrong)(
        f"The reply has {count} sentences; {condition['n']} were requested."
    )


def condition_ending(condition: LookupCheck, reply: str) -> Score:
    """Score 1 if the last sentence contains a happy word and no sad one."""
    last = set(re.findall(r"[a-z]+", split_sentences(reply)[-1].lower()))
    glad = bool(last & set(condition["glad"])) and not last & set(condition["sad"])
    return right("It ends happily.") if glad else wrong("It does not end happily.")


def condition_length(condition: LookupCheck, reply: str) -> Score:
    """Score 1 for a reply that is neither too short nor too long."""
    size = len(reply.split())
    fits = condition["least"] <= size <= condition["most"]
    return (right if fits else wrong)(
        f"The reply has {size} words; {condition['least']} to {condition['most']} are allowed."
    )


CONDITIONS: dict[str, Callable[[LookupCheck, str], Score]] = {
    "words": condition_words, "sentences": condition_sentences, "ending": condition_ending, "length": condition_length,
}  # fmt: skip


def check_conditions(check: LookupCheck, reply: str) -> Score:
    """Return the mean score of the conditions, or 0 for a reply that is not prose."""
    fault = prose_fault(reply) if reply.strip() else "The reply is empty."
    if fault:
        return wrong(fault)
    scores = [CONDITIONS[c["type"]](c, reply) for c in check["conditions"]]
    value = sum(s.value for s in scores) / len(scores)
    return Score(value, tuple(r for s in scores for r in s.reasons))
