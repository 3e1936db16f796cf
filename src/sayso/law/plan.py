"""From a budget of training FLOPs to a run: shape, tokens, batch, steps, memory, and what a smaller model would cost.

The shape comes from the same dial as that of `sayso pretrain`; with a fitted law, the loss that it expects is added.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.base.errors import UserError
from sayso.law.scaling import ScalingLaw
from sayso.model import ModelConfig
from sayso.train.dial import DEEPEST, depth_of_budget, rows_of_tokens, shape_of_depth, tokens_of_shape
from sayso.train.memory import activation_bytes, fixed_bytes

FLOAT = 4  # bytes of a weight in training


@dataclass(frozen=True)
class Plan:
    """A training run."""

    config: ModelConfig
    row_tokens: int
    tokens: int
    """Training tokens, a multiple of the tokens of a batch."""
    rows: int
    """Rows of a batch."""
    steps: int
    loss: float | None
    """The loss that a law expects, in nats per token."""

    @property
    def parameters(self) -> int:
        """Weights of the matrices and the head, as scaling laws count them; the embedding table is not among them."""
        return self.config.matmul_parameters

    @property
    def weights(self) -> int:
        """All weights, the embedding table included."""
        return self.parameters + (0 if self.config.tie_embeddings else self.config.head_parameters)

    @property
    def flops(self) -> float:
        """Training FLOPs."""
        return float(self.tokens * self.config.flops_per_token(self.row_tokens))

    def memory(self, rows_at_once: int | None = None) -> dict[str, int]:
        """Return the bytes of a float32 training step by part; `rows_at_once` defaults to the whole batch."""
        activations = activation_bytes(self.config, self.row_tokens) * (rows_at_once or self.rows)
        return {
            "weights": FLOAT * self.weights,
            "gradients, moments and logits": fixed_bytes(self.config),
            "activations": activations,
        }

    @property
    def cache_bytes(self) -> int:
        """Bytes of the keys and values of a token when the model is served, in 16 bits."""
        return 2 * 2 * self.config.layers * self.config.kv_heads * self.config.head_size

    @property
    def serving_flops(self) -> int:
        """FLOPs of a token when the model is served: 2 for each weight of a matrix."""
        return 2 * self.parameters


def plan_run(flops: float, vocab_size: int, context: int, law: ScalingLaw | None = None) -> Plan:
    """Return the compute-optimal run for a budget of training FLOPs.

    Raises `UserError` for a budget below that of the smallest model on its best number of tokens, and for one beyond
    the largest.
    """
    least, most = (_cost(shape_of_depth(depth, vocab_size, context), context) for depth in (1, DEEPEST + 1))
    if flops >= most:
        raise UserError(
            f"The budget must be below {most:.2g} FLOPs, from which on the dial has no deeper model than {DEEPEST} "
            f"layers; got {flops:.2g}."
        )
    if flops < least:
        raise UserError(
            f"The budget must be at least {least:.2g} FLOPs, which the smallest model needs for its best number of "
            f"tokens; got {flops:.2g}. Choose a larger budget, or a smaller --vocab-size or --context."
        )
    return run_of_depth(depth_of_budget(flops, vocab_size, context), flops, vocab_size, context, law)


def _cost(config: ModelConfig, context: int) -> int:
    """Return the FLOPs of training a shape on its best number of tokens."""
    return tokens_of_shape(config) * config.flops_per_token(context)


def run_of_depth(depth: int, flops: float, vocab_size: int, context: int, law: ScalingLaw | None = None) -> Plan:
    """Return the run of a model of `depth` layers that spends a budget of training FLOPs."""
    config = shape_of_depth(depth, vocab_size, context)
    tokens = flops / config.flops_per_token(context)
    rows = rows_of_tokens(round(tokens), context)
    steps = max(1, round(tokens / (rows * context)))
    whole = steps * rows * context
    loss = None if law is None else float(law.loss(config.matmul_parameters, whole))
    return Plan(config, context, whole, rows, steps, loss)


@dataclass(frozen=True)
class Alternative:
    """A smaller model that is trained on more tokens."""

    plan: Plan
    extra: float
    """Training FLOPs over those of the best shape."""
    pays_after: float
    """Tokens to serve after which training and serving together cost less than with the best shape."""


def smaller(best: Plan, law: ScalingLaw, count: int = 4) -> Sequence[Alternative]:
    """Return smaller shapes that reach the loss of the best one, with more tokens (Sardana et al. 2023).

    Depths whose models never reach it by the law are left out.
    """
    assert best.loss is not None
    found = []
    for depth in range(best.config.layers - 1, max(0, best.config.layers - 1 - count), -1):
        config = shape_of_depth(depth, best.config.vocab_size, best.row_tokens)
        tokens = law.tokens_for(best.loss, config.matmul_parameters)
        flops = tokens * config.flops_per_token(best.row_tokens)
        if flops > 1000 * best.flops:
            continue
        plan = run_of_depth(depth, flops, best.config.vocab_size, best.row_tokens, law)
        saved = best.serving_flops - plan.serving_flops
        found.append(Alternative(plan, plan.flops / best.flops, max(0.0, plan.flops - best.flops) / saved))
    return found
