"""Estimate of the memory of a training step, from the model's shape and the length of a row.

It counts the tensors that autograd keeps for the backward pass, block by block; the number of rows that fit follows.
"""

import torch

from sayso.base.device import peak_memory_mb
from sayso.loss.cross_entropy import CHUNK
from sayso.model import ModelConfig
from sayso.model.config import GATED

_FLOAT = 4  # bytes; weights, gradients and moments are float32 whatever the precision
BYTES = {"fp32": 4.0, "bf16": 2.7}  # per kept value: in bf16 the residual stream and its norms stay float32
_LOGITS = 3  # tensors of a chunk's size at once: logits, softmax, and a copy for one of the two products
SPARE = 0.9  # usable share of the free memory
GAPS, GAPS_RECOMPUTING = 1.4, 2.7  # heap overhead of glibc, see LOG.md


def activation_bytes(config: ModelConfig, tokens: int, precision: str = "fp32", *, recompute: bool = False) -> int:
    """Return the bytes that a row of `tokens` keeps from the forward pass until its backward pass.

    With `recompute` each block keeps its input, and one block at a time keeps the rest.
    """
    queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
    feed_forward = (4 if config.mlp in GATED else 2) * config.mlp_width
    # two norms with the input of a product (4 C), two more (2 C); normed queries and keys; inputs, outputs and
    # reordered outputs of attention
    norms = (6 if config.norm_place == "both" else 4) * config.width
    normed = 0 if config.qk_norm == "none" else queries + keys
    block = norms + normed + (queries + 2 * keys) + 2 * queries + feed_forward
    ends = 4 * config.width + 2 * config.head_size  # the last norm, the gradient kept by the loss, sines and cosines
    values = config.layers * config.width + block if recompute else config.layers * block
    return round(tokens * (values + ends) * BYTES[precision])


def fixed_bytes(config: ModelConfig, processes: int = 1, device: str = "cpu") -> int:
    """Return the bytes of a step that do not depend on its rows: gradients, moments, a copy of the weights, logits.

    The weights themselves are already allocated.
    """
    rows = len(config.ngrams) * config.ngram_rows + (config.context if config.positions == "learned" else 0)
    tables = rows * config.width
    parameters = config.matmul_parameters + (0 if config.tie_embeddings else config.head_parameters) + tables
    chunk = _LOGITS * _FLOAT * max(CHUNK.get(device, CHUNK["cpu"]), config.vocab_size)
    per_process = 2 * _FLOAT * parameters + chunk  # gradients, the process's own and the shared ones
    return processes * per_process + 3 * _FLOAT * parameters


def rows_that_fit(
    free: int,
    config: ModelConfig,
    tokens: int,
    processes: int = 1,
    precision: str = "fp32",
    device: str = "cpu",
    *,
    recompute: bool = False,
) -> int:
    """Return how many rows each process can compute at once in `free` bytes; 0 if none fits."""
    left = SPARE * free - fixed_bytes(config, processes, device)
    row = activation_bytes(config, tokens, precision, recompute=recompute)
    return max(0, int(left / (processes * row * (GAPS_RECOMPUTING if recompute else GAPS))))


def memory_mb(kind: str) -> float:
    """Return the peak memory of this process so far in MB: that of the GPU on "cuda", else the resident memory."""
    return torch.cuda.max_memory_allocated() / 2**20 if kind == "cuda" else peak_memory_mb()
