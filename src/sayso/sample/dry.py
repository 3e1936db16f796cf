"""DRY, "don't repeat yourself" (p-e-w 2024): the ids that would continue a repetition, and their penalties.

As in text-generation-webui and llama.cpp: if the end of the text also occurs earlier, the id that followed there
would extend the repetition. One vectorized pass over the text per token of the longest repetition.
"""

import math
from collections.abc import Sequence

import numpy as np

from sayso.sample.history import History
from sayso.sample.sampling import Sampling
from sayso.token.tokenizer import Tokenizer

_MOST = 1e30  # limit of a penalty, near the maximum of float32; a token with it is never picked
BREAKERS = (b"\n", b":", b'"', b"*")  # of llama.cpp and text-generation-webui


def breaker_ids(tokenizer: Tokenizer, texts: Sequence[bytes] = BREAKERS) -> tuple[int, ...]:
    """Return the ids whose text contains one of the `texts`, and the control tokens: the default sequence breakers."""
    pieces = ((token, tokenizer.decode_bytes([token])) for token in range(tokenizer.vocab_size))
    return tuple(token for token, piece in pieces if not piece or any(text in piece for text in texts))


def penalties(history: History, sampling: Sampling, stop_ids: frozenset[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that would continue a repetition, int64 [n], and the penalty of each logit [n]."""
    reach, shortest = sampling.dry_penalty_last_n, sampling.dry_allowed_length
    first = max(0, len(history.ids) - reach) if reach else 0
    ids = np.array(history.ids, dtype=np.int64)[first:]  # a copy: the array cannot grow while a view exists
    breakers = stop_ids.union(sampling.dry_breakers)
    lengths = matches(ids, breakers, _longest(sampling))
    repeats = lengths >= shortest
    following, place = np.unique(ids[1:][repeats], return_inverse=True)
    longest = np.zeros(len(following), dtype=np.int64)
    np.maximum.at(longest, place, lengths[repeats])
    free = ~np.isin(following, list(breakers))
    penalty = sampling.dry_multiplier * sampling.dry_base ** (longest[free] - shortest).astype(np.float64)
    return following[free], np.minimum(penalty, _MOST)


def matches(ids: np.ndarray, breakers: frozenset[int], most: int) -> np.ndarray:
    """Return [T - 1]: for each position, the number of tokens before it, up to `most`, that equal the end of all T ids.

    A breaker matches nothing.
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


def _longest(sampling: Sampling) -> int:
    """Return the length at which the penalty of a repetition reaches its limit."""
    if sampling.dry_base == 1:
        return sampling.dry_allowed_length
    further = (math.log(_MOST) - math.log(sampling.dry_multiplier)) / math.log(sampling.dry_base)
    return sampling.dry_allowed_length + math.ceil(max(0.0, further))
