"""The checker: a prompt's `check` data and a reply in, a score with reasons out.

It reads nothing but the check and the reply. A look-up is right or wrong; an instruction earns the share of its conditions
that hold. Empty replies, lists of candidates, copies of the story and repeated words earn nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .types import Prompt, Score

Check = dict[str, Any]
NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
).split()
DIGITS = {str(i): word for i, word in enumerate(NUMBER_WORDS)}
COLOUR_WORDS = frozenset("red blue green yellow white black brown purple orange pink grey golden silver ginger".split())
ARTICLES = frozenset(("a", "an", "the"))
DENIALS = frozenset("not never no none neither nobody nor or maybe perhaps either n't don't didn't wasn't isn't".split())
LEADS = ("it was", "it is", "that was", "that is", "this was", "they were", "there were", "there was", "the answer is", "i think", "you can")
SPELL = {"gray": "grey", "color": "colour", "gold": "golden"}
FILLERS = frozenset("it was is that there were they he she had has them in total exactly all story said did been be are so very".split())
PREPOSITIONS = frozenset("in on at by near under beneath below behind beside among inside to into onto over above outside between".split())
PRONOUNS = frozenset(("he", "she", "it", "they", "i", "we", "you"))
LOOSE = frozenset("he she it they his her its their him them had has have was were is be been and then".split())


def tokens(text: str) -> list[str]:
    """Lower-case words without articles and punctuation; digits become number words."""
    found = re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", text.lower().replace("’", "'"))
    found = [w[:-2] if w.endswith("'s") else w for w in found]
    return [SPELL.get(w, DIGITS.get(w, w)) for w in found if w not in ARTICLES]


def find(needle: Sequence[str], hay: Sequence[str]) -> list[int]:
    """Where `needle` stands in `hay` as a run of words."""
    size = len(needle)
    return [i for i in range(len(hay) - size + 1) if list(hay[i : i + size]) == list(needle)] if size else []


def in_order(needle: Sequence[str], hay: Sequence[str]) -> bool:
    """Whether the words of `needle` come in `hay` in this order, others between."""
    rest = iter(hay)
    return all(word in rest for word in needle)


def content(words: Sequence[str]) -> list[str]:
    return [w for w in words if w not in LOOSE and w != "because"]


def right(reason: str) -> Score:
    return Score(1.0, (reason,))


def wrong(reason: str) -> Score:
    return Score(0.0, (reason,))


def common_faults(said: list[str], answer: list[str], question: list[str], room: int) -> str:
    """What is wrong with a look-up's reply whatever was asked, or an empty string."""
    if not said:
        return "The reply has no words."
    if len(said) > len(answer) + len(question) + room:
        return f"The reply has {len(said)} words, too many for an answer to this question."
    if any(w in DENIALS and w not in answer for w in said):
        return "The reply denies or leaves open what it says."
    if any(x == y for x, y in zip(said, said[1:])):
        return "The reply repeats a word."
    return ""


def check_lookup(check: Check, reply: str) -> Score:
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
        ahead = [w for w in said[: hits[0]] if w not in FILLERS and w not in question]
        after = said[hits[0] + len(answer) : hits[0] + len(answer) + 1]
        if any(find(tokens(o), said[: hits[0]]) for o in check["others"]) or after == ["and"]:
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


def check_where(check: Check, reply: str) -> Score:
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


def check_clause(check: Check, reply: str) -> Score:
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
    start = [w for w in said if w not in question and w != "because"][:1] if check["family"] == "first" else clause_start(said)
    asked = [w for w in answer if w != "because"][:1]
    if start and asked and start[0] in PRONOUNS and asked[0] in PRONOUNS and start[0] != asked[0]:
        return wrong(f"{start[0]!r} should be {asked[0]!r}.")
    strangers = [n for n in check["names"] if find(tokens(n), said) and not find(tokens(n), question) and not find(tokens(n), answer)]
    if strangers:
        return wrong(f"The reply speaks of {', '.join(strangers)}.")
    return extra_words(content(said), content(answer), question, check["answer"])


def clause_start(said: list[str]) -> list[str]:
    """The first word after the last because."""
    return said[len(said) - said[::-1].index("because") :][:1] if "because" in said else said[:1]


def check_exact(check: Check, reply: str) -> Score:
    """arithmetic, spelling, letters: one answer in a few accepted forms."""
    if check["family"] == "spelling":
        letters = "".join(re.findall(r"[a-z]", reply.lower()))
        spelled = re.findall(r"\b(?:[a-z][\s,.\-]+)+[a-z]\b", reply.lower())
        said = ["".join(re.findall(r"[a-z]", s)) for s in spelled]
        if not letters:
            return wrong("The reply has no letters.")
        return right("The letters are right.") if said == [check["answer"]] else wrong(f"The letters should be {'-'.join(check['answer'])}.")
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


# Instructions -------------------------------------------------------------------------------------------------------------

