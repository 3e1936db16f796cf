"""Which sentence of a document comes next? Questions made from held-out documents, to see what a model forgets.

Takes documents, returns multiple-choice items: up to three sentences, and four that could follow, all of the same
document and equally on its topic, of which the first in the document is right. A guess is right a quarter of the time.
"""

from collections.abc import Sequence

from sayso.judge.answers.sentence import sentences
from sayso.judge.held_out import rank
from sayso.judge.likelihood.continuations import Scorer
from sayso.judge.tasks.answer import answer_items
from sayso.judge.tasks.item import Choices, NumberedItem
from sayso.judge.tasks.task import Task

TASK = Task("next_sentence", "", delimiter=" ", metric="acc_norm", baseline=0.25)
BEFORE, OPTIONS = 3, 4  # maximum number of sentences given, and number of sentences to choose from
SHORTEST = 20  # characters; shorter pieces are headings, initials and the like


def next_sentence_items(texts: Sequence[str], most: int) -> list[NumberedItem]:
    """Return an item for each document with enough sentences, at most `most`, in the order of the documents."""
    found = (_item(text) for text in texts)
    items = [item for item in found if item is not None][:most]
    return [NumberedItem(item, str(number)) for number, item in enumerate(items)]


def next_sentence_scores(scorer: Scorer, items: Sequence[NumberedItem]) -> list[float]:
    """Return for each item whether the model prefers the right sentence, by log-probability per byte: 1 or 0."""
    return [answer.right for answer in answer_items(scorer, TASK, items, range(len(items)))]


def _item(text: str) -> Choices | None:
    """Return the question about a document; None if it has too few sentences, or the same one twice."""
    parts = [part for part in sentences(text) if len(part) >= SHORTEST]
    if len(parts) <= OPTIONS:
        return None
    right = 1 + rank(text) % (len(parts) - OPTIONS)
    options = parts[right : right + OPTIONS]
    if len({*options}) < OPTIONS:
        return None
    shuffled = sorted(options, key=rank)
    return Choices(" ".join(parts[max(0, right - BEFORE) : right]), tuple(shuffled), shuffled.index(options[0]))
