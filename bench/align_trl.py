"""DPO against TRL: the same loss on the same batch, and tokens per second of complete training steps, on this CPU.

Ours and TRL's `DPOTrainer` start from the same weights (a small Qwen3 in one folder that both open), with the same
pairs, optimizer (fused AdamW), threads and float32; each side has its own process, and they take turns. The details
hold the differences of losses and gradients. Run: python -m bench.align_trl
"""

import tempfile
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl

from bench.harness import Side, Turn, parser, race_processes, result, sized
from bench.peer import adamw, fresh
from sayso import world
from sayso.align.pairs.preference import Preference, term_of
from sayso.align.pairs.reference import Frozen
from sayso.base.device import pick_device
from sayso.batch.pairs import Pair, PairBatches
from sayso.model import ModelConfig, Transformer
from sayso.token.chat import render
from sayso.token.load import load as load_tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.train.loop import Hooks, State, train
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model, save_model
from sayso.weights.names import to_hub

PAIRS, CONTEXT = sized((8, 512), (2, 512))
BETA, RATE = 0.1, 1e-6
STEPS, ROUNDS = sized((3, 7), (1, 1))
TEXTS, VOCABULARY = sized((1500, 4096), (20, 300))
SHAPE = sized((4, 256, 8, 8, 32, 704), (1, 32, 2, 2, 16, 64))


def main() -> None:
    """Compare losses, then race complete steps."""
    parser("align_trl").parse_args()
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as root:
        dpo(Path(root))


def dpo(root: Path) -> None:
    """Compare and race direct preference optimization."""
    make(root / "model")
    agreement = dpo_agreement(root)
    sides = {
        "ours": Side(our_dpo, (root,), keeps_memory=True),
        "TRL": Side(their_dpo, (root,), keeps_memory=False),
        "TRL with our memory settings": Side(their_dpo, (root,), keeps_memory=True),
    }
    tokens = sum(len(prompt) + len(reply) for prompt, *both in pair_ids(root / "model") for reply in both)
    steps = race_processes(sides, steps=STEPS, rounds=ROUNDS)
    speeds = {side: round(of * tokens, 1) for side, of in steps.items()}
    result(
        "align_trl_dpo", "tokens/s", speeds["ours"], speeds["TRL"],
        peer_name=f"trl {trl.__version__}, transformers {transformers.__version__}",
        tokens_per_second=speeds, **agreement, pairs=PAIRS, tokens_of_a_step=tokens,
        threads=pick_device("cpu").threads, torch=torch.__version__,
    )  # fmt: skip


def make(folder: Path) -> None:
    """Write a model with random weights, and a tokenizer trained on the small world."""
    texts = [world.document(0, index, "train")["text"] for index in range(TEXTS)]
    tokenizer = train_tokenizer("bpe", texts, VOCABULARY)
    model = fresh(ModelConfig(tokenizer.vocab_size, *SHAPE, context=CONTEXT))
    save_model(model, tokenizer, folder, {"stage": "tuned"})


def comparisons() -> list[dict[str, Any]]:
    """Return pairs of the small world: a task's reply against the reply to another task."""
    tasks = [world.task(0, index, "train", "words") for index in range(PAIRS + 1)]
    return [
        {
            "prompt": list(task.prompt.messages),
            "chosen": [{"role": "assistant", "content": task.reply}],
            "rejected": [{"role": "assistant", "content": other.reply}],
        }
        for task, other in pairwise(tasks)
    ]


def pair_ids(folder: Path) -> list[Pair]:
    """Return the ids of the pairs, as `sayso align` renders them."""
    tokenizer = load_tokenizer(folder)
    end = tokenizer.specials["<|end|>"]
    return [
        (
            render(tokenizer, row["prompt"], reply=True)[0],
            *([*tokenizer.encode(row[side][0]["content"]), end] for side in ("chosen", "rejected")),
        )
        for row in comparisons()
    ]


def our_batches(folder: Path) -> PairBatches:
    """Return the pairs as `sayso align` batches them, all in each step."""
    return PairBatches(pair_ids(folder), PAIRS, CONTEXT, 0)


