"""A row: a request with blocks in the cache, and the number of its cached tokens."""

from dataclasses import dataclass, field

from sayso.sample.blocks import salt_name
from sayso.sample.request import Request


@dataclass(eq=False)
class Row:
    """A request that is being prefilled or decoded."""

    request: Request
    names: list[bytes] = field(default_factory=list)
    """Names of its full blocks; blocks of the reply are named when they are full."""
    blocks: list[int] = field(default_factory=list)
    done: int = 0
    """Number of tokens in the cache."""

    @property
    def origin(self) -> bytes:
        """The name before its first block: rows with different salts or adapters share no blocks."""
        return salt_name(f"{self.request.adapter}\n{self.request.salt}")

    @property
    def length(self) -> int:
        """Number of tokens of prompt and reply."""
        return len(self.request.prompt) + len(self.request.ids)

    @property
    def decodes(self) -> bool:
        """Whether only its last token is not in the cache yet."""
        return self.done == self.length - 1

    def tokens(self, start: int, stop: int) -> list[int]:
        """Return tokens of prompt and reply by their positions."""
        own = len(self.request.prompt)
        return [*self.request.prompt[start:stop], *self.request.ids[max(start - own, 0) : max(stop - own, 0)]]
