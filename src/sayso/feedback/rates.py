"""Rates of the problems in a sample: takes what was read and noted, returns each category's share of conversations.

The unit is a conversation that was read: it has a problem if a note about one of its replies is in the category. A
model's share is of the conversations with a reply by the model, and counts only notes about its own replies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sayso.feedback.categories import Categories, Category
from sayso.feedback.notes import Note, Notes
from sayso.feedback.samples import Item, Samples
from sayso.feedback.store import Store
from sayso.judge.statistics.estimate import wilson


@dataclass(frozen=True)
class Share:
    """How many of some conversations have a problem, with Wilson's interval at 95 %."""

    count: int
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class Rates:
    """The shares of one category, of the notes in none, or of any note."""

    category: Category | None
    whole: Share
    models: Mapping[str, Share]


def rates_of(store: Store, sample_id: int) -> tuple[Rates, Rates, list[Rates]]:
    """Return the shares of any note, of notes in no category, and of each category, the most frequent first."""
    items = [item for item in Samples(store).items(sample_id) if item.read]
    noted = Notes(store).of_sample(sample_id)

    def rates(category: Category | None, those: Sequence[Note]) -> Rates:
        return _rates(category, {note.message_id for note in those}, items)

    each = [rates(one, [note for note in noted if note.category_id == one.id]) for one in Categories(store).listed()]
    loose = rates(None, [note for note in noted if note.category_id is None])
    return rates(None, noted), loose, sorted(each, key=lambda one: -one.whole.count)


def _rates(category: Category | None, wrong: set[int], items: Sequence[Item]) -> Rates:
    models = sorted({model for item in items for model in item.replies.values()})
    own = {name: [[one for one, maker in item.replies.items() if maker == name] for item in items] for name in models}
    whole = _share(wrong, [[*item.replies] for item in items])
    return Rates(category, whole, {name: _share(wrong, replies) for name, replies in own.items()})


def _share(wrong: set[int], talks: Sequence[Sequence[int]]) -> Share:
    """Return the share of conversations, given by their replies, in which one is wrong; of those that have replies."""
    found = [not wrong.isdisjoint(replies) for replies in talks if replies]
    count, total = sum(found), len(found)
    return Share(count, total, *(wilson(count / total, total) if total else (0.0, 1.0)))
