"""Which model an alias named when: takes the history of aliases, returns periods in hours."""

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.feedback.aliases import Assignment
from sayso.feedback.measures import hour_of

ENDLESS = 2**31 - 1


@dataclass(frozen=True)
class Tenure:
    """An alias named a model from the hour `start` to the hour `end`, both included."""

    alias: str
    model: str
    start: int
    end: int

    def has(self, model: str, hour: int) -> bool:
        """Whether a reply of a model counts for the alias; in the hour of a change, those of both models do."""
        return self.model == model and self.start <= hour <= self.end


def tenures(history: Sequence[Assignment]) -> list[Tenure]:
    """Return the periods of all aliases, in the order in which they began."""
    found = list[Tenure]()
    for place, entry in enumerate(history):
        after = next((one for one in history[place + 1 :] if one.alias == entry.alias), None)
        end = hour_of(after.created_at) if after else ENDLESS
        found.append(Tenure(entry.alias, entry.model, hour_of(entry.created_at), end))
    return found
