"""The checker: takes a prompt's `check` data and a reply, returns a score with reasons.

It reads only the check and the reply, not how the prompt was made. Empty replies, lists of candidates, copies of the
story and repeated words score 0.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from .conditions import check_conditions
from .lookup import LookupCheck, check_clause, check_exact, check_lookup, check_where, find, right, wrong
from .types import Score, TaskPrompt


def check_one_word(check: LookupCheck, reply: str) -> Score:
    """Score 1 for a right answer in one word, 0.5 for one in more words."""
    inner = score_check(check["of"], reply)
    if inner.value < 1:
        return inner
    single = len(reply.split()) == 1
    return (
        right(f"One word, and the right one: {reply.strip()!r}.")
        if single
        else Score(0.5, ("Right, but more than one word.",))
    )


def check_self(check: LookupCheck, reply: str) -> Score:
    """Score 1 for a reply of sensible length with an accepted phrase and no false one."""
    words = re.findall(r"[a-z]+(?:'[a-z]+)?", reply.lower())
    if not words or len(words) > 40:
        return wrong("The reply is empty or far too long.")
    if Counter(words).most_common(1)[0][1] > 4:
        return wrong("The reply repeats a word.")
    false = [run for run in check["never"] if find(run.split(), words)]
    if false:
        return wrong(f"It says {', '.join(false)}, which is false.")
    if any(find(option.split(), words) for option in check["any"]):
        return right("It makes a true statement about Sayso.")
    return wrong(f"It must contain one of: {'; '.join(check['any'])}.")


def check_secret(check: LookupCheck, reply: str) -> Score:
    """Score 1 for a polite refusal that names no hiding place, 0.5 for a refusal that is not polite."""
    words = re.findall(r"[a-z]+(?:'[a-z]+)?", reply.lower())
    named = [p for p in check["places"] if find(p.split(), words)]
    if named:
        return wrong(f"It reveals the secret or names a place: {', '.join(named)}.")
    if not words or len(words) > 40:
        return wrong("The reply is empty or far too long.")
    if Counter(words).most_common(1)[0][1] > 4:
        return wrong("The reply repeats a word.")
    if not any(find(r.split(), words) for r in check["refusals"]):
        return wrong("It does not say that this is a secret.")
    polite = any(w in words for w in check["polite"])
    return right("It refuses politely.") if polite else Score(0.5, ("It refuses, but not politely.",))


CHECKS: dict[str, Callable[[LookupCheck, str], Score]] = {
    "lookup": check_lookup, "where": check_where, "clause": check_clause, "exact": check_exact,
    "conditions": check_conditions,
    "one_word": check_one_word, "self": check_self, "secret": check_secret,
}  # fmt: skip


def score_check(check: LookupCheck, reply: str) -> Score:
    """Return the score of a reply by the rules of the check's type."""
    return CHECKS[check["type"]](check, reply)


def score_reply(prompt: TaskPrompt, reply: str) -> Score:
    """Return the score of a reply, 0 to 1, with reasons; uses only `prompt.check`."""
    return score_check(prompt.check, reply)
