"""The fast encoder: `tiktoken`, built from the merges of a `tokenizers` file where both give the same ids.

Speeds are in bench/RESULTS.md; the file format, training and unusual tokenizers stay with `tokenizers`.
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise

import tiktoken
import tokenizers
from tokenizers import models

from sayso.token.cut import PATTERN, pre_tokenizer

SPACES = 50_000  # characters: tiktoken's regular expressions run out of stack in some hundred thousand of them
LONG_SPACE = re.compile(rf"(?<!\s)\s{{{SPACES}}}")


def has_long_space(text: str) -> bool:
    """Whether a text has a run of white space that only the core can cut."""
    return len(text) >= SPACES and LONG_SPACE.search(text) is not None


def make_engine(core: tokenizers.Tokenizer, tokens: Sequence[bytes]) -> tiktoken.Encoding | None:
    """Return what encodes as `core` does, for the bytes of each id; None where the ids could differ.

    The core joins the pairs that its merges name, in their order; tiktoken any two neighbours that are a token
    together, the smallest id first. These are one when ids are numbered in the order of merges and every token is what
    its own bytes become: nothing joins across the ends of two such neighbours, so by themselves their bytes would pass
    through the same two, and the pair is the one that the token's merge names.
    """
    if core.normalizer is not None or repr(core.pre_tokenizer) != repr(pre_tokenizer()):
        return None
    ranks = {value: index for index, value in enumerate(tokens) if value}
    if sum(len(value) == 1 for value in ranks) != 256 or not _in_order(core):
        return None
    return tiktoken.Encoding("sayso", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


def _in_order(core: tokenizers.Tokenizer) -> bool:
    """Whether the model is plain, each merge makes a higher id, and every token comes of its own bytes."""
    model, plain = (json.loads(part.to_str())["model"] for part in (core, tokenizers.Tokenizer(models.BPE())))
    vocabulary, merges = model.pop("vocab"), model.pop("merges")
    made = [vocabulary["".join(pair)] for pair in merges]
    control = core.get_added_tokens_decoder()
    names = [name for name, index in vocabulary.items() if index not in control]
    return (
        model.items() <= plain.items()
        and len(made) + 256 == len(names)
        and all(first < second for first, second in pairwise(made))
        and all(len(core.model.tokenize(name)) == 1 for name in names)
    )
