"""How to rate, as an admin wrote it, and what raters choose from: read from a store, or written to it.

Earlier versions are kept; the latest one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.storable import storable
from sayso.feedback.store import Store
from sayso.feedback.tables import guidelines, now

MOST_REVIEWS, MOST_WORDS, LONGEST_WORD = 20, 20, 60
_TEXT = """\
Read the prompt, then both replies to the end. Choose the one you would rather have got.

1. **Does it do what was asked?** A reply that misses the point loses to one that does not.
2. **Is it true?** Look up what you are not sure of. An invented fact outweighs good style.
3. **Is it safe?** Prefer a plain refusal to harmful help, and help to a needless refusal.
4. **Is it clear?** Between equally good replies, prefer the shorter.

Choose *Tie* if you would not care which one you got, and *Skip* what you cannot judge."""


@dataclass(frozen=True)
class Guidelines:
    """How to rate."""

    text: str = _TEXT
    """Markdown."""
    reviews: int = 2
    """Comparisons by different people that each pair needs."""
    reasons: tuple[str, ...] = ("does what was asked", "more correct", "clearer", "safer", "better style")
    """Offered for a choice."""
    tags: tuple[str, ...] = ("false", "off topic", "rude", "unsafe", "repeats itself")
    """Offered for a reply."""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise UserError("The guidelines must not be empty.")
        if not 1 <= self.reviews <= MOST_REVIEWS:
            raise UserError(f"A pair needs from 1 to {MOST_REVIEWS} reviews; got {self.reviews}.")
        for what, words in (("reasons", self.reasons), ("tags", self.tags)):
            _check_words(what, words)


def _check_words(what: str, words: Sequence[str]) -> None:
    if len(words) > MOST_WORDS or len({*words}) < len(words):
        raise UserError(f"There may be up to {MOST_WORDS} different {what}; got {len(words)}.")
    for word in words:
        if not word.strip() or len(word) > LONGEST_WORD or len(word.splitlines()) != 1:
            shown = word[:LONGEST_WORD].replace("\n", " ")
            raise UserError(f"Each of the {what} is one line of 1 to {LONGEST_WORD} characters; got '{shown}'.")


def read_guidelines(store: Store) -> Guidelines:
    """Return the latest guidelines of a store, or the default ones."""
    with store.engine.begin() as connection:
        return latest_guidelines(connection)


def latest_guidelines(connection: sql.Connection) -> Guidelines:
    """Return the latest guidelines as a connection sees them."""
    query = guidelines.select().order_by(guidelines.c.id.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return Guidelines()
    return Guidelines(row["text"], row["reviews"], tuple(row["reasons"]), tuple(row["tags"]))


def write_guidelines(store: Store, new: Guidelines, annotator: str | None = None) -> None:
    """Store guidelines, written by somebody."""
    row = {"text": new.text, "reviews": new.reviews, "reasons": list(new.reasons), "tags": list(new.tags)}
    row |= {"annotator": annotator, "created_at": now()}
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(guidelines.insert().values(storable(row)))
