"""Perplexity of exported GGUF files of SmolLM2-135M-Instruct: llama.cpp's and ours on the same file, for each format.

llama.cpp's server returns the log-probabilities of the likeliest next tokens. A text is read token by token, and a
token that is not among the likeliest is skipped on both sides.
"""

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
import xllamacpp

from bench.harness import TINY, parser, result, say, sized
from bench.smollm2 import TEXT, smollm2
from sayso.base.jsonl import BadRows
from sayso.judge.calibration import AMOUNTS
from sayso.text.sources import read_part, resolve
from sayso.weights.gguf.write import write_gguf
from sayso.weights.sources import open_files

TOKENS, LIKELIEST = sized((150, 5_000), (6, 500))
FORMATS = ("f16", "q8_0", "q4_0")


def main() -> None:
    """Export each format, and measure one text with both."""
    parser("gguf_perplexity").parse_args()
    model, tokenizer = smollm2()
    documents = (document for part in resolve("wiki", AMOUNTS).parts for document in read_part(part, BadRows()))
    text = TEXT if TINY else next(documents).text
    ids = [tokenizer.specials["<|bos|>"], *tokenizer.encode(text)][: TOKENS + 1]
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            file = Path(folder) / f"{kind}.gguf"
            write_gguf(model, tokenizer, file, kind, "smollm2")
            reopened, _ = open_files(file)
            with torch.inference_mode():
                ours = reopened(torch.tensor([ids])).log_softmax(-1)[0]
            theirs, counted = llama_cpp_nats(file, ids)
            ours_nats = [-float(ours[place, ids[place + 1]]) for place in counted]
            found[kind] = {
                "ours": round(math.exp(sum(ours_nats) / len(counted)), 3),
                "llama.cpp": round(math.exp(sum(theirs) / len(counted)), 3),
                "tokens": len(counted),
            }
            say(f"{kind}: {found[kind]}")
    first = found["f16"]
    result(
        "gguf_perplexity", "1 / perplexity of the f16 file", 1 / first["ours"], 1 / first["llama.cpp"],
        peer_name=f"llama.cpp by xllamacpp {xllamacpp.__version__}", formats=found, torch=torch.__version__,
    )  # fmt: skip


def llama_cpp_nats(file: Path, ids: list[int]) -> tuple[list[float], list[int]]:
    """Return llama.cpp's nats of the next tokens that it returns, and their positions."""
    settings: Any = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx, settings.n_parallel, settings.warmup, settings.verbosity = 512, 1, False, -1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    server = xllamacpp.Server(settings)
    nats, places = [], []
    for place in range(len(ids) - 1):
        body = {"prompt": ids[: place + 1], "max_tokens": 1, "logprobs": LIKELIEST, "temperature": 0.0}
        (choice,) = server.handle_completions(body)["choices"]
        logprobs = {one["id"]: one["logprob"] for one in choice["logprobs"]["content"][0]["top_logprobs"]}
        if ids[place + 1] in logprobs:
            nats.append(-logprobs[ids[place + 1]])
            places.append(place)
    return nats, places


if __name__ == "__main__":
    main()