def our_dpo(turn: Turn, root: Path) -> None:
    """Run our steps, one per turn, with the usual loop and a frozen copy as the reference."""
    processes = sized(pick_device("cpu").threads, 1)
    model, _ = load_model(root / "model", plain=True)
    term = term_of(Preference("dpo", BETA), Frozen(deepcopy(model).requires_grad_(False)))
    optimizer, batches = adamw(model.train(), RATE), our_batches(root / "model")
    for group in optimizer.param_groups:
        group["peak"] = RATE
    train(
        State(model, [optimizer]), lambda step: batches.batch(step).split(processes), term, Schedule(10**9),
        Hooks(show=lambda _: turn()), processes=processes,
    )  # fmt: skip


class Turns(transformers.TrainerCallback):
    """Call the turn after each step."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn

    def on_step_end(self, *_: object, **__: object) -> None:
        """Call the turn."""
        self.turn()


def trainer_of(root: Path, policy: str, *callbacks: transformers.TrainerCallback) -> trl.DPOTrainer:
    """Return TRL's trainer of a model in `root`, with the same reference as ours."""
    settings = trl.DPOConfig(
        output_dir=str(root / "trl"), use_cpu=True, bf16=False, beta=BETA, per_device_train_batch_size=PAIRS,
        activation_checkpointing=False, max_length=CONTEXT, max_steps=10**6, learning_rate=RATE,
        lr_scheduler_type="constant", max_grad_norm=1.0, optim="adamw_torch_fused", adam_beta2=0.95,
        weight_decay=0.1, report_to="none", logging_strategy="no", save_strategy="no", disable_tqdm=True,
        train_sampling_strategy="sequential", seed=0,
    )  # fmt: skip
    rows = comparisons() * 64  # many steps per epoch, each of the same pairs
    load = transformers.AutoModelForCausalLM.from_pretrained
    policy_model, reference = (load(root / name, dtype=torch.float32) for name in (policy, "model"))
    return trl.DPOTrainer(
        policy_model, reference, settings, train_dataset=datasets.Dataset.from_list(rows),
        processing_class=transformers.AutoTokenizer.from_pretrained(root / "model"), callbacks=list(callbacks),
    )  # fmt: skip


def their_dpo(turn: Turn, root: Path) -> None:
    """Run TRL's steps, one per turn."""
    pick_device("cpu")
    trainer_of(root, "model", Turns(turn)).train()


def dpo_agreement(root: Path) -> dict[str, Any]:
    """Return both losses on one batch, for a policy that differs from its reference, and the gradient difference."""
    model, tokenizer = load_model(root / "model", plain=True)
    reference = deepcopy(model).requires_grad_(False)
    with torch.no_grad():
        for seed, weight in enumerate(model.parameters()):
            weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)))
    save_model(model, tokenizer, root / "policy", {"stage": "policy"})
    batch = next(our_batches(root / "model").in_order())
    term = term_of(Preference("dpo", BETA), Frozen(reference))(model, batch)
    (term.loss / term.items).backward()
    trainer = trainer_of(root, "policy")
    inputs = next(iter(trainer.get_train_dataloader()))
    width = inputs["input_ids"].shape[1]
    read = batch.documents[:, :width] >= 0
    assert torch.equal(read, inputs["attention_mask"].bool())
    assert torch.equal(batch.ids[:, :width][read], inputs["input_ids"][read]), "both must read the same ids"
    theirs = trainer.compute_loss(trainer.model, inputs)
    theirs.backward()
    losses = {"ours": round(term.loss.item() / term.items, 7), "TRL": round(theirs.item(), 7)}
    assert abs(losses["ours"] - losses["TRL"]) < 1e-4, losses
    return {
        "losses": losses,
        "margins": round(float(term.figures["margin"].mean()), 4),
        "relative_gradient_difference": gradient_difference(model, trainer.model),
    }


def gradient_difference(ours: Transformer, theirs: torch.nn.Module) -> float:
    """Return the norm of the difference of both gradients, relative to that of theirs.

    Embeddings are left out: an `Embedding` of `transformers` gives the padding token, here also the first of each text,
    no gradient.
    """
    found = to_hub({name: weight.grad for name, weight in ours.named_parameters()}, ours.config)
    pairs = [(found[name], weight.grad) for name, weight in theirs.named_parameters() if "embed_tokens" not in name]
    difference, total = (
        sum(float(x.square().sum()) for x in of) for of in ([a - b for a, b in pairs], [b for _, b in pairs])
    )
    return (difference / total) ** 0.5


if __name__ == "__main__":
    main()
