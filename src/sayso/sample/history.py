"""Token counts of a request, updated incrementally: each new token is counted once, however long the reply.

Stored as arrays of machine numbers, so that the rows of a batch are joined by copying memory.
"""

from array import array
from collections.abc import Sequence
from itertools import islice

MAX_REMOVED = 64  # tokens: speculation never removes more than it proposed


class History:
    """The ids of prompt and reply, and the count of each in the reply.

    `seen` has each distinct id once, in the order of first appearance; `counts` has its number of occurrences in the
    reply: 0 for an id that is only in the prompt. Both omit ids of the prompt unless `prompt_counts`.
    """

    def __init__(self, prompt: Sequence[int], prompt_counts: bool) -> None:
        self.ids = array("q", prompt)
        self.prompt = len(self.ids)
        self.seen = array("q", dict.fromkeys(prompt) if prompt_counts else ())
        self.counts = array("f", bytes(4 * len(self.seen)))
        self.slots = {token: slot for slot, token in enumerate(self.seen)}
        self.fixed = len(self.seen)

    def update(self, reply: Sequence[int]) -> None:
        """Synchronize with the reply: remove ids that are no longer at its end, and count new ones."""
        kept = min(len(self.ids) - self.prompt, len(reply))
        first = max(0, kept - MAX_REMOVED)
        ours, theirs = self.ids[self.prompt + first : self.prompt + kept].tolist(), list(reply[first:kept])
        if ours != theirs:
            kept = first + next(place for place, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
        while len(self.ids) - self.prompt > kept:
            self._pop()
        for token in islice(reply, kept, None):
            self._push(token)

    def _push(self, token: int) -> None:
        self.ids.append(token)
        slot = self.slots.setdefault(token, len(self.seen))
        if slot == len(self.seen):
            self.seen.append(token)
            self.counts.append(0)
        self.counts[slot] += 1

    def _pop(self) -> None:
        token = self.ids.pop()
        slot = self.slots[token]
        self.counts[slot] -= 1
        if slot >= self.fixed and not self.counts[slot]:  # the last slot: later ids were removed before it
            self.seen.pop()
            self.counts.pop()
            del self.slots[token]
