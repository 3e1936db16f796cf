"""Passes that are recorded: the same text as without, in a few sizes."""

from dataclasses import replace
from random import Random

import pytest
import torch

from sayso.model import ModelConfig, Transformer
from sayso.sample.engine import Engine
from sayso.sample.graphs import GraphRunner, power
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling

SHAPE = ModelConfig(
    vocab_size=61, layers=2, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=64, context=200, windows=(0, 20)
)

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def replied(engine: Engine) -> list[list[int]]:
    """What is said after prompts of unequal length, some of which end early."""
    random = Random(0)
    prompts = [[random.randrange(61) for _ in range(random.randint(1, 90))] for _ in range(11)]
    sampling = Sampling(seed=1, max_tokens=60)
    device = engine.model.device.type
    requests = [Request(prompt, sampling, index, frozenset({3})) for index, prompt in enumerate(prompts)]
    for request in requests:
        engine.add(request)
    while not engine.idle:
        engine.step()
    assert device == engine.pages.keys[0].device.type
    return [request.ids for request in requests]


@pytest.mark.parametrize("ngrams", [(), (2, 3)], ids=["plain", "n-grams"])
@pytest.mark.parametrize("cache_bits", [0, 8])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, CUDA])])
def test_the_text_is_the_same(ngrams: tuple[int, ...], cache_bits: int, device: str) -> None:
    """Rows that come and go, and grow over many blocks, say what they say in passes of their very size."""
    model, generator = Transformer(replace(SHAPE, ngrams=ngrams, ngram_rows=300)), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.normal_(std=0.25, generator=generator)
    model = model.to(device).eval()
    plain = replied(Engine(model, rows=6, cache_bits=cache_bits))
    engine = Engine(model, rows=6, cache_bits=cache_bits)
    runner = engine.runners[""] = GraphRunner(model, engine.pages)
    assert replied(engine) == plain
    sizes = {size for pair in runner.passes for size in pair}
    assert sizes <= {1, 2, 4, 8, 16}
    assert 1 < len(runner.passes) < 20


def test_powers() -> None:
    """Sizes are rounded up to powers of two."""
    assert [power(number) for number in (1, 2, 3, 4, 5, 64, 65)] == [1, 2, 4, 4, 8, 64, 128]
