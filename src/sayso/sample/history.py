"""Token counts of a request, updated incrementally: each new token is counted once, however long the reply.

Stored as arrays of machine numbers, so that the rows of a batch are joined by copying memory.
"""

from array import array
from collections.abc import Sequence
from itertools import islice

TAKEN_BACK = 64  # maximum number of removed tokens: speculation never removes more than it proposed


class History:
    """The ids of prompt and reply, and the count of each in the reply.

    `said` has each distinct id once, in the order of first appearance; `counts` has its number of occurrences in the
    reply: 0 for an id of the prompt alone. The prompt's ids are left out of both unless `prompt_counts`.
    """

    def __init__(self, prompt: Sequence[int], prompt_counts: bool) -> None:
        self.ids = array("q", prompt)
        self.prompt = len(self.ids)
        self.said = array("q", dict.fromkeys(prompt) if prompt_counts else ())
        self.counts = array("f", bytes(4 * len(self.said)))
        self.slots = {token: slot for slot, token in enumerate(self.said)}
        self.fixed = len(self.said)

    def follow(self, reply: Sequence[int]) -> None:
        """Synchronize with the reply: remove ids that are no longer at its end, and count new ones."""
        kept = min(len(self.ids) - self.prompt, len(reply))
        first = max(0, kept - TAKEN_BACK)
        mine, theirs = self.ids[self.prompt + first : self.prompt + kept].tolist(), list(reply[first:kept])
        if mine != theirs:
            kept = first + next(place for place, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
        while len(self.ids) - self.prompt > kept:
            self._pop()
        for token in islice(reply, kept, None):
            self._push(token)

    def _push(self, token: int) -> None:
        self.ids.append(token)
        slot = self.slots.setdefault(token, len(self.said))
        if slot == len(self.said):
            self.said.append(token)
            self.counts.append(0)
        self.counts[slot] += 1

    def _pop(self) -> None:
        token = self.ids.pop()
        slot = self.slots[token]
        self.counts[slot] -= 1
        if slot >= self.fixed and not self.counts[slot]:  # the last slot: all that came first after it went before it
            self.said.pop()
            self.counts.pop()
            del self.slots[token]
