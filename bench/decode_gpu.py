"""Decode on a GPU in bfloat16: one stream and 256, against `transformers`, and the share of the memory speed.

    python -m bench.decode_gpu                        # a random model of 1.2B weights, on CUDA
    python -m bench.decode_gpu --tiny                 # the same code, small, on the CPU

Greedy, 128 tokens after 64. Ours is measured as the serving engine, and as its recorded passes alone (hidden states,
head and argmax, no bookkeeping). MBU is the data that a step must read (weights once, keys and values of every stream)
relative to what the memory can read, by a large copy here and by the data sheet. `transformers` decodes with the
defaults of `generate`; it is skipped if it is not installed.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from bench.harness import parser, result, rounded, say, sized, turns
from bench.train_gpu import copy_bandwidth, finish
from sayso.base.device import pick_device
from sayso.model import ModelConfig, Transformer
from sayso.sample.blocks import blocks_for
from sayso.sample.engine import Engine
from sayso.sample.graphs import GraphRunner
from sayso.sample.pages import Pages, bytes_per_token
from sayso.sample.request import Request
from sayso.sample.runner import Chunk
from sayso.sample.sampling import Sampling

PROMPT = 64
NEW, ROUNDS, STREAMS, VOCABULARY = sized((128, 3, (1, 256), 50_304), (4, 1, (1, 3), 512))
SHAPE = sized(
    {"layers": 16, "width": 2048, "heads": 32, "kv_heads": 8, "head_size": 64, "mlp_width": 8192, "context": 2048},
    {"layers": 2, "width": 64, "heads": 2, "kv_heads": 1, "head_size": 32, "mlp_width": 128, "context": 256},
)
NOMINAL = {"H200": 4.8e12, "H100": 3.35e12, "A100": 2.04e12, "B200": 8.0e12, "L40S": 0.864e12}
"""Bytes per second by the data sheets (SXM if there are several)."""


def main() -> None:
    """Race one stream, then many."""
    arguments = parser("decode_gpu")
    arguments.add_argument("--device", default=sized("cuda", "cpu"), choices=("cuda", "cpu"))
    device = torch.device(pick_device(arguments.parse_args().device).kind)
    model = random_model(SHAPE, VOCABULARY, device)
    peer = their_model(model)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    nominal = next((value for kind, value in NOMINAL.items() if kind in name), None)
    limits = {"copy": copy_bandwidth(device), "data_sheet": nominal}
    found = {rows: raced(model, peer, rows, limits) for rows in STREAMS}
    first = found[STREAMS[0]]["tokens_s"]
    result(
        "decode_gpu", "tokens/s of one stream", first["engine"], first.get("transformers", float("nan")),
        streams=found, weights=sum(weight.numel() for weight in model.parameters()), device=name,
        copy_gb_s=round(limits["copy"] / 1e9, 1), nominal_gb_s=nominal and nominal / 1e9, prompt=PROMPT, new_tokens=NEW,
        peer_name=f"transformers {peer[1]}" if peer else "transformers is not installed", torch=torch.__version__,
    )  # fmt: skip


def random_model(shape: dict[str, int], vocabulary: int, device: torch.device) -> Transformer:
    """Return a model in bfloat16 without zero weights."""
    with torch.device(device):
        model = Transformer(ModelConfig(vocab_size=vocabulary, **shape))
    generator = torch.Generator(device).manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.02, generator=generator)
    return model.to(torch.bfloat16).eval()


def raced(
    model: Transformer, peer: tuple[Any, str] | None, rows: int, limits: dict[str, float | None]
) -> dict[str, Any]:
    """Return the total tokens per second of each side, and its share of the memory speed."""
    generator = torch.Generator().manual_seed(rows)
    prompts = torch.randint(5, model.config.vocab_size, (rows, PROMPT), generator=generator).tolist()
    sides = {"engine": engine(model, prompts, NEW), "passes": passes(model, prompts, NEW)}
    if peer is not None:
        sides["transformers"] = theirs(peer[0], prompts, NEW)
    speeds = turns(sides, rounds=ROUNDS, label=f"{rows} streams")
    read = bytes_read(model, rows, PROMPT + NEW / 2)
    mbu = {
        f"{side}_of_{kind}": speed / rows * read / limit
        for side, speed in speeds.items()
        for kind, limit in limits.items()
        if limit
    }
    return {"tokens_s": rounded(speeds), "mbu": rounded(mbu), "bytes_read_a_step": round(read)}


def bytes_read(model: Transformer, rows: int, seen: float) -> float:
    """Return the bytes that a step must read: each weight once, except the embedding, and the cache."""
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    weights -= model.embed.weight.numel() * model.embed.weight.element_size()
    return weights + rows * seen * bytes_per_token(model.config, model.dtype)


def engine(model: Transformer, prompts: list[list[int]], new: int) -> Callable[[], float]:
    """Return a function that decodes with the engine and returns tokens per second after each stream's first."""
    rows = len(prompts)
    room = rows * blocks_for(PROMPT + new) * 16
    ours = Engine(model, rows=rows, tokens=room, pass_tokens=max(4096, rows), reuse=False)

    def work() -> float:
        requests = [Request(prompt, Sampling(temperature=0, max_tokens=new)) for prompt in prompts]
        for request in requests:
            ours.add(request)
        while not all(request.ids for request in requests):
            ours.step()
        finish(model.device)
        began, before = time.perf_counter(), ours.counts.reply_tokens
        while not ours.idle:
            ours.step()
        return (ours.counts.reply_tokens - before) / (time.perf_counter() - began)

    return work


