"""Checks of short answers: takes a check's data and a reply, returns a score with reasons.

A look-up is right or wrong. Case, articles, digits and a short sentence around the answer do not matter; a second
candidate, a negation, a repeated word or much unrelated text does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .types import Score

LookupCheck = dict[str, Any]
COUNTING = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
    """
NUMBER_WORDS = tuple(COUNTING.split())
_DIGITS = {str(i): word for i, word in enumerate(NUMBER_WORDS)}
SPELL = {"gray": "grey", "color": "colour", "gold": "golden"}


def some(text: str) -> frozenset[str]:
    """A set of words."""
    return frozenset(text.split())


COLOUR_WORDS = some("red blue green yellow white black brown purple orange pink grey golden silver ginger")
ARTICLES = some("a an the")
DENIALS = some(
    "not never no none neither nobody nor or maybe perhaps either don't didn't wasn't isn't weren't aren't can't"
)
FILLERS = some(
    "it was is that there were they he she had has them in total exactly all story said did been be are so very"
)
PREPOSITIONS = some(
    "in on at by near under beneath below behind beside among inside to into onto over above outside between"
)
PRONOUNS = some("he she it they i we you")
LOOSE = some("he she it they his her its him them had has have was were is be been and then")


def tokens(text: str) -> list[str]:
    """Lower-case words without articles and punctuation; digits become number words."""
    found = re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", text.lower().replace("’", "'"))
    found = [w[:-2] if w.endswith("'s") else w for w in found]
    return [SPELL.get(w, _DIGITS.get(w, w)) for w in found if w not in ARTICLES]


def find(needle: Sequence[str], hay: Sequence[str]) -> list[int]:
    """Where `needle` stands in `hay` as a run of words."""
    size = len(needle)
    return [i for i in range(len(hay) - size + 1) if list(hay[i : i + size]) == list(needle)] if size else []


def in_order(needle: Sequence[str], hay: Sequence[str]) -> bool:
    """Whether the words of `needle` come in `hay` in this order, others between."""
    rest = iter(hay)
    return all(word in rest for word in needle)


def content(words: Sequence[str]) -> list[str]:
    """The words that carry a clause's meaning."""
    return [w for w in words if w not in LOOSE and w != "because"]


def right(reason: str) -> Score:
    """Full marks."""
    return Score(1.0, (reason,))


def wrong(reason: str) -> Score:
    """None."""
    return Score(0.0, (reason,))


def common_faults(said: list[str], answer: list[str], question: list[str], room: int) -> str:
    """What is wrong with a look-up's reply whatever was asked, or an empty string."""
    if not said:
        return "The reply has no words."
    if len(said) > len(answer) + len(question) + room:
        return f"The reply has {len(said)} words, too many for an answer to this question."
    if any(w in DENIALS and w not in answer for w in said):
        return "The reply denies or leaves open what it says."
    if any(x == y for x, y in pairwise(said)):
        return "The reply repeats a word."
    return ""


def check_lookup(check: LookupCheck, reply: str) -> Score:
    """who, colour, count: the answer must be there, and no other candidate."""
    said, answer, question = tokens(reply), tokens(check["answer"]), tokens(check["question"])
    fault = common_faults(said, answer, question, 4)
    if fault:
        return wrong(fault)
    hits = find(answer, said)
    if not hits:
        return wrong(f"The answer is {check['answer']!r}; the reply does not say it.")
    rivals = {"colour": COLOUR_WORDS, "count": frozenset(NUMBER_WORDS)}.get(check["family"])
    if rivals is not None:
        listed = [w for w in said if w in rivals and w not in answer and w not in question]
    else:
        listed = [o for o in check["others"] if find(tokens(o), said) and not find(tokens(o), question)]
        ahead = [w for w in said[: hits[0]] if w not in FILLERS and w not in question and w != "one"]
        after = said[hits[0] + len(answer) : hits[0] + len(answer) + 1]
        echoed = question if said[:2] == ["one", "who"] else []  # "the one who saw the fox was Tom" names the fox first
        rivals_before = [o for o in check["others"] if find(tokens(o), said[: hits[0]]) and not find(tokens(o), echoed)]
        if echoed and said[-len(answer) :] != answer:
            return wrong(f"The answer is {check['answer']!r}; the reply ends otherwise.")
        if rivals_before or after == ["and"]:
            return wrong("The reply names somebody else as well.")
        if ahead:
            return wrong(f"The reply begins with {' '.join(ahead)!r} and not with the answer.")
    if listed:
        return wrong(f"The reply also names {', '.join(map(str, listed))}.")
    return extra_words(said, answer, question, check["answer"])


