"""Reinforcement learning from verifiable rewards: reversed addition and countdown, with GRPO, PPO and related methods.

For each puzzle, a small model is trained here on few examples, so that it solves some problems but not most; then each
method practises with the same settings and three seeds. Reported is the share of held-out problems of the test split
that are solved: by replies sampled at temperature 1, as in practice, and by greedy replies. A picture shows reward,
length and entropy during practice. Run: python -m bench.align_reinforce [FOLDER]
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from bench.curves import Curve, curves
from bench.harness import parser, result, run_each, save_picture, say, sized
from sayso.align.rl.options import held_out_score
from sayso.align.rl.prompt_order import puzzle
from sayso.align.rl.rewards import load_rewards
from sayso.align.rl.setup import Reinforce
from sayso.base.files import read_json, write_json
from sayso.base.log import read_log
from sayso.batch.chat import ChatBatches
from sayso.judge.statistics.estimate import student
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.run.reinforce import reinforce
from sayso.sample.sampling import Sampling
from sayso.token.chat import render
from sayso.token.whole import WholeTokenizer
from sayso.train.loop import State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model, save_model
from sayso.world.puzzles import MAKERS

SEEDS = sized((0, 1, 2), (0,))
TESTED = sized(300, 4)  # problems of the test split
RATE = 0.3
IMAGES = Path(__file__).parent.parent / "docs" / "images"
SPAN = sized(10, 1)  # iterations averaged per dot
GROUPS, REPLIES, JUDGED = sized((32, 8, 100), (2, 2, 2))


@dataclass(frozen=True)
class Task:
    """A puzzle, its initial model, and the settings of practice."""

    name: str
    puzzle: str
    sizes: tuple[int, ...]
    layers: int
    width: int
    examples: int
    steps: int
    rows: int
    iterations: int
    max_tokens: int


TASKS = sized(
    (
        Task("countdown", "countdown", (3,), 2, 64, 4000, 420, 4, 200, 16),
        Task("addition", "addition", (3,), 2, 64, 4000, 290, 4, 70, 6),
    ),
    (Task("addition", "addition", (1,), 1, 32, 50, 2, 4, 2, 3),),
)
METHODS: dict[str, dict[str, Any]] = {"grpo": {}, "ppo": {"critic": "shared"}}
OTHERS = sized(("dr-grpo", "dapo", "gspo", "cispo", "rloo", "reinforce"), ("rloo",))
"""Methods that practise with one seed, only on the last puzzle."""


def main() -> None:
    """Train the initial models, run every method, and report the gains."""
    arguments = parser("align_reinforce")
    arguments.add_argument("folder", type=Path, nargs="?", help="folder for results, to resume from")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        began = time.perf_counter()
        jobs = [(root, task, method, seed) for task in TASKS for method in METHODS for seed in SEEDS]
        jobs += [(root, TASKS[-1], method, 0) for method in OTHERS]
        first_shares = run_each(train_initial, [(root, task) for task in TASKS], processes=2)
        starts = {task.name: solved for task, solved in zip(TASKS, first_shares, strict=True)}
        runs = run_each(practise, jobs, processes=2)
        for task in TASKS:
            save_picture(IMAGES / f"reinforce-{task.name}.svg", drawn(task, runs))
    found = {task.name: summary(task, starts[task.name], runs) for task in TASKS}
    least = min(found[task.name][method]["gain"] for task in TASKS for method in METHODS)
    result(
        "align_reinforce", "points gained by the method with the smallest gain (target: 25)", least, 25.0,
        tasks=found, tested=TESTED, seeds=len(SEEDS), minutes=round((time.perf_counter() - began) / 60, 1),
    )  # fmt: skip


def train_initial(root: Path, task: Task) -> dict[str, float]:
    """Train the initial model with a few updates on solved examples outside the test split; return what it solves."""
    torch.set_num_threads(1)
    folder, tokenizer = root / f"start-{task.name}", WholeTokenizer("character", ())
    if not folder.exists():
        heads = task.width // 32
        shape = (tokenizer.vocab_size, task.layers, task.width, heads, heads, 32, 4 * task.width)
        model = Transformer(ModelConfig(*shape, mlp="relu2", context=64))
        model.initialize(torch.Generator().manual_seed(0))
        state = State(model, make_optimizers(model, Rates()))
        batches = ChatBatches(list(examples(task, tokenizer)), task.rows, 256, 0)
        whole = Schedule(task.steps, 10, 1e-9)
        train(state, lambda step: batches.batch(step).split(1), batch_loss, whole)
        save_model(model.eval(), tokenizer, folder, {"stage": "tuned"})
    return solved(folder, task)


def examples(task: Task, tokenizer: WholeTokenizer) -> Sequence[tuple[list[int], list[bool]]]:
    """Return rendered problems of the train split with solutions."""
    make, sizes = MAKERS[task.puzzle], task.sizes
    problems = (make(0, index, "train", sizes[index % len(sizes)]) for index in range(task.examples))
    return [render(tokenizer, problem.demonstration()["messages"]) for problem in problems]


def solved(folder: Path, task: Task) -> dict[str, float]:
    """Return the share of test problems that a model solves: sampled at temperature 1 ("drawn"), and greedily."""
    model, tokenizer = load_model(folder)
    held = [puzzle(task.puzzle, task.sizes, 1, index, "test") for index in range(TESTED)]
    checker = load_rewards(["sayso.world.puzzles:score"])
    both = {
        "drawn": Sampling(temperature=1, max_tokens=task.max_tokens, seed=5),
        "likeliest": Sampling(temperature=0, max_tokens=task.max_tokens),
    }
    return {name: held_out_score(model, tokenizer, held, checker, how)["held_out"] for name, how in both.items()}


def practise(root: Path, task: Task, method: str, seed: int) -> dict[str, Any]:
    """Run a method from the initial model; return what it then solves, and the curves."""
    torch.set_num_threads(1)
    life, extra = root / f"{task.name}-{method}-{seed}", METHODS.get(method, {})
    if (life / "result.json").exists():
        return dict(read_json(life / "result.json"))
    options = Reinforce(
        task.puzzle, sizes=task.sizes, method=method, life=life, parent=str(root / f"start-{task.name}"),
        iterations=task.iterations, groups=GROUPS, replies=REPLIES, max_tokens=task.max_tokens, judged=JUDGED,
        judge_every=20,
        updates=2, rate=RATE, processes=1, seed=100 + seed,  # other problems than the examples
    )  # fmt: skip
    began = time.perf_counter()
    reinforce(replace(options, **extra))
    lines = [row for row in read_log(life / "runs" / "reinforce-aligned" / "run.jsonl") if row["event"] == "iteration"]
    kept = {name: [row[name] for row in lines] for name in ("reward", "length", "entropy", "kl", "no_signal", "drift")}
    found = {
        "task": task.name, "method": method, "seed": seed, "curves": kept,
        "seconds": time.perf_counter() - began, **solved(life / "models" / "aligned", task),
    }  # fmt: skip
    write_json(life / "result.json", found)
    say(f"{task.name}, {method}, seed {seed}: {found['drawn']:.3f} drawn, {found['likeliest']:.3f} likeliest")
    return found


def summary(task: Task, start: dict[str, float], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the gains of a puzzle's runs, in points, with 95 % intervals over the seeds."""
    found: dict[str, Any] = {"start": {name: round(100 * value, 1) for name, value in start.items()}}
    for method in (*METHODS, *OTHERS):
        mine = [run for run in runs if (run["task"], run["method"]) == (task.name, method)]
        if not mine:
            continue
        shares: dict[str, Any] = {}
        for how in ("drawn", "likeliest"):
            after = student(torch.tensor([100 * run[how] for run in mine]).double().numpy(), 0, 100)
            shares[how] = {"mean": round(after.mean, 1), "low": round(after.low, 1), "high": round(after.high, 1)}
        found[method] = {
            **shares,
            "gain": round(shares["drawn"]["mean"] - 100 * start["drawn"], 1),
            "seeds": len(mine),
            "kl": round(fmean(run["curves"]["kl"][-1] for run in mine), 2),
            "drift": max(max(run["curves"]["drift"]) for run in mine),
            "seconds": round(fmean(run["seconds"] for run in mine)),
        }
    return found


def drawn(task: Task, runs: list[dict[str, Any]]) -> str:
    """Return the picture of a puzzle: a panel per figure, a curve per method, a band over its seeds."""
    panels: dict[str, dict[str, Curve]] = {}
    for figure in ("reward", "length", "entropy"):
        panels[figure] = {}
        for method in METHODS:
            mine = [r["curves"][figure] for r in runs if (r["task"], r["method"]) == (task.name, method)]
            ends = range(SPAN, task.iterations + 1, SPAN)
            panels[figure][method] = {end: [fmean(line[end - SPAN : end]) for line in mine] for end in ends}
    tops = {name: max(max(at) for curve in panel.values() for at in curve.values()) for name, panel in panels.items()}
    most = {name: 1.0 if name == "reward" else ceil(top * 4) / 4 for name, top in tops.items()}
    titles = {"reward": "reward", "length": "length (tokens)", "entropy": "entropy (nats per token)"}
    named = {titles[name]: panel for name, panel in panels.items()}
    return curves(
        f"Practising {task.name}: {len(SEEDS)} seeds", ["iteration"] * len(named), named,
        {titles[name]: value for name, value in most.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
