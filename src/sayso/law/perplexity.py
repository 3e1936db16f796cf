"""What prediction is worth: the surprisal of every token, Markov models beside a network, and what memory gives.

    perplexity = 2 ^ (bits per token) = exp(mean of -log p(token | tokens before))

Takes held-out text, and example text for the models that count. All models are compared in bits per byte of the same
bytes, so that tokenizers do not matter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sayso.base.errors import UserError
from sayso.judge.baselines.counts import uniform_bits
from sayso.judge.baselines.kneserney import train_kneser_ney
from sayso.judge.bits import ScoredWindow, read_windows, text_windows
from sayso.model import Transformer
from sayso.token.tokenizer import BOS, Tokenizer

ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3, "Kneser-Ney 5-gram": 5}
"""Models of bytes that count, and the length of what they count."""
BYTES = 256
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
Floats = NDArray[np.float64]


def counted_bits(example: str, text: str) -> dict[str, float]:
    """Return the bits per byte of a text under models of bytes that were counted in an example; uniform has 8.

    All are interpolated Kneser-Ney models, which leave something to every byte. Raises `UserError` for a text that is
    empty, or an example shorter than the longest n-gram.
    """
    given, held_out = list(example.encode()), list(text.encode())
    longest = max(ORDERS.values())
    if len(given) < longest:
        raise UserError(f"The example must have at least {longest} bytes, the longest n-gram; got {len(given)}.")
    if not held_out:
        raise UserError("The text is empty, so there is nothing to predict.")
    found = {"uniform": float(uniform_bits([held_out], BYTES)[0]) / len(held_out)}
    for name, order in ORDERS.items():
        model = train_kneser_ney([given], BYTES + 1, BYTES, order)
        found[name] = float(model.bits([held_out])[0]) / len(held_out)
    return found


@dataclass(frozen=True)
class Surprisal:
    """How surprised a model was by each token of a text."""

    ids: list[int]
    texts: list[str]
    bits: Floats
    """Of each token, given those before it in its window, [T]."""
    bytes: int
    """Of the text."""

    @property
    def bits_per_byte(self) -> float:
        """Bits of all tokens over the bytes of the text."""
        return float(self.bits.sum()) / self.bytes

    @property
    def perplexity(self) -> float:
        """2 to the mean bits of a token: among how many equally likely tokens it seems to choose."""
        return float(2 ** self.bits.mean())


def surprisal(model: Transformer, tokenizer: Tokenizer, text: str) -> Surprisal:
    """Return the surprisal of each token, in windows that overlap by half. Raises `UserError` for an empty text."""
    ids = tokenizer.encode(text)
    if not ids:
        raise UserError("The text is empty, so there is nothing to predict.")
    windows = list(text_windows(0, ids, tokenizer.specials[BOS], model.config.context))
    at = np.cumsum([0, *(window.counted for window in windows)])
    bits, places = np.zeros(len(ids)), {id(window): place for place, window in enumerate(windows)}
    for window, nats in read_windows(model, windows):
        place = places[id(window)]
        bits[at[place] : at[place + 1]] = nats / math.log(2)
    texts = [tokenizer.decode_bytes([token]).decode("utf-8", "backslashreplace") for token in ids]
    return Surprisal(ids, texts, bits, len(text.encode()))


def bits_by_context(
    model: Transformer, tokenizer: Tokenizer, text: str, *, targets: int = 64, longest: int | None = None, seed: int = 0
) -> Mapping[int, float]:
    """Return the mean bits of a token by the number of tokens before it that are seen: what memory is worth.

    The same `targets` random tokens are predicted from ever more of the text, up to `longest` tokens. Raises
    `UserError` for a text of fewer than three tokens.
    """
    ids = tokenizer.encode(text)
    limit = min(longest or model.config.context, model.config.context, len(ids) - 1)
    if len(ids) < 3:
        raise UserError(f"Perplexity by context needs a text of at least 3 tokens; got {len(ids)}.")
    lengths = [length for length in LENGTHS if length <= limit]
    first = lengths[-1]
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(np.arange(first, len(ids)), size=min(targets, len(ids) - first), replace=False))
    found = {}
    for length in lengths:
        windows = [_window(ids, int(at), length) for at in chosen]
        found[length] = float(np.mean([nats[-1] for _, nats in read_windows(model, windows)])) / math.log(2)
    return found


def _window(ids: Sequence[int], at: int, length: int) -> ScoredWindow:
    """Return the window in which a token is predicted from the `length` tokens before it."""
    return ScoredWindow(0, ids[at - length : at], ids[at - length + 1 : at + 1], 1)
