"""Scoring short answers against references: exact match and F1 over words, as in SQuAD.

Case, punctuation, articles and extra whitespace do not count (Rajpurkar et al. 2016, arXiv 1606.05250); of several
correct answers the closest counts.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable

ARTICLE = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Return a text in lower case without punctuation, articles and extra whitespace."""
    return " ".join(ARTICLE.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(given: str, right: Iterable[str]) -> float:
    """Return 1 if the answer matches one of the references, else 0."""
    return _nearest(given, right, lambda one, other: float(one == other))


def f1(given: str, right: Iterable[str]) -> float:
    """Return the harmonic mean of precision and recall of the answer's words, counted with multiplicity."""
    return _nearest(given, right, _overlap)


def _nearest(given: str, right: Iterable[str], score: Callable[[str, str], float]) -> float:
    said = normalised(given)
    return max(score(said, normalised(one)) for one in right)


def _overlap(given: str, right: str) -> float:
    said, wanted = given.split(), right.split()
    if not said or not wanted:
        return float(said == wanted)
    both = sum((Counter(said) & Counter(wanted)).values())
    return 2 * both / (len(said) + len(wanted))
