"""Scores of short answers against references: exact match and F1 over words, as SQuAD and CoQA define them.

Case, punctuation, articles and extra whitespace are ignored. The data sets differ in what an empty answer and several
references mean, so each has its own function.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sayso.base.errors import UserError

ARTICLE = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class TextScore:
    """Both scores of one answer, each from 0 to 1."""

    exact_match: float
    f1: float


def normalized(text: str) -> str:
    """Return a text in lower case without ASCII punctuation, English articles and extra whitespace."""
    return " ".join(ARTICLE.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, references: Iterable[str]) -> float:
    """Return 1 if the answer matches one of the references, else 0.

    Raises `UserError` without references.
    """
    return _best(answer, references, _same)


def f1(answer: str, references: Iterable[str]) -> float:
    """Return the harmonic mean of precision and recall of the answer's words, for the closest reference.

    Words count with multiplicity. Two texts without words have F1 1, one has 0. Raises `UserError` without references.
    """
    return _best(answer, references, _overlap)


def squad1(answer: str, references: Sequence[str]) -> TextScore:
    """Score an answer as SQuAD 1.1 does (Rajpurkar et al. 2016, arXiv 1606.05250): each score's best reference counts.

    F1 is 0 where no word is shared, even between two texts without words, which match exactly.
    """
    shared = f1(answer, references) if normalized(answer) else 0.0
    return TextScore(exact_match(answer, references), shared)


def squad2(answer: str, references: Sequence[str]) -> TextScore:
    """Score an answer as SQuAD 2.0 does (Rajpurkar et al. 2018, arXiv 1806.03822).

    A question without references has no answer: an empty reply scores 1, any other 0. References without words, such as
    an article alone, do not count.
    """
    right = [one for one in references if normalized(one)] or [""]
    return TextScore(exact_match(answer, right), f1(answer, right))


def coqa(answer: str, references: Sequence[str]) -> TextScore:
    """Score an answer as CoQA does (Reddy et al. 2019, arXiv 1808.07042), which compares models and people fairly.

    A person's answer can be compared only with those of the others. So of several references, each is left out once,
    the best of the rest counts, and the mean over these is the score.
    """
    if len(references) < 2:
        return TextScore(exact_match(answer, references), f1(answer, references))
    rest = [[*references[:i], *references[i + 1 :]] for i in range(len(references))]
    return TextScore(
        sum(exact_match(answer, them) for them in rest) / len(rest), sum(f1(answer, them) for them in rest) / len(rest)
    )


def _best(answer: str, references: Iterable[str], score: Callable[[str, str], float]) -> float:
    ours = normalized(answer)
    scores = [score(ours, normalized(one)) for one in references]
    if not scores:
        raise UserError("An answer is scored against one reference or more; the list is empty: give references.")
    return max(scores)


def _same(answer: str, reference: str) -> float:
    return float(answer == reference)


def _overlap(answer: str, reference: str) -> float:
    ours, theirs = answer.split(), reference.split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))