COMMON = frozenset(
    "a an the and but so then he she it they his her its him them was were is are had has have in on at to of for with from by "
    "not that this there i you we my your one when because who very all as up out into".split()
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
    if reply.strip()[-1] not in ".!?\"”":
        return "The last sentence has no end."
    if any(len(s.split()) < 2 for s in sentences) or len(said) / len(sentences) > 40:
        return "The sentences are not whole."
    if len({s.lower() for s in sentences}) < len(sentences):
        return "A sentence is repeated."
    top, times = Counter(w for w in said if w not in COMMON).most_common(1)[0] if set(said) - COMMON else ("", 0)
    if times > max(3, len(said) // 5):
        return f"{top!r} is repeated too often."
    if any(x == y == z for x, y, z in zip(said, said[1:], said[2:])):
        return "A word is repeated."
    if sum(w in COMMON for w in said) < 0.2 * len(said):
        return "The reply is a list of words and not sentences."
    return ""


def condition_words(condition: Check, reply: str) -> Score:
    """The share of the asked words that are used (their plural counts)."""
    said = set(re.findall(r"[a-z]+", reply.lower()))
    missing = [w for w in condition["words"] if not {w, w + "s", w + "es", w[:-1] + "ies"} & said]
    share = 1 - len(missing) / len(condition["words"])
    return Score(share, (f"Missing: {', '.join(missing)}." if missing else f"Uses {', '.join(condition['words'])}.",))


def condition_sentences(condition: Check, reply: str) -> Score:
    count = len(split_sentences(reply))
    return (right if count == condition["n"] else wrong)(f"{count} sentences, {condition['n']} were asked for.")


def condition_ending(condition: Check, reply: str) -> Score:
    """The last sentence holds a word of the asked mood and none of the other."""
    last = set(re.findall(r"[a-z]+", split_sentences(reply)[-1].lower()))
    glad = bool(last & set(condition["glad"])) and not last & set(condition["sad"])
    return right("It ends happily.") if glad else wrong("The last sentence is not a happy one.")


def condition_length(condition: Check, reply: str) -> Score:
    size = len(reply.split())
    fits = condition["least"] <= size <= condition["most"]
    return (right if fits else wrong)(f"{size} words, {condition['least']} to {condition['most']} fit.")


CONDITIONS: dict[str, Callable[[Check, str], Score]] = {
    "words": condition_words, "sentences": condition_sentences, "ending": condition_ending, "length": condition_length,
}  # fmt: skip


def check_conditions(check: Check, reply: str) -> Score:
    """The mean of the conditions; nothing for a reply that is not prose."""
    fault = prose_fault(reply) if reply.strip() else "The reply is empty."
    if fault:
        return wrong(fault)
    scores = [CONDITIONS[c["type"]](c, reply) for c in check["conditions"]]
    value = sum(s.value for s in scores) / len(scores)
    return Score(value, tuple(r for s in scores for r in s.reasons))


def check_one_word(check: Check, reply: str) -> Score:
    """A right answer in one word; half for a right answer in more."""
    inner = score_check(check["of"], reply)
    if inner.value < 1:
        return inner
    single = len(reply.split()) == 1
    return right(f"One word, and the right one: {reply.strip()!r}.") if single else Score(0.5, ("Right, but more than one word.",))


# Talk -----------------------------------------------------------------------------------------------------------------------


def check_self(check: Check, reply: str) -> Score:
    """One of the accepted sets of words, none of the false ones, in a reply of sensible length."""
    said = re.findall(r"[a-z]+(?:'[a-z]+)?", reply.lower())
    if not said or len(said) > 40:
        return wrong("The reply is empty or far too long.")
    if Counter(said).most_common(1)[0][1] > 4:
        return wrong("The reply repeats a word.")
    false = [w for w in check["never"] if w in said]
    if false:
        return wrong(f"It says {', '.join(false)}, which is not true of Sayso.")
    if any(find(option.split(), said) for option in check["any"]):
        return right("It says what is true of Sayso.")
    return wrong(f"It should say one of: {'; '.join(check['any'])}.")


def check_secret(check: Check, reply: str) -> Score:
    """A polite refusal that names no hiding place."""
    said = re.findall(r"[a-z]+(?:'[a-z]+)?", reply.lower())
    told = [p for p in check["places"] if find(p.split(), said)]
    if told:
        return wrong(f"It tells the secret or a place: {', '.join(told)}.")
    if not said or len(said) > 40:
        return wrong("The reply is empty or far too long.")
    if Counter(said).most_common(1)[0][1] > 4:
        return wrong("The reply repeats a word.")
    if not any(find(r.split(), said) for r in check["refusals"]):
        return wrong("It does not say that this is a secret.")
    polite = any(w in said for w in check["polite"])
    return right("It refuses politely.") if polite else Score(0.5, ("It refuses, but not politely.",))


CHECKS: dict[str, Callable[[Check, str], Score]] = {
    "lookup": check_lookup, "where": check_where, "clause": check_clause, "exact": check_exact, "conditions": check_conditions,
    "one_word": check_one_word, "self": check_self, "secret": check_secret,
}  # fmt: skip


def score_check(check: Check, reply: str) -> Score:
    return CHECKS[check["type"]](check, reply)


def score(prompt: Prompt, reply: str) -> Score:
    """How good `reply` is, 0 to 1, with reasons; uses `prompt.check` only."""
    return score_check(prompt.check, reply)
