"""What servers were asked to do, minute by minute: takes the counts of a minute, stores them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sayso.feedback.storable import storable
from sayso.feedback.store import Store
from sayso.feedback.tables import minutes


@dataclass
class MinuteCounts:
    """Requests to one model that ended in one minute; the fields are described at the table `minutes`."""

    minute: int
    model: str
    requests: int = 0
    invalid: int = 0
    rejected: int = 0
    failed: int = 0
    begun: int = 0
    waited: float = 0.0
    waiting: int = 0


def keep_minutes(store: Store, counts: Sequence[MinuteCounts]) -> None:
    """Add counts to a store."""
    if counts:
        with store.engine.execution_options(writes=True).begin() as connection:
            connection.execute(minutes.insert(), [storable(asdict(one)) for one in counts])
