"""Training: tokens a second of whole updates, ours against a plain loop over `transformers`, at one shape.

Same weights, batch, context and threads, float32. Each side has a process of its own: ours starts as `sayso pretrain`
does, with settings by which it keeps its memory, the peer as Python does. Ours is the loop of every stage with its
processes, Muon and AdamW; the peer runs a fused AdamW. The details hold the peer with our memory settings, a GPT-2 of
the same sizes, the share of a large matrix product's speed, and how far losses and gradients of both differ.
"""

import tempfile
from pathlib import Path

import torch
import transformers

from bench.generate import both_open
from bench.harness import Side, Turn, pair, race_processes, result
from sayso.base.device import pick_device
from sayso.batch.batch import Batch
from sayso.loss.next_token import next_token_loss
from sayso.model import Transformer
from sayso.train.loop import State, train
from sayso.train.measure import matmul_peak
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model

VOCABULARY, ROWS, CONTEXT = 4096, 16, 256
SHAPE = {"layers": 4, "width": 256, "heads": 8, "kv_heads": 8, "head_size": 32, "mlp_width": 704, "context": CONTEXT}
STEPS, ROUNDS = 4, 7


def main() -> None:
    """Race whole updates."""
    device = pick_device("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        model, theirs = both_open(folder, SHAPE, VOCABULARY)
        losses, difference = agreement(model, theirs)
        del theirs
        sides = {
            "ours": Side(our_updates, (folder,), keeps_memory=True),
            "peer": Side(their_updates, (folder,), keeps_memory=False),
            "peer with our memory settings": Side(their_updates, (folder,), keeps_memory=True),
            "GPT-2": Side(gpt2_updates, (), keeps_memory=False),
        }
        steps = race_processes(sides, steps=STEPS, rounds=ROUNDS)
    speeds = {side: of * ROWS * CONTEXT for side, of in steps.items()}
    peak = max(matmul_peak("cpu") for _ in range(5))
    flops = model.config.flops_per_token(CONTEXT)
    result(
        "train_throughput", "tokens/s", speeds["ours"], speeds["peer"],
        peer_name=f"transformers {transformers.__version__} Qwen3",
        others={side: pair((speeds["ours"], of)) for side, of in speeds.items() if side not in ("ours", "peer")},
        peak_gflops=round(peak / 1e9, 1),
        share_of_peak={side: round(speeds[side] * flops / peak, 3) for side in speeds if side != "GPT-2"},
        losses=losses, relative_gradient_difference=difference, rows=ROWS, vocabulary=VOCABULARY, shape=SHAPE,
        threads=device.threads, torch=torch.__version__,
    )  # fmt: skip


def batch() -> torch.Tensor:
    """Return the ids of the one batch that all steps are on, [B, T + 1]."""
    return torch.randint(5, VOCABULARY, (ROWS, CONTEXT + 1), generator=torch.Generator().manual_seed(1))


def our_updates(turn: Turn, folder: Path) -> None:
    """Update ours, a turn a step."""
    processes, ids = pick_device("cpu").threads, batch()
    model, _ = load_model(folder)
    whole = Batch(ids[:, :-1], ids[:, 1:], torch.zeros_like(ids[:, 1:]))

    def loss(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
        return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()

    state = State(model.train(), make_optimizers(model, Rates()))
    train(
        state, lambda _: whole.split(processes), loss, Schedule(10**9), processes=processes, show=lambda _: turn()
    )  # fmt: skip


def their_updates(turn: Turn, folder: Path) -> None:
    """Update the peer, a turn a step."""
    plain_loop(turn, transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))


def gpt2_updates(turn: Turn) -> None:
    """Update a GPT-2 of the same sizes, a turn a step."""
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=SHAPE["width"], n_layer=SHAPE["layers"],
        n_head=SHAPE["heads"], resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    plain_loop(turn, transformers.GPT2LMHeadModel(config))


def plain_loop(turn: Turn, model: transformers.PreTrainedModel) -> None:
    """Update a model of `transformers` by a fused AdamW, as its users do without a trainer."""
    pick_device("cpu")
    ids = batch()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    while True:
        their_gradient(model, ids)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        turn()


def agreement(ours: Transformer, theirs: transformers.PreTrainedModel) -> tuple[list[float], float]:
    """Return the losses of both on the batch, and how far the embeddings' gradients are apart, relative to theirs."""
    ids = batch()
    total, count = next_token_loss(ours, ids[:, :-1], ids[:, 1:], torch.zeros_like(ids[:, 1:]))
    (total / count).backward()
    losses = [round(float(total.detach()) / count, 6), round(their_gradient(theirs, ids), 6)]
    mine, other = ours.embed.weight.grad, theirs.get_input_embeddings().weight.grad
    assert mine is not None
    return losses, float((mine - other).norm() / other.norm())


def their_gradient(model: transformers.PreTrainedModel, ids: torch.Tensor) -> float:
    """Leave the gradient of the mean loss in the peer's weights; return that loss."""
    model.zero_grad()
    targets = ids[:, 1:].contiguous()
    loss = model(input_ids=ids[:, :-1], labels=targets, shift_labels=targets, use_cache=False).loss
    loss.backward()
    return float(loss.detach())


if __name__ == "__main__":
    main()
