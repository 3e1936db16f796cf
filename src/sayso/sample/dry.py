"""DRY, "don't repeat yourself" (p-e-w 2024): which ids would continue a repetition, and their penalties.

As in text-generation-webui and llama.cpp: if the end of the text also occurs earlier, the id that followed there
would extend the repetition. One pass over the text per token of the longest repetition, all places at once.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sayso.sample.history import History
from sayso.sample.sampling import Dry
from sayso.token.tokenizer import Tokenizer

_MOST = 1e30  # limit of a penalty: float32 overflows beyond it, and no token is picked at this point
BREAKERS = (b"\n", b":", b'"', b"*")  # of llama.cpp and text-generation-webui


def breaker_ids(tokenizer: Tokenizer, texts: Sequence[bytes] = BREAKERS) -> frozenset[int]:
    """Return the ids whose text contains one of the `texts`, and the control tokens: the usual `Dry.breakers`."""
    pieces = ((token, tokenizer.decode_bytes([token])) for token in range(tokenizer.vocab_size))
    return frozenset(token for token, piece in pieces if not piece or any(text in piece for text in texts))


def losses(history: History, dry: Dry, stop_ids: frozenset[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that would continue a repetition, int64 [n], and the penalty of each logit [n]."""
    first = max(0, len(history.ids) - dry.range) if dry.range else 0
    ids = np.array(history.ids, dtype=np.int64)[first:]  # a copy: the array cannot grow while a view exists
    breakers = dry.breakers | stop_ids
    dry = replace(dry, allowed_length=min(dry.allowed_length, len(ids) + 1))  # clamped to fit an array
    lengths = matches(ids, breakers, _longest(dry))
    repeats = lengths >= dry.allowed_length
    following, place = np.unique(ids[1:][repeats], return_inverse=True)
    longest = np.zeros(len(following), dtype=np.int64)
    np.maximum.at(longest, place, lengths[repeats])
    free = ~np.isin(following, list(breakers))
    lost = dry.multiplier * dry.base ** (longest[free] - dry.allowed_length).astype(np.float64)
    return following[free], np.minimum(lost, _MOST)


def matches(ids: np.ndarray, breakers: frozenset[int], most: int) -> np.ndarray:
    """Return [T - 1]: for each position, up to `most`, how many tokens before it equal the end of all T ids.

    A breaker equals nothing.
    """
    lengths = np.zeros(max(len(ids) - 1, 0), dtype=np.int64)
    ends = np.arange(len(lengths))
    for length in range(min(most, len(lengths))):
        token = ids[-1 - length]
        if int(token) in breakers:
            break
        ends = ends[ends >= length]
        ends = ends[ids[ends - length] == token]
        if not ends.size:
            break
        lengths[ends] = length + 1
    return lengths


def _longest(dry: Dry) -> int:
    """Return the length from which on the penalty of a repetition no longer grows."""
    if dry.base == 1:
        return dry.allowed_length
    further = (math.log(_MOST) - math.log(dry.multiplier)) / math.log(dry.base)
    return dry.allowed_length + math.ceil(max(0.0, further))
