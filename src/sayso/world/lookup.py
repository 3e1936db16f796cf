"""Check short answers: takes a check's data and a reply, returns a score with reasons.

An answer is right or wrong. Case, articles, digits and a short sentence around it do not matter; a second candidate, a
negation, a repeated word or much unrelated text does.
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


def word_set(text: str) -> frozenset[str]:
    """Return the set of words in a text."""
    return frozenset(text.split())


COLOUR_WORDS = word_set("red blue green yellow white black brown purple orange pink grey golden silver ginger")
ARTICLES = word_set("a an the")
NEGATIONS = word_set(
    "not never no none neither nobody nor or maybe perhaps either don't didn't wasn't isn't weren't aren't can't"
)
FILLERS = word_set(
    "it was is that there were they he she had has them in total exactly all story said did been be are so very"
)
PREPOSITIONS = word_set(
    "in on at by near under beneath below behind beside among inside to into onto over above outside between"
)
PRONOUNS = word_set("he she it they i we you")
LOOSE = word_set("he she it they his her its him them had has have was were is be been and then")


def tokens(text: str) -> list[str]:
    """Return the lower-case words of a text without articles and punctuation; digits become number words."""
    found = re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", text.lower().replace("’", "'"))
    found = [w[:-2] if w.endswith("'s") else w for w in found]
    return [SPELL.get(w, _DIGITS.get(w, w)) for w in found if w not in ARTICLES]


def find(needle: Sequence[str], hay: Sequence[str]) -> list[int]:
    """Return the positions at which the words of `needle` occur consecutively in `hay`."""
    size = len(needle)
    return [i for i in range(len(hay) - size + 1) if list(hay[i : i + size]) == list(needle)] if size else []


def in_order(needle: Sequence[str], hay: Sequence[str]) -> bool:
    """Whether the words of `needle` occur in `hay` in this order, possibly with others between."""
    rest = iter(hay)
    return all(word in rest for word in needle)


def content(words: Sequence[str]) -> list[str]:
    """Return the words that carry a clause's meaning."""
    return [w for w in words if w not in LOOSE and w != "because"]


def right(reason: str) -> Score:
    """Return the score 1."""
    return Score(1.0, (reason,))


def wrong(reason: str) -> Score:
    """Return the score 0."""
    return Score(0.0, (reason,))


def common_faults(words: list[str], answer: list[str], question: list[str], room: int) -> str:
    """Return what is wrong with a reply whatever the question, or ""."""
    if not words:
        return "The reply has no words."
    if len(words) > len(answer) + len(question) + room:
        return f"The reply has {len(words)} words, too many for this question."
    if any(w in NEGATIONS and w not in answer for w in words):
        return "The reply contains a negation or an alternative."
    if any(x == y for x, y in pairwise(words)):
        return "The reply repeats a word."
    return ""


def check_lookup(check: LookupCheck, reply: str) -> Score:
    """Check an answer to who, colour or count: it must be in the reply, and no other candidate."""
    words, answer, question = tokens(reply), tokens(check["answer"]), tokens(check["question"])
    fault = common_faults(words, answer, question, 4)
    if fault:
        return wrong(fault)
    hits = find(answer, words)
    if not hits:
        return wrong(f"The answer is {check['answer']!r}; the reply does not say it.")
    rivals = {"colour": COLOUR_WORDS, "count": frozenset(NUMBER_WORDS)}.get(check["family"])
    if rivals is not None:
        listed = [w for w in words if w in rivals and w not in answer and w not in question]
    else:
        listed = [o for o in check["others"] if find(tokens(o), words) and not find(tokens(o), question)]
        ahead = [w for w in words[: hits[0]] if w not in FILLERS and w not in question and w != "one"]
        after = words[hits[0] + len(answer) : hits[0] + len(answer) + 1]
        echoed = (
            question if words[:2] == ["one", "who"] else []
        )  # "the one who saw the fox was Tom" names the fox first
        rivals_before = [
            o for o in check["others"] if find(tokens(o), words[: hits[0]]) and not find(tokens(o), echoed)
        ]
        if echoed and words[-len(answer) :] != answer:
            return wrong(f"The answer is {check['answer']!r}; the reply ends differently.")
        if rivals_before or after == ["and"]:
            return wrong("The reply also names somebody else.")
        if ahead:
            return wrong(f"The reply begins with {' '.join(ahead)!r} instead of the answer.")
    if listed:
        return wrong(f"The reply also names {', '.join(map(str, listed))}.")
    return extra_words(words, answer, question, check["answer"])


