"""Suggestions for grouping notes: takes notes and categories, returns an order and the nearest categories of each note.

A category is the mean of the vectors of its notes and of its name with its definition; see `nearness`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.feedback.categories import Category
from sayso.feedback.nearness import Vector, middle, nearest_groups, side_by_side, vectors
from sayso.feedback.notes import Note


@dataclass(frozen=True)
class Suggested:
    """A note with the categories that it may belong to, nearest first, each with its cosine."""

    note: Note
    near: list[tuple[int, float]]


def suggested(loose: Sequence[Note], grouped: Sequence[Note], categories: Sequence[Category]) -> list[Suggested]:
    """Return notes in no category, so that similar ones follow each other, with the categories nearest to them."""
    texts = [note.text for note in (*loose, *grouped)] + [f"{one.name} {one.definition}" for one in categories]
    found = vectors(texts)
    own, rest, named = (
        found[: len(loose)],
        found[len(loose) : len(loose) + len(grouped)],
        found[len(texts) - len(categories) :],
    )
    inside: dict[int, list[Vector]] = {one.id: [vector] for one, vector in zip(categories, named, strict=True)}
    for note, vector in zip(grouped, rest, strict=True):
        if note.category_id in inside:
            inside[note.category_id].append(vector)
    groups = {number: middle(those) for number, those in inside.items()}
    return [Suggested(loose[place], nearest_groups(own[place], groups)) for place in side_by_side(own)]
