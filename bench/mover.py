"""Move the alias `stable` between models until killed; each line of the output is a move that the store acknowledged.

    python mover.py STORE MODEL FINGERPRINT MODEL FINGERPRINT ...

A line is the entry of the history as JSON, or null if the move failed: it may have been made nevertheless.
"""

import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

from sayso.base.errors import UserError
from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.database import StoreError
from sayso.feedback.store import Store

ALIAS = "stable"
PAUSE = 0.2  # seconds between two moves, at most
BACK = 0.4  # share of the moves that are roll-backs


def keep_moving(store: Store, models: Sequence[tuple[str, str]]) -> None:
    """Promote one of the models, given with their fingerprints, or roll back, again and again."""
    aliases, draw = Aliases(store), random.Random()
    while True:
        try:
            line = json.dumps(asdict(moved(aliases, models, draw)))
        except UserError:  # the store failed, or the alias has moved since it was read
            line = "null"
        print(line, flush=True)
        time.sleep(draw.uniform(0, PAUSE))


def moved(aliases: Aliases, models: Sequence[tuple[str, str]], draw: random.Random) -> Assignment:
    """Move the alias once."""
    if draw.random() < BACK:
        try:
            return aliases.roll_back(ALIAS)
        except StoreError:
            raise
        except UserError:  # there is nothing to roll back to
            pass
    return aliases.assign(ALIAS, *draw.choice(models), after=aliases.current(ALIAS))


if __name__ == "__main__":
    address, *given = sys.argv[1:]
    with closing(Store(address)) as opened:
        keep_moving(opened, list(zip(given[::2], given[1::2], strict=True)))
