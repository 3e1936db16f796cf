"""One dial: the depth of a model gives its shape, and the shape and the budget give batch and steps.

Whoever sets a derived value by hand wins; what was derived is printed and kept with the run.
"""

import math
from dataclasses import replace

from sayso.base.errors import UserError
from sayso.model import ModelConfig

WIDTH_PER_LAYER = 48
HEAD_SIZE = 32
ROPE_THETA = 1e6  # as in Qwen3: more of a small head's pairs turn so slowly that they can tell what, not only where
FEW_HEADS = 8  # so few each keep keys and values of their own: sharing them slows down how fast looking up is learned
FEW_IDS = 512  # so few ids are characters or bytes, whose n-grams are worth looking up further than those of words
NGRAM_ROWS = 2**15
TOKENS_PER_PARAMETER = 12.0  # of the matrices and the head, as fitted for nanochat (10.5 to 12)
LEAST_STEPS = 600  # more updates on less of the text gained nothing over three minutes on two cores, see LOG.md
MIN_TOKENS, MAX_TOKENS = 2_048, 2**20  # a step's tokens


def shape_of_depth(
    depth: int, vocab_size: int, context: int, mlp: str = "swiglu", mlp_width: int | None = None
) -> ModelConfig:
    """Return the model of a depth: width grows with it, heads are 32 wide, pairs of many share keys and values."""
    if depth < 1:
        raise UserError(f"--depth is at least 1; got {depth}.")
    heads = max(2, 2 * round(depth * WIDTH_PER_LAYER / (2 * HEAD_SIZE)))
    width = heads * HEAD_SIZE
    hidden = mlp_width or (4 * width if mlp == "relu2" else 32 * round(8 * width / 3 / 32))  # as many weights in both
    shared = heads if heads <= FEW_HEADS else heads // 2
    return ModelConfig(
        vocab_size, depth, width, heads, shared, HEAD_SIZE, hidden, mlp=mlp, context=context, rope_theta=ROPE_THETA
    )


def with_ngrams(config: ModelConfig) -> ModelConfig:
    """Return the shape with the n-gram embeddings of the fastest recipe, see LOG.md."""
    return replace(config, ngrams=(2, 3, 4, 5) if config.vocab_size <= FEW_IDS else (2, 3), ngram_rows=NGRAM_ROWS)


def depth_of_budget(flops: float, vocab_size: int, context: int) -> int:
    """Return the depth whose best number of tokens (`TOKENS_PER_PARAMETER` each) costs about `flops` to train."""
    depth = 1
    while depth < 64:
        config = shape_of_depth(depth + 1, vocab_size, context)
        tokens = TOKENS_PER_PARAMETER * config.matmul_parameters
        if tokens * config.flops_per_token(context) > flops:
            break
        depth += 1
    return depth


def tokens_of_shape(config: ModelConfig) -> int:
    """Return how many tokens a shape is best trained on."""
    return round(TOKENS_PER_PARAMETER * config.matmul_parameters)


def rows_of_tokens(tokens: int, context: int) -> int:
    """Return the rows of a batch for a run over `tokens`.

    The best batch grows as tokens^0.383 (Bergsma et al. 2025, "Power Lines"), 2^19 at 1.3e9 tokens (nanochat), but a
    short run needs its updates: about 600 steps or more.
    """
    best = 2**19 * (tokens / 1.3e9) ** 0.383
    size = min(max(min(best, tokens / LEAST_STEPS), MIN_TOKENS), MAX_TOKENS)
    return int(max(1, 2 ** round(math.log2(size / context))))
