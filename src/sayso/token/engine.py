"""The fast encoder: `tiktoken`, built from the merges of a `tokenizers` file if both give the same ids.

Speeds are in bench/RESULTS.md; `tokenizers` provides the file format, training and all other tokenizers.
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise

import tiktoken
import tokenizers
from tokenizers import models

from sayso.token.pre_tokenizer import PATTERN, pre_tokenizer

SPACES = 50_000  # characters; tiktoken's regular expressions run out of stack at some hundred thousand spaces
LONG_SPACE = re.compile(rf"(?<!\s)\s{{{SPACES}}}")


def has_long_space(text: str) -> bool:
    """Whether a text has a run of white space that is too long for `tiktoken`."""
    return len(text) >= SPACES and LONG_SPACE.search(text) is not None


def make_engine(core: tokenizers.Tokenizer, tokens: Sequence[bytes]) -> tiktoken.Encoding | None:
    """Return an encoder equivalent to `core`, given the bytes of each id; None if the ids could differ.

    `core` applies its merges in order; tiktoken merges any two adjacent tokens whose concatenation is a token, the
    smallest id first. Both are equivalent if ids are numbered in the order of the merges and every token encodes to
    itself: then the bytes of a token pass through the same two parts on their own, so the pair that tiktoken merges is
    the one in the token's merge.
    """
    if core.normalizer is not None or repr(core.pre_tokenizer) != repr(pre_tokenizer()):
        return None
    ranks = {value: index for index, value in enumerate(tokens) if value}
    if sum(len(value) == 1 for value in ranks) != 256 or not _in_order(core):
        return None
    return tiktoken.Encoding("sayso", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


def _in_order(core: tokenizers.Tokenizer) -> bool:
    """Whether the model has default settings, merges have increasing ids, and every token encodes to itself."""
    model, plain = (json.loads(part.to_str())["model"] for part in (core, tokenizers.Tokenizer(models.BPE())))
    vocabulary, merges = model.pop("vocab"), model.pop("merges")
    merged = [vocabulary["".join(pair)] for pair in merges]
    control = core.get_added_tokens_decoder()
    names = [name for name, index in vocabulary.items() if index not in control]
    return (
        model.items() <= plain.items()
        and len(merged) + 256 == len(names)
        and all(first < second for first, second in pairwise(merged))
        and all(len(core.model.tokenize(name)) == 1 for name in names)
    )