@torch.inference_mode()
def passes(model: Transformer, prompts: list[list[int]], new: int) -> Callable[[], float]:
    """Return a function that runs the recorded passes one after another, greedily, and returns their speed."""
    rows, each = len(prompts), blocks_for(PROMPT + new)
    runner = GraphRunner(model, Pages(model.config, rows * each, model.device, model.dtype))
    runner.pages.clear(range(rows * each))
    tables = [list(range(row * each, (row + 1) * each)) for row in range(rows)]

    def work() -> float:
        ends = []
        for prompt, table in zip(prompts, tables, strict=True):  # one by one: only decoding is timed
            ends.append(runner.hidden([Chunk(prompt, 0, table)])[-1])
        ids = runner.head(torch.stack(ends)).argmax(-1).tolist()
        began = time.perf_counter()
        for place in range(PROMPT, PROMPT + new - 1):
            chunks = [Chunk([token], place, table) for token, table in zip(ids, tables, strict=True)]
            ids = runner.head(runner.hidden(chunks)).argmax(-1).tolist()
        return rows * (new - 1) / (time.perf_counter() - began)

    return work


def their_model(model: Transformer) -> tuple[Any, str] | None:
    """Return the peer with the same weights and its version, or None, with a message, if it is not installed."""
    if find_spec("transformers") is None:
        say("transformers is not installed; measuring ours only")
        return None
    import transformers

    from bench.peer import peer_of

    peer = peer_of(model).to(model.device, model.dtype).eval()
    return peer, transformers.__version__


def theirs(peer: Any, prompts: list[list[int]], new: int) -> Callable[[], float]:
    """Return a function that decodes with the peer and returns its speed, without the time for the prompts."""
    ids = torch.tensor(prompts, device=peer.device)

    def taken(tokens: int) -> float:
        finish(peer.device)
        began = time.perf_counter()
        with torch.inference_mode():
            peer.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=tokens,
                max_new_tokens=tokens, eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        finish(peer.device)
        return time.perf_counter() - began

    def work() -> float:
        first = taken(1)
        return len(prompts) * (new - 1) / (taken(new) - first)

    return work


if __name__ == "__main__":
    main()
