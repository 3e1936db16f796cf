"""Memory of a training step: the peak of all its processes, against the requirement of the shape and `transformers`.

Figures are MB above a process that only imported and created the batch. Float32, P weights, L layers, C width, Q and K
the widths of all query heads and of all key heads, F hidden size of the SwiGLU part, V vocabulary, N = B * T.
The shape requires

    state        4 P (weights) + 4 P (gradients) + 4 (per weight of a matrix in a block) + 8 (per other weight)
    activations  4 N L (4 C + 3 Q + 3 K + 4 F): two streams normalized, before and after their gains; queries and keys
                 normalized and rotated, values, attention output; gate, up, silu(gate) and their product
    recomputed   4 N (L C + one block's share of the above) instead
    loss         4 V C (the head's gradient, before it is added) + 4 N C, and a few chunks of logits, 16 MiB each

but never the 4 N V of all logits, of which the plain loop of the peer holds several copies. Each variant runs in its
own process.
"""

import gc
import multiprocessing
import os
from multiprocessing.connection import Connection

import torch
import transformers

from bench.harness import parser, result, say, sized, start_worker, stop_worker
from bench.memory import Peak, megabytes
from bench.peer import fresh, peer_loss, peer_of
from sayso.base.device import pick_device
from sayso.batch.batch import Batch
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig
from sayso.train.loop import State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

SHAPE = sized(
    {"layers": 6, "width": 384, "heads": 12, "kv_heads": 6, "head_size": 32, "mlp_width": 1024, "context": 512},
    {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_size": 16, "mlp_width": 64, "context": 32},
)
CONFIG = ModelConfig(vocab_size=sized(32_768, 128), **SHAPE)
ROWS, STEPS, FLOAT = sized(8, 2), 2, 4
VARIANTS = ("ours", "recomputed", "two processes", "peer")


def main() -> None:
    """Run each variant; report its memory and the requirement."""
    parser("train_memory").parse_args()
    took = {name: measured(name) for name in VARIANTS}
    needs = {"ours": required(CONFIG, recompute=False), "recomputed": required(CONFIG, recompute=True)}
    tokens = ROWS * CONFIG.context
    result(
        "train_memory", "tokens/GB", tokens / took["ours"] * 1e3, tokens / took["peer"] * 1e3,
        peer_name=f"transformers {transformers.__version__}", peak_mb={name: round(mb) for name, mb in took.items()},
        required_mb={name: round(mb) for name, mb in needs.items()},
        over_required={name: round(took[name] / mb, 2) for name, mb in needs.items()},
        all_logits_mb=round(FLOAT * tokens * CONFIG.vocab_size / 1e6), rows=ROWS, shape=SHAPE,
        vocabulary=CONFIG.vocab_size, weights=sum(weight.numel() for weight in fresh(CONFIG).parameters()),
        torch=torch.__version__,
    )  # fmt: skip


def required(config: ModelConfig, *, recompute: bool) -> float:
    """Return the MB by the formula in this file's docstring, without the chunks."""
    blocks = config.matmul_parameters - config.head_parameters
    others = 2 * config.head_parameters + config.layers * 2 * (config.width + config.head_size) + config.width
    queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
    block = 4 * config.width + 3 * queries + 3 * keys + 4 * config.mlp_width
    kept = config.layers * config.width + block if recompute else config.layers * block
    state = 8 * (blocks + others) + 4 * blocks + 8 * others
    loss = FLOAT * (config.head_parameters + ROWS * config.context * config.width)
    return (state + FLOAT * ROWS * config.context * kept + loss) / 1e6


def measured(variant: str) -> float:
    """Return the peak MB of a variant's steps above its process before them."""
    ours, its = multiprocessing.Pipe()
    worker = start_worker(work, (variant, its))
    process, before = ours.recv()
    with Peak(process) as peak:
        ours.send("go")
        ours.recv()
    ours.send("end")
    stop_worker(worker)
    took = max(peak.megabytes - before, 0.1)  # a tiny variant may need no new memory
    say(f"{variant}: {took:,.1f} MB")
    return took


def work(variant: str, pipe: Connection) -> None:
    """Send the memory before, then run steps of a variant on request."""
    threads = pick_device("cpu").threads
    ids = torch.randint(CONFIG.vocab_size, (ROWS, CONFIG.context + 1), generator=torch.Generator().manual_seed(1))
    torch.set_num_threads(threads)
    gc.collect()
    pipe.send((os.getpid(), megabytes(os.getpid())))
    pipe.recv()
    their_steps(ids) if variant == "peer" else our_steps(ids, variant)
    pipe.send("done")
    pipe.recv()


def our_steps(ids: torch.Tensor, variant: str) -> None:
    """Train with the loop of every stage."""
    model = fresh(CONFIG)
    model.recompute = variant == "recomputed"
    batch = Batch(ids[:, :-1], ids[:, 1:], torch.zeros_like(ids[:, 1:]))
    processes = 2 if variant == "two processes" else 1
    state = State(model, make_optimizers(model, Rates()))
    train(state, lambda _: batch.split(processes), batch_loss, Schedule(STEPS), processes=processes)


def their_steps(ids: torch.Tensor) -> None:
    """Train the peer with a plain loop."""
    model = fresh(CONFIG)
    peer = peer_of(model)
    del model
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-3, fused=True)
    for _ in range(STEPS):
        peer_loss(peer, ids).backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    main()
