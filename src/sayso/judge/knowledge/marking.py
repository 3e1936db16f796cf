"""Mark replies to questions about facts: right, wrong or abstained; and sort replies by what they claim.

Only the first sentence counts, and it must contain an answer as whole words. Numbers and nationalities are judged by
the first one named, so that a reply that lists several is not right by chance.
"""

import math
import re
from collections.abc import Sequence
from typing import Literal

from sayso.judge.answers.text import f1, normalized
from sayso.judge.knowledge.abstain import abstains
from sayso.judge.knowledge.facts import Fact, first_sentence
from sayso.judge.knowledge.names import NATIONS

Mark = Literal["right", "wrong", "abstained"]
MARKS: tuple[Mark, ...] = ("right", "wrong", "abstained")
_SAME = 0.5
"""F1 of the words from which on two replies claim the same."""
_FILLERS = frozenset(
    normalized("is was are were be it its in of on for to and that this which who he she they").split()
)
_NATIONS = {word.lower() for pair in NATIONS.items() for word in (pair[0], pair[1].removeprefix("the "))}


def mark(fact: Fact, reply: str) -> Mark:
    """Return the mark of a reply; one to a question without an answer is wrong unless it abstains."""
    if abstains(reply):
        return "abstained"
    if not fact.answers:
        return "wrong"
    claim = plain(first_sentence(reply))
    if fact.kind in ("year", "number"):
        numbers = re.findall(r"\d+", claim)
        found = [one for one in numbers if fact.kind == "number" or len(one) == 4]
        return "right" if found[:1] == list(fact.answers[:1]) else "wrong"
    if fact.kind == "nationality":
        named = sorted((place, one) for one in _NATIONS if (place := _place(one, claim)) >= 0)
        return "right" if named and named[0][1] in fact.answers else "wrong"
    return "right" if any(_place(plain(one), claim) >= 0 for one in fact.answers) else "wrong"


def claim_of(fact: Fact, reply: str) -> str | None:
    """Return what a reply claims: the words of its first sentence that are not the question's; None if it abstains."""
    if abstains(reply):
        return None
    words = plain(first_sentence(reply)).split()
    asked = {*plain(fact.question).split(), *plain(fact.cloze).split(), *_FILLERS}
    return " ".join(word for word in words if word not in asked) or " ".join(words)


def clusters(claims: Sequence[str | None]) -> list[int]:
    """Return the number of each claim's cluster, in order of first appearance; a claim joins the first that fits.

    Two claims are the same if their numbers are equal and their words have an F1 of at least 1/2 (SQuAD's).
    """
    heads: list[str | None] = []
    found = []
    for claim in claims:
        number = next((i for i, head in enumerate(heads) if _same(head, claim)), len(heads))
        if number == len(heads):
            heads.append(claim)
        found.append(number)
    return found


def semantic_entropy(numbers: Sequence[int]) -> float:
    """Return the entropy in nats of the shares of clusters (discrete semantic entropy; Farquhar et al. 2024)."""
    shares = [numbers.count(one) / len(numbers) for one in set(numbers)]
    return max(0.0, -sum(share * math.log(share) for share in shares))


def plain(text: str) -> str:
    """Return a text in lower case without punctuation and articles; a hyphen separates words."""
    return normalized(re.sub(r"[-–—/]", " ", text).replace("’", "'"))


def _same(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one is other
    return re.findall(r"\d+", one) == re.findall(r"\d+", other) and (one == other or f1(one, [other]) >= _SAME)


def _place(answer: str, claim: str) -> int:
    """Return where an answer begins in a claim, as whole words or their plural; -1 if it does not occur."""
    found = re.search(rf"\b{re.escape(answer)}(?:e?s)?\b", claim)
    return found.start() if found else -1
