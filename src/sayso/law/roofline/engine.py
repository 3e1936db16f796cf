"""Predicts and measures the steps of the engine on a CPU, whose products run in the native pass.

A step reads all weights once for all rows, and each row's keys and values:

    seconds = a + b * layers + c(W, rows) * W + K / bandwidth, for W bytes of weights and K bytes of keys and values

a and b are measured with models of next to no weights, c with heads of several sizes, alone.
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch

from sayso.law.roofline.machine import seconds_of
from sayso.model import ModelConfig, Transformer
from sayso.sample.generate import new_engine
from sayso.sample.native import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling

WEIGHTS = (2**18, 2**20, 2**22, 2**24)
"""Weights of the heads that are measured; the last are 64 MiB."""
ROWS = (1, 4, 16)
STEPS = 64
_WIDTH, _SMALL = 512, 32
_NUMBER = 4  # bytes of a weight


@dataclass(frozen=True)
class EngineCosts:
    """What a step of the engine costs, by the number of rows (`ROWS`)."""

    start: Mapping[int, float]
    """Seconds of a step without layers."""
    layer: Mapping[int, float]
    """Seconds of a layer of next to no weights."""
    reading: Mapping[int, Sequence[tuple[int, float]]]
    """Seconds per byte of weights, by their bytes."""
    bandwidth: float
    """Bytes of keys and values per second."""


def measure_engine(bandwidth: float) -> EngineCosts:
    """Measure the engine with models of few weights, and with heads alone."""
    start, layer, reading = {}, {}, {}
    for rows in ROWS:
        one, nine = (engine_step(_tiny(layers), rows, 16) for layers in (1, 9))
        layer[rows] = max(0.0, (nine - one) / 8)
        start[rows] = max(0.0, one - layer[rows])
        reading[rows] = [(_NUMBER * weights, _reading(weights, rows)) for weights in WEIGHTS]
    return EngineCosts(start, layer, reading, bandwidth)


def predict_engine(config: ModelConfig, rows: int, context: int, costs: EngineCosts) -> float:
    """Return the seconds of a step for `rows` rows, one of `ROWS`, that have `context` tokens each."""
    weights = _NUMBER * config.matmul_parameters
    kept = 2 * sum(min(context, window or context) for window in config.layer_windows)
    kept_bytes = _NUMBER * rows * kept * config.kv_heads * config.head_size
    per_byte = _between(costs.reading[rows], weights)
    return costs.start[rows] + config.layers * costs.layer[rows] + weights * per_byte + kept_bytes / costs.bandwidth


def engine_step(model: Transformer, rows: int, context: int, steps: int = STEPS) -> float:
    """Measure the median seconds of a step of the engine, in which each row gets a token after `context` others."""
    sampling = Sampling(temperature=0, max_tokens=steps + 2)
    assert context + sampling.max_tokens <= model.config.context, "all rows must last to the last step"
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(3, model.config.vocab_size, (rows, context), generator=generator).tolist()
    engine = new_engine(model, context, sampling, rows)
    requests = [Request(prompt, sampling, index) for index, prompt in enumerate(prompts)]
    for request in requests:
        engine.add(request)
    while not all(request.ids for request in requests):
        engine.step()
    times = []
    while all(len(request.ids) < sampling.max_tokens - 1 for request in requests):
        began = time.perf_counter()
        engine.step()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _reading(weights: int, rows: int) -> float:
    """Return the seconds per byte of a product with that many weights in the native pass."""
    config = ModelConfig(weights // _WIDTH, 1, _WIDTH, 8, 8, 64, 64, context=64)
    model = Transformer(config).initialize(torch.Generator().manual_seed(0)).eval()
    runner = NativeRunner(model, Pages(config, 1, torch.device("cpu"), torch.float32))
    return seconds_of(partial(runner.head, torch.randn(rows, _WIDTH))) / (_NUMBER * weights)


def _tiny(layers: int) -> Transformer:
    config = ModelConfig(512, layers, _SMALL, 2, 2, 16, 32, context=256)
    return Transformer(config).initialize(torch.Generator().manual_seed(0)).eval()


def _between(points: Sequence[tuple[int, float]], at: int) -> float:
    """Return the value between points, linear in the logarithm of `at`, constant beyond both ends."""
    if at <= points[0][0]:
        return points[0][1]
    for (low, before), (high, after) in pairwise(points):
        if at <= high:
            share = math.log(at / low) / math.log(high / low)
            return (1 - share) * before + share * after
    return points[-1][1]
