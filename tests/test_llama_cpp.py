"""Exported models run in llama.cpp, and give what ours give."""

from pathlib import Path
from typing import Any

import pytest
import torch
import xllamacpp

from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.weights.folder import model_of
from sayso.weights.gguf.read import read_gguf
from sayso.weights.gguf.write import write_gguf

TEXTS = ["Once upon a time there was an old fox, and it said: don't run! 42 times."] * 5
VOCABULARY = 320


def served(path: Path) -> Any:
    """Open a file in llama.cpp's own server, without its chatter."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx, settings.n_parallel, settings.warmup = 128, 1, False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.verbosity = -1
    return xllamacpp.Server(settings)


def next_logprobs(server: Any, ids: list[int]) -> torch.Tensor:
    """Return llama.cpp's log-probabilities [V] of the token after `ids`."""
    asked = {"prompt": ids, "max_tokens": 1, "logprobs": VOCABULARY, "temperature": 0.0}
    (choice,) = server.handle_completions(asked)["choices"]
    found = torch.full((VOCABULARY,), -torch.inf)
    for one in choice["logprobs"]["content"][0]["top_logprobs"]:
        found[one["id"]] = one["logprob"]
    return found


@pytest.mark.parametrize(("kind", "near"), [("f16", 0.005), ("q8_0", 0.04), ("q4_0", 0.04)])
def test_llama_cpp_gives_the_same_next_tokens(kind: str, near: float, tmp_path: Path) -> None:
    """Up to its own rounding: of what it multiplies to 16 bits, and to 8 where weights are quantised."""
    config = ModelConfig(VOCABULARY, 2, 64, 4, 2, 16, 96, context=64)
    model, generator = Transformer(config).eval(), torch.Generator().manual_seed(2)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.1, generator=generator)
    tokenizer = train("bpe", TEXTS, VOCABULARY)
    path = tmp_path / "model.gguf"
    write_gguf(model, tokenizer, path, kind, "model")
    config, state, _ = read_gguf(path)
    ours = model_of(config, state, path)
    ids = [tokenizer.specials["<|bos|>"], *tokenizer.encode(TEXTS[0])][:40]
    with torch.inference_mode():
        wanted = ours(torch.tensor([ids])).log_softmax(-1)[0]
    server = served(path)
    for end in (1, 7, len(ids)):
        found = next_logprobs(server, ids[:end])
        told = found.isfinite()
        assert told.sum() >= VOCABULARY - 1
        assert (found - wanted[end - 1])[told].abs().mean() < near
