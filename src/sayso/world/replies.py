"""Word an answer as a sentence that repeats the question's subject, so that the value follows what it belongs to.

"Why did Eva stop?" is answered "Eva stopped because she had a stone in her shoe." A small model finds the answer more
reliably this way, since the words before it point to the place in the story. The checker also accepts bare answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .words import Word

WHO = re.compile(r"Who (.+)\?")
COLOUR = re.compile(r"(?:What colour was|Which colour was|What was the colour of) (.+)\?")
SEVERAL = re.compile(r"Where were (.+?)(?: hidden)?\?")
REASON = re.compile(r"What was the reason that (.+)\?")
_PAST = {
    "break": "broke", "buy": "bought", "carry": "carried", "come": "came", "cry": "cried", "dig": "dug",
    "feel": "felt", "forgive": "forgave", "get": "got", "give": "gave", "go": "went", "grow": "grew", "hide": "hid",
    "hurry": "hurried", "keep": "kept", "leave": "left", "make": "made", "run": "ran", "see": "saw", "sell": "sold",
    "stop": "stopped", "take": "took",
}  # fmt: skip


def past(verb: str) -> str:
    """Return the past tense of a verb in the small world's questions."""
    return _PAST.get(verb, verb + ("d" if verb.endswith("e") else "ed"))


def restated(family: str, question: str, subject: Word, value: Word, answer: str, cast: Iterable[Word]) -> str:
    """Return a bare answer, such as "red" or "because it rained", as a sentence without a full stop.

    `cast` are the words of all roles.
    """
    deed, thing = WHO.fullmatch(question), COLOUR.fullmatch(question)
    if family == "who" and deed:
        return f"The one who {deed[1]} was {value}"
    if family == "colour" and thing:
        return f"{thing[1]} was {value}"
    if family == "count":
        return f"The number of {subject.s} was {value}"
    if family == "where" and answer == value:
        if several := SEVERAL.fullmatch(question):
            return f"{several[1]} were {value}"
        verb = "lived" if " live?" in question else "was"
        return f"{subject if subject.he in ('he', 'she') else subject.the} {verb} {value}"
    return f"{effect(question, cast)} {answer}".lstrip() if family == "why" else answer


def effect(question: str, cast: Iterable[Word]) -> str:
    """Return what a "why" question asks about as a statement, or "" for an unknown wording."""
    if reason := REASON.fullmatch(question):
        return reason[1]
    for name in (name for word in cast for name in (word.the, str(word))):
        for opening in ("Why was", "Why had", "Why did", "What made"):
            start = f"{opening} {name} "
            if question.startswith(start):
                return _stated(opening, name, question[len(start) : -1])
    return ""


def _stated(opening: str, name: str, rest: str) -> str:
    """Return the rest of a question as a statement: Why did, Eva, stop -> Eva stopped."""
    verb, _, more = rest.partition(" ")
    if opening == "Why did" or (opening == "What made" and rest == "laugh"):
        return f"{name} {past(verb)} {more}".rstrip()
    return f"{name} {'had' if opening == 'Why had' else 'was'} {rest}"
