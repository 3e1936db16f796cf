"""Training: tokens per second of complete updates, against a plain loop with `transformers`, at one shape.

Same weights, batch, context, optimizer (fused AdamW) and threads, float32. Each side has its own process: ours starts
as `sayso pretrain` does, with settings that keep freed memory, the peer as Python does. Ours is the loop of every
stage, with its processes. The details hold ours with Muon, the peer with our memory settings, a GPT-2 of the same
size, the share of the machine's peak (`sayso.train.measure`), and the differences of losses and gradients.
"""

import torch
import transformers

from bench.harness import Side, Turn, parser, race_processes, result, say, sized
from bench.peer import Peer, adamw, fresh, gpt2, peer_loss, peer_of
from sayso.base.device import pick_device
from sayso.batch.batch import Batch
from sayso.loss.next_token import batch_loss, next_token_loss
from sayso.model import ModelConfig
from sayso.train.loop import Hooks, State, train
from sayso.train.measure import matmul_peak
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

ROWS, CONTEXT = sized((16, 256), (2, 16))
CONFIG = sized(
    ModelConfig(4096, 4, 256, 8, 8, 32, 704, context=CONTEXT), ModelConfig(128, 1, 32, 2, 2, 16, 64, context=CONTEXT)
)
STEPS, ROUNDS = sized((4, 7), (1, 1))
RATE = 1e-3  # learning rate of AdamW, on both sides


def main() -> None:
    """Race complete updates."""
    parser("train_throughput").parse_args()
    device = pick_device("cpu")
    losses, difference = agreement()
    sides = {
        "ours": Side(our_updates, ("AdamW",), keeps_memory=True),
        "peer": Side(their_updates, (), keeps_memory=False),
        "ours with Muon": Side(our_updates, ("Muon",), keeps_memory=True),
        "peer with our memory settings": Side(their_updates, (), keeps_memory=True),
        "GPT-2": Side(gpt2_updates, (), keeps_memory=False),
    }
    speeds = {side: of * ROWS * CONTEXT for side, of in race_processes(sides, steps=STEPS, rounds=ROUNDS).items()}
    say("measuring the machine's peak")
    peak = max(matmul_peak("cpu") for _ in range(sized(5, 1)))
    flops = CONFIG.flops_per_token(CONTEXT)
    result(
        "train_throughput", "tokens/s", speeds["ours"], speeds["peer"],
        peer_name=f"transformers {transformers.__version__} Qwen3",
        tokens_per_second={side: round(of) for side, of in speeds.items()}, peak_gflops=round(peak / 1e9, 1),
        share_of_peak={side: round(of * flops / peak, 3) for side, of in speeds.items() if side != "GPT-2"},
        losses=losses, relative_gradient_difference=difference, rows=ROWS, shape=vars(CONFIG),
        threads=device.threads, torch=torch.__version__,
    )  # fmt: skip


def batch() -> torch.Tensor:
    """Return the ids of the batch of all steps, [B, T + 1]."""
    return torch.randint(5, CONFIG.vocab_size, (ROWS, CONTEXT + 1), generator=torch.Generator().manual_seed(1))


def our_updates(turn: Turn, optimizer: str) -> None:
    """Update ours, one step per turn."""
    processes, ids, model = sized(pick_device("cpu").threads, 1), batch(), fresh(CONFIG).train()
    full = Batch(ids[:, :-1], ids[:, 1:], torch.zeros_like(ids[:, 1:]))
    optimizers = [adamw(model, RATE)] if optimizer == "AdamW" else make_optimizers(model, Rates())
    for group in (group for one in optimizers for group in one.param_groups):
        group.setdefault("peak", group["lr"])
    parts = full.split(processes)
    train(
        State(model, optimizers), lambda _: parts, batch_loss, Schedule(10**9), Hooks(show=lambda _: turn()),
        processes=processes,
    )  # fmt: skip


def their_updates(turn: Turn) -> None:
    """Update the peer, one step per turn."""
    plain_loop(turn, peer_of(fresh(CONFIG)))


def gpt2_updates(turn: Turn) -> None:
    """Update a GPT-2 of the same size, one step per turn."""
    plain_loop(turn, gpt2(CONFIG.vocab_size, CONFIG.layers, CONFIG.width, CONFIG.heads, CONTEXT))


def plain_loop(turn: Turn, model: Peer) -> None:
    """Update a model of `transformers` with a plain loop."""
    pick_device("cpu")
    ids, optimizer = batch(), adamw(model, RATE)
    while True:
        peer_loss(model, ids).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        turn()


def agreement() -> tuple[list[float], float]:
    """Return both losses on the batch, and the relative difference of the embeddings' gradients."""
    ids, ours = batch(), fresh(CONFIG)
    theirs = peer_of(ours)
    total, count = next_token_loss(ours, ids[:, :-1], ids[:, 1:], torch.zeros_like(ids[:, 1:]))
    (total / count).backward()
    their_loss = peer_loss(theirs, ids)
    their_loss.backward()
    losses = [round(float(total.detach()) / count, 6), round(float(their_loss.detach()), 6)]
    mine, other = ours.embed.weight.grad, theirs.get_input_embeddings().weight.grad
    assert mine is not None
    return losses, float((mine - other).norm() / other.norm())


if __name__ == "__main__":
    main()
