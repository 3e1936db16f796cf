"""Time to loss on a CPU: how long ours trains to reach the held-out loss per character at which the peer ends.

    make bench NAME=time_to_loss TEXT=tinyshakespeare.txt

The peer is a GPT-2 of `transformers` with the well-known small recipe for characters: 4 layers, 4 heads, 128 wide, 12
rows of 64, AdamW from 1e-3 to 1e-4 by a cosine, 2,000 steps. Both read the same nine tenths of the text, use the same
threads, and are scored on the last tenth, in windows of their own context. The clock includes the creation of the
model, warm-up and processes, but not scoring. Ours is the fastest recipe (n-gram embeddings, ReLU squared, Muon, a
linear decay to zero), trained from scratch for each horizon.
"""

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers

from bench.clock import Clock, TimeUp
from bench.harness import parser, result, say, sized
from bench.peer import adamw, gpt2
from sayso.base.device import pick_device
from sayso.batch.shards import Shards, write_shards
from sayso.batch.text import TextBatches
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.dial import with_ngrams
from sayso.train.layout import Layout
from sayso.train.loop import Hooks, State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.world import story

PEER_STEPS, PEER_ROWS, PEER_CONTEXT, WARMUP = sized((2_000, 12, 64, 100), (3, 2, 16, 1))
ROWS, CONTEXT = sized((8, 256), (2, 32))
HORIZONS = sized((40, 60, 80, 100, 150, 200, 300, 400), (1, 2))  # steps; the first that reaches the target counts
OURS = sized(
    {"layers": 3, "width": 128, "heads": 4, "kv_heads": 4, "head_size": 32, "mlp_width": 512, "mlp": "relu2"},
    {"layers": 1, "width": 32, "heads": 1, "kv_heads": 1, "head_size": 32, "mlp_width": 64, "mlp": "relu2"},
)
PART = 4_001  # characters of a document: in another order each epoch, so that rows begin elsewhere
RATES = Rates(matrix=0.0163, weight_decay=0.3)  # 0.04 at this width
Logits = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    """Train the peer, then ours with growing horizons until it is as good, then ours for as long as the peer."""
    arguments = parser("time_to_loss")
    arguments.add_argument("text", type=Path, nargs=sized(None, "?"), help="text file; its last tenth is held out")
    path = arguments.parse_args().text
    text = path.read_text(encoding="utf-8") if path else "\n".join(story(0, index, "train") for index in range(10))
    device = pick_device("cpu")
    processes = sized(device.threads, 1)
    letters = {letter: number for number, letter in enumerate(sorted(set(text)))}
    ids = torch.tensor([letters[letter] for letter in text])
    learn, held = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
    seconds, target = peer(learn, held, len(letters))
    say(f"peer: {target:.4f} nats per character after {seconds:.1f} s")
    horizons = []
    for steps in HORIZONS:
        horizons.append((steps, *ours(learn, held, len(letters), Schedule(steps, decay=1.0), processes)))
        say(f"ours: {steps} steps, {horizons[-1][1]:.1f} s, {horizons[-1][2]:.4f}")
        if horizons[-1][2] <= target:
            break
    _, needed, reached = horizons[-1]
    full = ours(learn, held, len(letters), Clock(10**9, decay=1.0, seconds=seconds), processes)
    result(
        "time_to_loss", "runs in the peer's time", seconds / needed if reached <= target else math.nan, 1.0,
        peer_name=f"transformers {transformers.__version__} GPT-2", peer_seconds=round(seconds, 1),
        peer_loss=round(target, 4), our_seconds=round(needed, 1), our_loss=round(reached, 4),
        horizons=[[steps, round(took, 1), round(loss, 4)] for steps, took, loss in horizons],
        as_long_as_the_peer={"seconds": round(full[0], 1), "loss": round(full[1], 4)},
        shape=OURS, rows=ROWS, context=CONTEXT, threads=device.threads, torch=torch.__version__,
    )  # fmt: skip


def ours(
    learn: torch.Tensor, held: torch.Tensor, vocab_size: int, schedule: Schedule, processes: int
) -> tuple[float, float]:
    """Train ours to the end of a schedule; return the seconds and the held-out loss in nats per character."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        parts = (part.tolist() for part in learn.split(PART))
        write_shards(Path(folder) / "learn", parts, vocab_size, tokenizer="characters")
        batches = TextBatches(Shards.open(Path(folder) / "learn"), ROWS, CONTEXT, seed=0)
    config = with_ngrams(ModelConfig(vocab_size=vocab_size, context=CONTEXT, **OURS))
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    state = State(model, make_optimizers(model, RATES))
    layout = Layout(processes, processes)
    show = schedule.check if isinstance(schedule, Clock) else lambda _: None
    with suppress(TimeUp):
        train(state, layout.of(batches), batch_loss, schedule, Hooks(show=show), processes=processes)
    return time.perf_counter() - began, score(model.eval(), held, CONTEXT)


def peer(learn: torch.Tensor, held: torch.Tensor, vocab_size: int) -> tuple[float, float]:
    """Train the peer; return the seconds and the held-out loss in nats per character."""
    began = time.perf_counter()
    torch.manual_seed(0)
    model = gpt2(vocab_size, *sized((4, 128, 4), (1, 32, 1)), PEER_CONTEXT)
    optimizer = adamw(model, 1e-3, beta=0.99)
    for step in range(PEER_STEPS):
        fall = max(0.0, step - WARMUP) / (PEER_STEPS - WARMUP)
        rate = 1e-3 * (step + 1) / WARMUP if step < WARMUP else 1e-4 + 4.5e-4 * (1 + math.cos(math.pi * fall))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = windows(learn, PEER_ROWS, PEER_CONTEXT, torch.Generator().manual_seed(step))
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - began
    return seconds, score(lambda ids: model(input_ids=ids, use_cache=False).logits, held, PEER_CONTEXT)


def windows(ids: torch.Tensor, rows: int, context: int, generator: torch.Generator) -> torch.Tensor:
    """Return `rows` windows [rows, context + 1] of the text at random positions."""
    starts = torch.randint(len(ids) - context - 1, (rows, 1), generator=generator)
    return ids[starts + torch.arange(context + 1)]


@torch.inference_mode()
def score(logits: Logits, held: torch.Tensor, context: int) -> float:
    """Return the mean nats per character of the held-out text, split into consecutive windows of `context`."""
    count = (len(held) - 1) // context
    inputs = held[: count * context].view(count, context)
    targets = held[1 : count * context + 1].view(count, context)
    pairs = zip(inputs.split(64), targets.split(64), strict=True)
    total = sum(F.cross_entropy(logits(x).flatten(0, 1), y.flatten(), reduction="sum") for x, y in pairs)
    return float(total) / (count * context)


if __name__ == "__main__":
    main()
