"""Scores of short answers against references: exact match and F1 over words, as in SQuAD.

Case, punctuation, articles and extra whitespace are ignored (Rajpurkar et al. 2016, arXiv 1606.05250); of several
references, the closest counts.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable

ARTICLE = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """Return a text in lower case without punctuation, articles and extra whitespace."""
    return " ".join(ARTICLE.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, references: Iterable[str]) -> float:
    """Return 1 if the answer matches one of the references, else 0."""
    return _best(answer, references, lambda one, other: float(one == other))


def f1(answer: str, references: Iterable[str]) -> float:
    """Return the harmonic mean of precision and recall of the answer's words, counted with multiplicity."""
    return _best(answer, references, _overlap)


def _best(answer: str, references: Iterable[str], score: Callable[[str, str], float]) -> float:
    answer = normalized(answer)
    return max(score(answer, normalized(one)) for one in references)


def _overlap(answer: str, reference: str) -> float:
    ours, theirs = answer.split(), reference.split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))
