"""The dial: the depth of a model determines its shape; shape and budget determine batch size and steps.

Explicit options take precedence; derived values are printed and stored with the run.
"""

import math
from dataclasses import replace

from sayso.base.errors import UserError
from sayso.model import ModelConfig

WIDTH_PER_LAYER = 48
HEAD_SIZE = 32
ROPE_THETA = 1e6  # as in Qwen3: more pairs of a small head rotate slowly enough to carry content, not only position
FEW_HEADS = 8  # up to this many heads do not share keys and values, because sharing slows down learning to look up
FEW_IDS = 512  # a vocabulary up to this size consists of characters or bytes, for which longer n-grams are useful
NGRAM_ROWS = 2**15
SHIFT = 3  # previous tokens that are added with learned weights, see LOG.md
TOKENS_PER_PARAMETER = 12.0  # parameters of the matrices and the head, as fitted for nanochat (10.5 to 12)
DEEPEST = 64  # layers of the largest model that a budget is given
LEAST_STEPS = 600  # more updates on fewer tokens gained nothing in three minutes on two cores, see LOG.md
MIN_TOKENS, MAX_TOKENS = 2_048, 2**20  # tokens per step


def shape_of_depth(
    depth: int,
    vocab_size: int,
    context: int,
    mlp: str = "swiglu",
    mlp_width: int | None = None,
    width: int | None = None,
) -> ModelConfig:
    """Return the shape of a depth: the width is proportional to it, heads have size 32, many share keys and values."""
    if depth < 1:
        raise UserError(f"--depth must be at least 1; got {depth}.")
    if width is None:
        width = HEAD_SIZE * max(2, 2 * round(depth * WIDTH_PER_LAYER / (2 * HEAD_SIZE)))
    heads = width // HEAD_SIZE
    if width % HEAD_SIZE or (heads > FEW_HEADS and heads % 2):
        raise UserError(
            f"--width must be a multiple of {HEAD_SIZE}, the size of a head, and of {2 * HEAD_SIZE} above "
            f"{FEW_HEADS * HEAD_SIZE}, where two heads share keys and values; got {width}."
        )
    hidden = mlp_width or (4 * width if mlp == "relu2" else 32 * round(8 * width / 3 / 32))  # equal weights
    shared = heads if heads <= FEW_HEADS else heads // 2
    return ModelConfig(
        vocab_size, depth, width, heads, shared, HEAD_SIZE, hidden, mlp=mlp, context=context, rope_theta=ROPE_THETA
    )


def with_ngrams(config: ModelConfig, rows: int | None = None) -> ModelConfig:
    """Add the fastest recipe's n-gram embeddings, with `rows` rows for each order, and its token shift; see LOG.md."""
    orders = (2, 3, 4, 5) if config.vocab_size <= FEW_IDS else (2, 3)
    return replace(config, ngrams=orders, ngram_rows=rows or NGRAM_ROWS, shift=SHIFT)


def depth_of_budget(flops: float, vocab_size: int, context: int) -> int:
    """Return the depth of the largest model whose training on its best number of tokens costs at most `flops`."""
    depth = 1
    while depth < DEEPEST:
        config = shape_of_depth(depth + 1, vocab_size, context)
        tokens = TOKENS_PER_PARAMETER * config.matmul_parameters
        if tokens * config.flops_per_token(context) > flops:
            break
        depth += 1
    return depth


def tokens_of_shape(config: ModelConfig) -> int:
    """Return the best number of training tokens for a shape."""
    return round(TOKENS_PER_PARAMETER * config.matmul_parameters)


def batch_tokens(tokens: float) -> float:
    """Return the tokens per batch for a run over `tokens`.

    The best batch size grows as tokens^0.383 (Bergsma et al. 2025, "Power Lines") and is 2^19 at 1.3e9 tokens
    (nanochat); a short run has smaller batches, so that it makes about `LEAST_STEPS` updates.
    """
    best = 2**19 * (tokens / 1.3e9) ** 0.383
    return min(max(min(best, tokens / LEAST_STEPS), MIN_TOKENS), MAX_TOKENS)


def rows_of_tokens(tokens: int, context: int) -> int:
    """Return the rows per batch for a run over `tokens`, a power of two."""
    return int(max(1, 2 ** round(math.log2(batch_tokens(tokens) / context))))
