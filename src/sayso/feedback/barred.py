"""What must not be trained on: held-out evaluation cases, evaluation texts, and confirmed misbehaviour.

Takes rows of training data, tells which of them are barred and why. Every second case, by its digest, is held out: no
row with its question is trained on, so that the gate sees whether a fix works beyond the replies that were corrected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sayso.feedback.cases import Case
from sayso.judge.answers.text import normalized
from sayso.text.clean import clean
from sayso.text.decontaminate import ngram_sets, overlaps, union
from sayso.text.ngrams import Hashes, word_hashes

NGRAM = 13  # words of an evaluation text that a row must not contain, as `sayso prepare` has it
Turns = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Barred:
    """What is barred; by default nothing."""

    questions: frozenset[str] = frozenset()
    """The user's turns of held-out cases, normalized."""
    ngrams: Mapping[int, Hashes] = field(default_factory=dict)
    bad: frozenset[tuple[str, str]] = frozenset()
    """The user's turns and the reply of confirmed misbehaviour, normalized."""

    def reason(self, prompt: Turns, good: str | None, others: Iterable[str] = ()) -> str | None:
        """Return why a row must not be trained on; None if it may be.

        `good` is the reply that would be learned, if any, and `others` are further replies in the row.
        """
        asked = question(prompt)
        if asked in self.questions:
            return "held-out evaluation case"
        if good is not None and (asked, normalized(good)) in self.bad:
            return "confirmed misbehaviour"
        texts = [*(str(turn["content"]) for turn in prompt if turn["role"] != "system"), *others]
        texts += [good] if good is not None else []
        if any(overlaps(word_hashes(clean(text)), dict(self.ngrams)) for text in texts if self.ngrams):
            return "evaluation text"
        return None


def barred(cases: Sequence[Case], texts: Iterable[str] = ()) -> Barred:
    """Return what the cases of a store and evaluation texts bar."""
    held_out = [case for case in cases if case.held_out]
    questions = frozenset(question(case.prompt) for case in held_out)
    last = [[turn["content"] for turn in case.prompt if turn["role"] == "user"][-1:] for case in held_out]
    sets = [ngram_sets((text for one in last for text in one), NGRAM), ngram_sets(texts, NGRAM)]
    bad = frozenset((question(case.prompt), normalized(case.reply)) for case in cases)
    return Barred(questions, union(sets), bad)


def question(prompt: Turns) -> str:
    """Return the user's turns of a prompt in one text, without case, punctuation, articles and extra whitespace."""
    return "\n".join(normalized(str(turn["content"])) for turn in prompt if turn["role"] == "user")