def extra_words(words: list[str], answer: list[str], question: list[str], shown: str, limit: int = 3) -> Score:
    """Return 1, unless too much of the reply is neither answer nor question."""
    extra = [w for w in words if w not in answer and w not in question and w not in FILLERS]
    if len(extra) > limit:
        return wrong(f"The reply has too many other words: {' '.join(extra)!r}.")
    if len(find(answer, words)) > 2:
        return wrong("The reply repeats the answer.")
    return right(f"The reply says {shown!r}.")


def check_where(check: LookupCheck, reply: str) -> Score:
    """Check an answer to where: the place's noun, after a fitting preposition or none, and no other place."""
    words, answer, question = tokens(reply), tokens(check["answer"]), tokens(check["question"])
    fault = common_faults(words, answer, question, 4)
    if fault:
        return wrong(fault)
    noun = tokens(check["noun"])
    hits = find(noun, words)
    if not hits:
        return wrong(f"The answer is {check['answer']!r}; the reply does not say it.")
    before = words[hits[0] - 1] if hits[0] else ""
    if before in PREPOSITIONS and before not in check["prepositions"]:
        return wrong(f"The preposition {before!r} is wrong; the answer is {check['answer']!r}.")
    listed = [o for o in check["others"] if find(tokens(o), words) and not find(tokens(o), question)]
    if listed:
        return wrong(f"The reply also names {', '.join(listed)}.")
    return extra_words(words, answer, question, check["answer"])


def check_clause(check: LookupCheck, reply: str) -> Score:
    """Check an answer to why or first: the clause's content words in order, the right person, no other clause."""
    words, answer, question = tokens(reply), tokens(check["answer"]), tokens(check["question"])
    fault = common_faults(words, answer, question, 4)
    if fault:
        return wrong(fault)
    if not in_order(content(answer), content(words)):
        return wrong(f"The answer is {check['answer']!r}; the reply does not say it.")
    for other in check["others"]:
        own = [w for w in content(tokens(other)) if w not in answer and w not in question]
        if own and in_order(own, words):
            return wrong(f"The reply also says {other!r}.")
    start = (
        [w for w in words if w not in question and w != "because"][:1]
        if check["family"] == "first"
        else clause_start(words)
    )
    asked = [w for w in answer if w != "because"][:1]
    if start and asked and start[0] in PRONOUNS and asked[0] in PRONOUNS and start[0] != asked[0]:
        return wrong(f"{start[0]!r} should be {asked[0]!r}.")
    strangers = [
        n
        for n in check["names"]
        if find(tokens(n), words) and not find(tokens(n), question) and not find(tokens(n), answer)
    ]
    if strangers:
        return wrong(f"The reply mentions {', '.join(strangers)}.")
    return extra_words(content(words), content(answer), question, check["answer"])


def clause_start(words: list[str]) -> list[str]:
    """Return the first word after the last "because"."""
    return words[len(words) - words[::-1].index("because") :][:1] if "because" in words else words[:1]


def check_exact(check: LookupCheck, reply: str) -> Score:
    """Check an answer to arithmetic, spelling or letters: one answer in a few accepted forms."""
    if check["family"] == "spelling":
        letters = "".join(re.findall(r"[a-z]", reply.lower()))
        spelled = re.findall(r"\b(?:[a-z][\s,.\-]+)+[a-z]\b", reply.lower())
        words = ["".join(re.findall(r"[a-z]", s)) for s in spelled]
        if not letters:
            return wrong("The reply has no letters.")
        return (
            right("The letters are right.")
            if words == [check["answer"]]
            else wrong(f"The letters should be {'-'.join(check['answer'])}.")
        )
    if len(check["answer"]) == 1 and check["answer"].isalpha():
        return check_letter(check["answer"], reply)
    words, question = tokens(reply), tokens(check["question"])
    answer = tokens(check["answer"])
    fault = common_faults(words, answer, question, 4)
    if fault:
        return wrong(fault)
    listed = [w for w in words if (w in NUMBER_WORDS or w.isdigit()) and w not in question and w not in answer]
    if listed or not find(answer, words) or words[-len(answer) :] != answer:
        return wrong(f"The answer is {check['answer']!r}.")
    return extra_words(words, answer, question, check["answer"], limit=4)


def check_letter(letter: str, reply: str) -> Score:
    """Check a single letter, alone or at the end of a short sentence."""
    single = [w for w in re.findall(r"[a-z]+", reply.lower().replace("'s", "")) if len(w) == 1]
    if len(reply.split()) > 10 or single[-1:] != [letter] or len({*single} - {"a", "i"} - {letter}) > 0:
        return wrong(f"The letter is {letter!r}.")
    return right(f"The reply says {letter!r}.")
