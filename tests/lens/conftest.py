"""Small models of every kind that a config allows, with random weights, and rows of ids with repeated tokens."""

from dataclasses import replace

import pytest
import torch

from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, add_lora
from sayso.model.config import Rope
from sayso.weights.quantize.integers import Grid
from sayso.weights.quantize.quantize import QuantizeMethod, quantize_model
from sayso.weights.quantize.scheme import Scheme

OURS = ModelConfig(vocab_size=50, layers=3, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=64, context=32)
ALL_BIASES = ("qkv", "out", "mlp")
SHAPES = {
    "ours": OURS,
    "ngrams and shift": replace(OURS, ngrams=(2, 3), ngram_rows=40, shift=2, mlp="relu2"),
    "gpt2": replace(
        OURS, kv_heads=4, mlp="gelu", positions="learned", norm="layer", qk_norm="none", tie_embeddings=True,
        biases=ALL_BIASES,
    ),
    "gemma2": replace(
        OURS, norm_place="both", mlp="geglu", qk_norm="none", attention_cap=2.0, logit_cap=3.0, embed_scale=5.0,
        windows=(4, 0),
    ),
    "gemma3": replace(OURS, norm_place="both", mlp="geglu", windows=(4, 4, 0), rope=Rope(local_theta=100.0)),
    "olmo2": replace(OURS, norm_place="post", qk_norm="whole"),
    "smollm3": replace(OURS, qk_norm="none", rope=Rope("linear", 2.0, nope_layers=(1,))),
    "qwen2": replace(OURS, qk_norm="none", biases=("qkv",)),
    "no positions": replace(OURS, positions="none", norm="layer", norm_place="post", biases=ALL_BIASES, kv_heads=1),
}  # fmt: skip
QUANTIZED = {
    "8 bits": Scheme(Grid(8)),
    "4 bits": Scheme(Grid(4, 32, symmetric=False)),
    "8 bits and head": Scheme(Grid(8), ends8=True),
    "8 bits and inputs": Scheme(Grid(8), inputs8=True),
}


def made(config: ModelConfig, seed: int = 0) -> Transformer:
    """Return a model whose weights are all random, also those that are initialized to zero or one."""
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(config).initialize(generator)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.fixture(params=SHAPES, ids=lambda name: name.replace(" ", "-"))
def network(request: pytest.FixtureRequest) -> Transformer:
    """A model of each kind, in floating point."""
    return made(SHAPES[request.param])


@pytest.fixture(params=[*SHAPES, *QUANTIZED, "adapted"], ids=lambda name: name.replace(" ", "-"))
def any_network(request: pytest.FixtureRequest) -> Transformer:
    """A model of each kind, also quantized and with an adapter."""
    if request.param in SHAPES:
        return made(SHAPES[request.param])
    model = made(replace(OURS, biases=("qkv",)))
    if request.param in QUANTIZED:
        quantize_model(model, QUANTIZED[request.param], QuantizeMethod())
        return model
    add_lora(model, LoRA(3, 8.0, ()), torch.Generator().manual_seed(1))
    for name, weight in model.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return model


@pytest.fixture
def ours() -> Transformer:
    """A model of the shape that Sayso trains."""
    return made(OURS)


@pytest.fixture
def gpt2() -> Transformer:
    """A model of GPT-2's shape."""
    return made(SHAPES["gpt2"])


@pytest.fixture
def reward() -> Transformer:
    """A reward model."""
    from sayso.model.score import add_score

    return add_score(made(OURS), torch.Generator().manual_seed(2))


@pytest.fixture
def ids() -> torch.Tensor:
    """Rows [2, 12] with repeated tokens."""
    return torch.tensor([[7, 3, 9, 3, 9, 1, 7, 3, 9, 30, 30, 2], [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]])
