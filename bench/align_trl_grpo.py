"""GRPO against TRL: tokens per second of complete steps on this CPU, from the prompts to the updated weights.

Ours and TRL's `GRPOTrainer` start from the same weights (a small Qwen3 in one folder that both open), with the same
prompts, replies per prompt, token limit, reward, optimizer (fused AdamW), threads and float32; each side has its own
process, and they take turns. Ours also measures drift and KL and writes rollouts to disk, as the act does; TRL's has no
reference (its default). Run: python -m bench.align_trl_grpo
"""

import random
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl

from bench.align_trl import Turns
from bench.harness import Side, Turn, parser, race_processes, result, sized
from bench.peer import adamw, fresh
from sayso import world
from sayso.align.pairs.reference import Frozen
from sayso.align.rl.experience import Credit
from sayso.align.rl.iterations import Iterations, Plan
from sayso.align.rl.objective import Objective
from sayso.align.rl.prompts import Prompt
from sayso.align.rl.rewards import RewardFunction
from sayso.align.rl.sampling import GroupSampler
from sayso.base.device import pick_device
from sayso.loss.policy import METHODS
from sayso.model import ModelConfig
from sayso.token.train import train as train_tokenizer
from sayso.train.loop import Hooks, State, train
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model, save_model

CONTEXT, RATE = 256, 1e-6
GROUPS, REPLIES, TOKENS = sized((8, 8, 48), (2, 2, 4))
STEPS, ROUNDS = sized((2, 4), (1, 1))
TEXTS, VOCABULARY = sized((1500, 4096), (20, 300))
SHAPE = sized((4, 256, 8, 8, 32, 704), (1, 32, 2, 2, 16, 64))
METHOD = METHODS["grpo"]


def main() -> None:
    """Race complete steps."""
    parser("align_trl_grpo").parse_args()
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        texts = [world.document(0, index, "train")["text"] for index in range(TEXTS)]
        tokenizer = train_tokenizer("bpe", texts, VOCABULARY)
        model = fresh(ModelConfig(tokenizer.vocab_size, *SHAPE, context=CONTEXT))
        save_model(model, tokenizer, folder / "model", {"stage": "tuned"})
        sides = {
            "ours": Side(ours, (folder,), keeps_memory=True),
            "TRL": Side(theirs, (folder,), keeps_memory=False),
            "TRL with our memory settings": Side(theirs, (folder,), keeps_memory=True),
        }
        steps = race_processes(sides, steps=STEPS, rounds=ROUNDS)
    tokens = GROUPS * REPLIES * TOKENS  # random weights end one reply in forty early, on all sides
    speeds = {side: round(of * tokens, 1) for side, of in steps.items()}
    result(
        "align_trl_grpo", "tokens sampled and trained on/s", speeds["ours"], speeds["TRL"],
        peer_name=f"trl {trl.__version__}, transformers {transformers.__version__}",
        tokens_per_second=speeds, prompts=GROUPS, replies=REPLIES, most_tokens=TOKENS,
        threads=pick_device("cpu").threads, torch=torch.__version__,
    )  # fmt: skip


def prompts() -> list[list[dict[str, Any]]]:
    """Return the prompts of a step: tasks of the small world."""
    return [list(world.task(0, index, "train", "words").prompt.messages) for index in range(GROUPS)]


def worth(text: str) -> float:
    """Return a reward that depends only on the text and is cheap to compute."""
    return random.Random(text).random()


def ours(turn: Turn, root: Path) -> None:
    """Run our steps, one per turn: an iteration of `sayso reinforce` with one update."""
    processes = sized(pick_device("cpu").threads, 1)
    model, tokenizer = load_model(root / "model", plain=True)
    tasks = [Prompt(number, messages, {}) for number, messages in enumerate(prompts(), 1)]
    reward = RewardFunction("worth", lambda _prompt, reply, _info: worth(reply))
    sampler = GroupSampler(tokenizer, lambda _first, _count: tasks, [reward], GROUPS, REPLIES, TOKENS)
    reference = Frozen(deepcopy(model).requires_grad_(False)).model
    plan = Plan(sampler, Credit(METHOD), reference, on_policy=True)
    iterations = Iterations(plan, root / "run", lambda *_: None)
    optimizer = adamw(model.train(), RATE)
    for group in optimizer.param_groups:
        group["peak"] = RATE
    state = State(model, [optimizer])
    train(
        state, lambda step: iterations.batch(step).split(processes), Objective(METHOD, on_policy=True),
        Schedule(10**9), Hooks(show=lambda _: turn(), gather=iterations.gather), processes=processes,
    )  # fmt: skip


def theirs(turn: Turn, root: Path) -> None:
    """Run TRL's steps, one per turn."""
    pick_device("cpu")
    settings = trl.GRPOConfig(
        output_dir=str(root / "trl"), use_cpu=True, bf16=False, per_device_train_batch_size=GROUPS * REPLIES,
        num_generations=REPLIES, max_completion_length=TOKENS, temperature=1.0, top_k=0, beta=0.0, loss_type="grpo",
        gradient_checkpointing=False, max_steps=10**6, learning_rate=RATE, lr_scheduler_type="constant",
        max_grad_norm=1.0, optim="adamw_torch_fused", adam_beta2=0.95, weight_decay=0.1, report_to="none",
        logging_strategy="no", save_strategy="no", disable_tqdm=True, shuffle_dataset=False, seed=0,
    )  # fmt: skip
    rows = datasets.Dataset.from_list([{"prompt": messages} for messages in prompts()] * 64)
    trainer = trl.GRPOTrainer(
        transformers.AutoModelForCausalLM.from_pretrained(root / "model", dtype=torch.float32),
        lambda completions, **_: [worth(messages[0]["content"]) for messages in completions], settings,
        train_dataset=rows, processing_class=transformers.AutoTokenizer.from_pretrained(root / "model"),
        callbacks=[Turns(turn)],
    )  # fmt: skip
    trainer.train()


if __name__ == "__main__":
    main()
