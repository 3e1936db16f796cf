"""Which evaluation items a model may have seen: those that share a word n-gram with its training text.

The rule is that of `sayso.text.decontaminate` (13 words as in GPT-3, Brown et al. 2020, appendix C), turned around: not
which documents contain an item, but which items are contained. Training text is read once, document by document.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from sayso.judge.tasks.item import Choices, Completion, Instructed, Item, Programming, Question
from sayso.text.clean import clean
from sayso.text.decontaminate import ngram_sets
from sayso.text.ngrams import Hashes, ngram_hashes, word_hashes
from sayso.text.prepared import document_texts, training_chats

WORDS = 13  # of an n-gram


def text_of(item: Item) -> str:
    """Return the text of an item that a model should not have read: the question with its right answer."""
    if isinstance(item, Choices):
        return f"{item.query} {item.choices[item.gold]}"
    if isinstance(item, Completion):
        return f"{item.context} {item.continuation}"
    if isinstance(item, Question | Instructed | Programming):
        return item.prompt
    return f"{item.contexts[item.gold]} {item.continuation}"


def training_text(life_text: Path, life_chats: Path) -> Iterator[str]:
    """Yield the texts that a life trains on: its documents and its conversations."""
    if any(life_text.glob("train-*.jsonl")):
        yield from document_texts(life_text, "train")
    for chat in training_chats(life_chats):
        yield " ".join(str(turn.get("content") or "") for turn in chat["messages"])


def seen(items: Sequence[str], training: Iterable[str], words: int = WORDS) -> list[bool]:
    """Return whether each text shares an n-gram with the training texts; a text shorter than 8 words never does."""
    own = [ngram_sets([text], words) for text in items]
    lengths = sorted({length for one in own for length in one})
    known = {length: np.unique(np.concatenate([one[length] for one in own if length in one])) for length in lengths}
    hits = {length: np.zeros(len(hashes), bool) for length, hashes in known.items()}
    for text in training:
        found = word_hashes(clean(text))
        for length in lengths:
            if len(found) >= length:
                hits[length] |= _contained(known[length], ngram_hashes(found, length))
    hit = {length: hashes[hits[length]] for length, hashes in known.items()}
    return [any(np.isin(hashes, hit[length]).any() for length, hashes in one.items()) for one in own]


def _contained(known: Hashes, hashes: Hashes) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which of the sorted known hashes occur, bool [K]."""
    place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    found = np.zeros(len(known), bool)
    found[place[known[place] == hashes]] = True
    return found