def extra_words(said: list[str], answer: list[str], question: list[str], shown: str, limit: int = 3) -> Score:
    """Right, unless too much of the reply is neither answer nor question."""
    extra = [w for w in said if w not in answer and w not in question and w not in FILLERS]
    if len(extra) > limit:
        return wrong(f"The reply says much that was not asked: {' '.join(extra)!r}.")
    if len(find(answer, said)) > 2:
        return wrong("The reply repeats the answer.")
    return right(f"The reply says {shown!r}.")


def check_where(check: LookupCheck, reply: str) -> Score:
    """A place: its noun after a fitting preposition or none, and no other place of the story."""
    said, answer, question = tokens(reply), tokens(check["answer"]), tokens(check["question"])
    fault = common_faults(said, answer, question, 4)
    if fault:
        return wrong(fault)
    noun = tokens(check["noun"])
    hits = find(noun, said)
    if not hits:
        return wrong(f"The answer is {check['answer']!r}; the reply does not say it.")
    before = said[hits[0] - 1] if hits[0] else ""
    if before in PREPOSITIONS and before not in check["prepositions"]:
        return wrong(f"{before!r} is not where it was: {check['answer']!r}.")
    listed = [o for o in check["others"] if find(tokens(o), said) and not find(tokens(o), question)]
    if listed:
        return wrong(f"The reply also names {', '.join(listed)}.")
    return extra_words(said, answer, question, check["answer"])


def check_clause(check: LookupCheck, reply: str) -> Score:
    """why, first: the content words of the clause in their order, of the right person, and no other clause."""
    said, answer, question = tokens(reply), tokens(check["answer"]), tokens(check["question"])
    fault = common_faults(said, answer, question, 4)
    if fault:
        return wrong(fault)
    if not in_order(content(answer), content(said)):
        return wrong(f"The answer is {check['answer']!r}; the reply does not say it.")
    for other in check["others"]:
        own = [w for w in content(tokens(other)) if w not in answer and w not in question]
        if own and in_order(own, said):
            return wrong(f"The reply also says {other!r}.")
    start = (
        [w for w in said if w not in question and w != "because"][:1]
        if check["family"] == "first"
        else clause_start(said)
    )
    asked = [w for w in answer if w != "because"][:1]
    if start and asked and start[0] in PRONOUNS and asked[0] in PRONOUNS and start[0] != asked[0]:
        return wrong(f"{start[0]!r} should be {asked[0]!r}.")
    strangers = [
        n
        for n in check["names"]
        if find(tokens(n), said) and not find(tokens(n), question) and not find(tokens(n), answer)
    ]
    if strangers:
        return wrong(f"The reply speaks of {', '.join(strangers)}.")
    return extra_words(content(said), content(answer), question, check["answer"])


def clause_start(said: list[str]) -> list[str]:
    """The first word after the last because."""
    return said[len(said) - said[::-1].index("because") :][:1] if "because" in said else said[:1]


def check_exact(check: LookupCheck, reply: str) -> Score:
    """arithmetic, spelling, letters: one answer in a few accepted forms."""
    if check["family"] == "spelling":
        letters = "".join(re.findall(r"[a-z]", reply.lower()))
        spelled = re.findall(r"\b(?:[a-z][\s,.\-]+)+[a-z]\b", reply.lower())
        said = ["".join(re.findall(r"[a-z]", s)) for s in spelled]
        if not letters:
            return wrong("The reply has no letters.")
        return (
            right("The letters are right.")
            if said == [check["answer"]]
            else wrong(f"The letters should be {'-'.join(check['answer'])}.")
        )
    if len(check["answer"]) == 1 and check["answer"].isalpha():
        return check_letter(check["answer"], reply)
    said, question = tokens(reply), tokens(check["question"])
    answer = tokens(check["answer"])
    fault = common_faults(said, answer, question, 4)
    if fault:
        return wrong(fault)
    listed = [w for w in said if (w in NUMBER_WORDS or w.isdigit()) and w not in question and w not in answer]
    if listed or not find(answer, said) or said[-len(answer) :] != answer:
        return wrong(f"The answer is {check['answer']!r}.")
    return extra_words(said, answer, question, check["answer"], limit=4)


def check_letter(letter: str, reply: str) -> Score:
    """A single letter, alone or at the end of a short sentence."""
    single = [w for w in re.findall(r"[a-z]+", reply.lower().replace("'s", "")) if len(w) == 1]
    if len(reply.split()) > 10 or single[-1:] != [letter] or len({*single} - {"a", "i"} - {letter}) > 0:
        return wrong(f"The letter is {letter!r}.")
    return right(f"The reply says {letter!r}.")
