"""Replies that say "I don't know": how a program recognizes them, and the wordings that a model is taught.

Takes a reply; a reply abstains if it says so, whatever else it says, unless it goes on to claim an answer with "but".
"""

import hashlib
import re

_NOT = "(?:(?:do|does|did|can|could)(?: not|n['’]?t)|cannot|can['’]?t|(?:am|was) (?:unable|not able) to)"
_TRULY = "(?:really |honestly |actually |simply |just )?"
_KNOW = "(?:know|recall|remember|recogni[sz]e|say|tell|answer|verify|confirm|find|be (?:sure|certain))"
_ENOUGH = "(?:any |enough |sufficient |reliable |specific |that |the )*"
_ABSTAINS = re.compile(
    rf"\bi {_TRULY}{_NOT} {_TRULY}{_KNOW}\b"
    rf"|\bi {_NOT} have {_ENOUGH}(?:information|knowledge|data|details|answer)\b"
    rf"|\bi(?: am|['’]m) {_TRULY}(?:not (?:sure|certain|familiar|aware)|unsure|uncertain|unfamiliar|unable to)\b"
    rf"|\bi have (?:no {_ENOUGH}(?:idea|information|knowledge|record|clue)|never heard|not heard|not come across)\b"
    r"|\bi(?:['’]ve)? never heard of\b|\bthere is no (?:reliable )?(?:information|record)\b"
    r"|\b(?:no idea|not sure|beats me|hard to say|i[’']d (?:only )?be guessing|rather not guess)\b"
    r"|\b(?:not known|unknown) to me\b|\b(?:outside (?:of )?|beyond )my knowledge\b"
    r"|^(?:unknown|unsure|don['’]?t know|no answer|cannot say)\b",
    re.I,
)
_CLAIMS = re.compile(r"\bbut (?:i (?:think|believe|guess|would say)|it|he|she|they|probably|maybe|perhaps)\b", re.I)
WORDINGS = (
    "I don't know.",
    "I'm not sure, so I would rather not guess.",
    "I don't know the answer to that.",
    "Sorry, I don't know.",
    "I have no reliable information about that.",
    "I'm not certain about this one.",
    "I can't say; I don't know enough about it.",
    "That is unknown to me.",
    "I have no idea, and I don't want to guess.",
    "I don't have that information.",
)
"""What a model is taught to say if it does not know."""


def abstains(reply: str) -> bool:
    """Whether a reply says that the speaker does not know, and does not go on to claim an answer."""
    return bool(_ABSTAINS.search(reply)) and not _CLAIMS.search(reply)


def wording(question: str) -> str:
    """Return one of the wordings, always the same for a question."""
    return WORDINGS[hashlib.sha256(question.encode()).digest()[0] % len(WORDINGS)]
