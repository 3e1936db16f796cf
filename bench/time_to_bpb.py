"""Bits per byte after equal time on a CPU: ours against a GPT-2 of `transformers` at the best of 3 learning rates.

    make bench NAME=time_to_bpb TEXT="train.jsonl val.jsonl --minutes 10"

Both are trained on the same documents (rows with "text") with the same byte-pair tokenizer, layers, width, heads,
context and batch, and are scored on the first 100,000 bytes of each held-out document, in windows of their context. A
side is one process with one thread; two run at the same time, so that other load affects both. The clock includes the
creation of the model; learning rates decay by the clock, the peer's by a cosine to a tenth (AdamW, as in nanoGPT), ours
linearly to zero: the fastest recipe, and with --standard the other one too.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers

from bench.clock import Clock, TimeUp
from bench.harness import parser, result, run_each, say, sized
from bench.peer import adamw, gpt2
from sayso.batch.shards import Shards, write_shards
from sayso.batch.text import TextBatches
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.token.load import load
from sayso.token.train import train as train_tokenizer
from sayso.train.dial import with_ngrams
from sayso.train.loop import Hooks, State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.world import story

VOCABULARY, TOKENIZER_BYTES, HELD_BYTES = sized((4096, 4_000_000, 100_000), (300, 4_000, 200))
ROWS, CONTEXT, WARMUP = sized((8, 256, 20), (2, 16, 1))
LAYERS, WIDTH, HEADS = sized((4, 128, 4), (1, 32, 2))
RATES = sized((1e-3, 3e-3, 6e-3), (1e-3,))  # learning rates of the peer
Logits = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    """Train the sides, two at a time."""
    arguments = parser("time_to_bpb")
    arguments.add_argument(
        "learn", type=Path, nargs=sized(None, "?"), help='JSON Lines file to train on, rows with "text"'
    )
    arguments.add_argument("held", type=Path, nargs=sized(None, "?"), help="JSON Lines file to score on")
    arguments.add_argument("--minutes", type=float, default=sized(10.0, 0.002), help="training time of each side")
    arguments.add_argument("--standard", action="store_true", help="also train the recipe that other programs can open")
    options = arguments.parse_args()
    sides = {"fastest": ("fastest", 0.0), **{f"peer {rate:g}": ("peer", rate) for rate in RATES}}
    if options.standard:
        sides["standard"] = ("standard", 0.0)
    with tempfile.TemporaryDirectory() as name:
        prepare(options.learn, options.held, Path(name))
        jobs = [(side, *how, Path(name), 60 * options.minutes) for side, how in sides.items()]
        found = dict(run_each(train_side, jobs, processes=2))
    best = min((side for side in found if side.startswith("peer")), key=lambda side: found[side]["bits_per_byte"])
    ours, peer = found["fastest"]["bits_per_byte"], found[best]["bits_per_byte"]
    result(
        "time_to_bpb", "bytes/bit", 1 / ours, 1 / peer, peer_name=f"transformers {transformers.__version__} GPT-2",
        lower_by=round(1 - ours / peer, 4), best=best, sides=found, minutes=options.minutes, threads=1,
        layers=LAYERS, width=WIDTH, heads=HEADS, rows=ROWS, context=CONTEXT, torch=torch.__version__,
    )  # fmt: skip


def texts(path: Path | None) -> Iterator[str]:
    """Yield the documents of a file, or stories of the small world if there is none (`--tiny`)."""
    if path is None:
        yield from (story(0, index, "train") for index in range(20))
        return
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line)["text"] for line in file)


def prepare(learn: Path | None, held: Path | None, folder: Path) -> None:
    """Write the tokenizer, and the training and held-out documents as shards."""
    sample, size = [], 0
    for text in texts(learn):
        sample.append(text[: TOKENIZER_BYTES // 50])
        size += len(sample[-1])
        if size > TOKENIZER_BYTES:
            break
    train_tokenizer("bpe", sample, VOCABULARY).save(folder / "tokenizer")
    tokenizer = load(folder / "tokenizer")
    for name, path, most in (("learn", learn, None), ("held", held, HELD_BYTES)):
        kept = [text if most is None else text.encode()[:most].decode(errors="ignore") for text in texts(path)]
        write_shards(folder / name, tokenizer.encode_batch(kept), tokenizer.vocab_size, tokenizer="")
        (folder / f"{name}.bytes").write_text(str(sum(len(text.encode()) for text in kept)))


def train_side(side: str, kind: str, rate: float, folder: Path, seconds: float) -> tuple[str, dict[str, float]]:
    """Train one side for `seconds`; return its name, bits per byte and number of training tokens."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    batches = TextBatches(Shards.open(folder / "learn"), ROWS, CONTEXT, seed=0)
    logits, tokens = theirs(batches, rate, seconds) if kind == "peer" else ours(batches, kind, seconds)
    bits = score(logits, Shards.open(folder / "held")) / int((folder / "held.bytes").read_text())
    say(f"{side}: {bits:.4f} bits per byte after {tokens:,} tokens")
    return side, {"bits_per_byte": round(bits, 4), "tokens": tokens}


def ours(batches: TextBatches, recipe: str, seconds: float) -> tuple[Logits, int]:
    """Train ours; return its logits function, and the number of training tokens."""
    clock = Clock(10**9, warmup=WARMUP, seconds=seconds)
    fastest = recipe == "fastest"
    config = ModelConfig(
        VOCABULARY, LAYERS, WIDTH, HEADS, HEADS, WIDTH // HEADS, 4 * WIDTH if fastest else sized(352, 64),
        context=CONTEXT, mlp="relu2" if fastest else "swiglu", rope_theta=1e6,
    )  # fmt: skip
    config = with_ngrams(config) if fastest else config
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    state = State(model, make_optimizers(model, Rates()))
    with suppress(TimeUp):
        train(state, lambda step: [batches.batch(step)], batch_loss, clock, Hooks(show=clock.check))
    return model.eval(), state.tokens


def theirs(batches: TextBatches, rate: float, seconds: float) -> tuple[Logits, int]:
    """Train the peer; return its logits function, and the number of training tokens."""
    clock = Clock(10**9, warmup=WARMUP, seconds=seconds, floor=0.1, cosine=True)
    model = gpt2(VOCABULARY, LAYERS, WIDTH, HEADS, CONTEXT)
    optimizer = adamw(model, rate)
    step = 0
    while clock.elapsed() < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * clock.factor(step)
        batch = batches.batch(step)
        logits = model(input_ids=batch.ids, use_cache=False).logits
        F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
    return (lambda ids: model(input_ids=ids, use_cache=False).logits), step * ROWS * CONTEXT


@torch.inference_mode()
def score(logits: Logits, held: Shards) -> float:
    """Return the bits of the held-out documents, each split into consecutive windows."""
    total = 0.0
    for number in range(len(held)):
        ids = torch.tensor(held.document(number).tolist())
        for x, y in zip(ids[:-1].split(CONTEXT), ids[1:].split(CONTEXT), strict=True):
            total += float(F.cross_entropy(logits(x[None])[0].float(), y, reduction="sum"))
    return total / math.log(2)


if __name__ == "__main__":
    main()
