"""The matrix products of a model, from its config: their arithmetic, and how much of it there is for each byte.

A product of [m, k] and [k, n] takes 2mkn operations and moves mk + kn + mn numbers, so its intensity is

    I = 2mkn / (bytes of a number * (mk + kn + mn))

operations per byte, and the roofline allows min(peak, I * bandwidth) operations per second (Williams et al. 2009).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.model import ModelConfig
from sayso.model.config import GATED


@dataclass(frozen=True)
class Product:
    """A kind of product in a forward pass."""

    name: str
    rows: int
    """m: tokens of all rows, or of one for attention."""
    inputs: int
    """k."""
    outputs: int
    """n."""
    count: int
    """How often it occurs in a pass."""
    number: int = 4
    """Bytes of a number."""

    @property
    def flops(self) -> int:
        """Operations of all of them."""
        return 2 * self.rows * self.inputs * self.outputs * self.count

    @property
    def bytes(self) -> int:
        """Bytes read and written by all of them."""
        each = self.rows * self.inputs + self.inputs * self.outputs + self.rows * self.outputs
        return self.number * each * self.count

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes

    def attainable(self, peak: float, bandwidth: float) -> float:
        """Return the operations per second that the roofline allows."""
        return min(peak, self.intensity * bandwidth)

    def bound(self, peak: float, bandwidth: float) -> str:
        """Return what limits it: compute, or memory."""
        return "compute" if self.intensity * bandwidth >= peak else "memory"


def forward_products(
    config: ModelConfig, rows: int, tokens: int, context: int = 0, *, heads_of: int | None = None
) -> Sequence[Product]:
    """Return the products of a forward pass over `tokens` new tokens in each of `rows` rows.

    Each row has `context` tokens before, whose keys and values are kept. The head is applied to `heads_of` tokens
    (None: all). As in the usual count, a token attends to all tokens of the pass, also to those after it; windows are
    respected.
    """
    seen = [min(context + tokens, window or context + tokens) for window in config.layer_windows]
    all_tokens, width, size = rows * tokens, config.width, config.head_size
    gated = config.mlp in GATED
    found = [
        Product("query", all_tokens, width, config.heads * size, config.layers),
        Product("key, value", all_tokens, width, config.kv_heads * size, 2 * config.layers),
        Product("attention out", all_tokens, config.heads * size, width, config.layers),
        Product("up, gate" if gated else "up", all_tokens, width, config.mlp_width, (1 + gated) * config.layers),
        Product("down", all_tokens, config.mlp_width, width, config.layers),
        Product("head", all_tokens if heads_of is None else heads_of, width, config.vocab_size, 1),
    ]
    for length in sorted(set(seen)):
        pairs = rows * config.heads * seen.count(length)
        found += [
            Product("scores", tokens, size, length, pairs),
            Product("values", tokens, length, size, pairs),
        ]
    return found


def forward_flops(config: ModelConfig, rows: int, tokens: int) -> int:
    """Return the operations of a forward pass; a backward pass has twice as many, 2 for each of the forward's 1."""
    return sum(product.flops for product in forward_products(config, rows, tokens))
