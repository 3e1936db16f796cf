"""Decode one row on a CPU: new tokens per second after a prompt, against llama.cpp at the same number of bits.

Ours runs natively and with torch; `transformers` in float32 as well. Also reported is the share of the memory speed
that float32 reaches: every token reads all weights once, and torch's sum over them measures how fast that can be.
"""

import tempfile
import time
from pathlib import Path

import torch
import transformers
import xllamacpp

from bench.contenders import THREADS, contenders
from bench.harness import parser, result, rounded, sized, turns
from sayso.model import Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import save_model

PROMPT, NEW, ROUNDS = sized((64, 32, 5), (8, 2, 1))


def main() -> None:
    """Race at 32, 8 and 4 bits."""
    parser("decode").parse_args()
    prompt = torch.randint(5, sized(40_000, 300), (PROMPT,), generator=torch.Generator().manual_seed(1)).tolist()
    found = {}
    with contenders() as (model, tokenizer, by_bits):
        for bits, who in by_bits.items():
            sides = {
                "native": lambda who=who: who.native(prompt, NEW)[1],
                "torch": lambda who=who: who.torch(prompt, NEW)[1],
                "llama.cpp": lambda who=who: who.llama_cpp(prompt, NEW)[1],
            }
            if bits == 32:
                peer = their_model(model, tokenizer)
                sides |= {"transformers": lambda peer=peer: theirs(peer, prompt), "memory": lambda: weights_read(model)}
            found[bits] = rounded(turns(sides, rounds=ROUNDS, label=f"{bits} bits"))
    result(
        "decode", "tokens/s of one row, 8 bits", found[8]["native"], found[8]["llama.cpp"],
        peer_name=f"llama.cpp by xllamacpp {xllamacpp.__version__}", by_bits=found,
        ratios={bits: round(one["native"] / one["llama.cpp"], 2) for bits, one in found.items()},
        float32_of_memory=round(found[32]["native"] / found[32]["memory"], 2),
        prompt=PROMPT, new_tokens=NEW, threads=THREADS, torch=torch.__version__,
        transformers=transformers.__version__,
    )  # fmt: skip


def weights_read(model: Transformer) -> float:
    """Return how many times per second all weights can be read."""
    began = time.perf_counter()
    for _ in range(5):
        for weight in model.parameters():
            weight.sum()
    return 5 / (time.perf_counter() - began)


def their_model(model: Transformer, tokenizer: Tokenizer) -> transformers.PreTrainedModel:
    """Return the unquantized model as `transformers` opens it."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, tokenizer, Path(folder) / "model", {})
        return transformers.AutoModelForCausalLM.from_pretrained(Path(folder) / "model", dtype=torch.float32).eval()


def theirs(model: transformers.PreTrainedModel, prompt: list[int]) -> float:
    """Return the new tokens per second of `transformers`, without the time for the prompt."""
    taken = []
    for new in (1, NEW + 1):
        began = time.perf_counter()
        with torch.inference_mode():
            model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=new, eos_token_id=None)
        taken.append(time.perf_counter() - began)
    return NEW / (taken[1] - taken[0])


if __name__ == "__main__":
    main()
