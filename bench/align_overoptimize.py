"""Overoptimization: a policy maximizes a reward model further and further, until its true quality falls.

    python -m bench.align_overoptimize [--comparisons 500] [--iterations 60]

The gold reward is a program (`bench/menu.py`). Proxy reward models of three sizes learn from few comparisons of an
untrained waiter's replies, a quarter of them wrong. Best of n and PPO then maximize each proxy, and the gold of their
replies is plotted against sqrt(KL), with the fitted law of Gao et al. 2022: d (a - b d) for best of n, d (a - b log d)
for PPO, where d = sqrt(KL). Ensembles and a KL penalty are compared with the smallest proxy alone.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray

from bench import menu
from bench.harness import parser, result, save_picture, say, sized
from sayso.align.rl.setup import Reinforce
from sayso.align.scorer import open_scorer
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.batch.chat import ChatBatches
from sayso.loss.next_token import next_token_loss
from sayso.loss.term import Term
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.report.chart import COLORS, Panel, Series, picture
from sayso.run.reinforce import reinforce
from sayso.run.reward import Reward, reward
from sayso.sample.sampling import Sampling
from sayso.token.chat import render
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.train.loop import State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model, save_model

Floats = NDArray[np.float64]
Asked = tuple[list[dict[str, str]], str, dict[str, object]]  # prompt, reply, empty info
SIZES = sized({"small": (16, 1), "middle": (48, 2), "large": (96, 3)}, {"small": (16, 1), "middle": (16, 1)})
"""Width, layers."""
RATES = {"small": 0.2, "middle": 0.15, "large": 0.1}
POLICY = "middle"
CONTEXT, LONGEST = 64, sized(24, 8)
WRONG = 0.25  # share of the comparisons
CONVERSATIONS, STEPS = sized((6000, 150), (40, 2))  # conversations and steps of an untuned model
PROMPTS, REPLIES = sized((24, 1024), (2, 4))  # for best of n
ENDS = sized((1, 2, 4, 8, 16, 32, 64, 128, 256, 512), (1, 2, 4))
MEMBERS = sized(4, 2)  # models in an ensemble
EPOCHS, GROUPS, PRACTICE, HELD = sized((3, 32, 4000, 0.1), (1, 2, 20, 0.5))
PPO_RATE = 0.1
PICTURE = Path("docs/images/align_overoptimize.svg")


def untuned(size: str, tokenizer: Tokenizer, seed: int) -> Transformer:
    """Return a model of a size that replies like an untrained waiter."""
    width, layers = SIZES[size]
    config = ModelConfig(vocab_size=tokenizer.vocab_size, layers=layers, width=width, heads=2, kv_heads=2,
                         head_size=width // 2, mlp_width=3 * width, context=CONTEXT)  # fmt: skip
    draw = Random(seed)
    conversations = []
    for _ in range(CONVERSATIONS):
        prompt = menu.order(draw)
        reply = {"role": "assistant", "content": menu.untrained(prompt, draw)}
        conversations.append(render(tokenizer, [*prompt, reply]))
    batches = ChatBatches(conversations, sized(32, 4), 64, seed)
    model = Transformer(config).initialize(torch.Generator().manual_seed(seed))

    def loss(model: Transformer, batch: object) -> Term:
        return Term(*next_token_loss(model, batch.ids, batch.targets, batch.documents), batch.ids.numel())  # type: ignore[attr-defined]

    state = State(model, make_optimizers(model, Rates().times(0.5)))
    train(state, lambda step: [batches.batch(step)], loss, Schedule(STEPS, warmup=10, decay=1.0))
    return model.eval()


def sampled(life: Life, prompts: Sequence[list[dict[str, str]]], replies: int, seed: int) -> list[list[str]]:
    """Return replies of the policy to each prompt."""
    replier = Replier(*load_model(life.model("policy")))
    repeated = [prompt for prompt in prompts for _ in range(replies)]
    sampled_replies = replier.replies(repeated, Sampling(temperature=1.0, max_tokens=LONGEST, seed=seed), rows=256)
    texts = [one.text for one in sampled_replies]
    return [texts[n * replies : (n + 1) * replies] for n in range(len(prompts))]


def comparisons(life: Life, count: int, seed: int) -> list[dict[str, object]]:
    """Return comparisons of two replies of the policy; the share `WRONG` prefers the worse one."""
    draw = Random(seed)
    prompts = [menu.order(draw) for _ in range(2 * count)]
    rows: list[dict[str, object]] = []
    for prompt, (one, other) in zip(prompts, sampled(life, prompts, 2, seed), strict=True):
        difference = menu.gold(prompt, one, {}) - menu.gold(prompt, other, {})
        if difference == 0 or not one.strip() or not other.strip():
            continue
        better, worse = (one, other) if (difference > 0) != (draw.random() < WRONG) else (other, one)
        rows.append({"prompt": prompt, "chosen": better, "rejected": worse})
    return rows[:count]


def best_of(proxy: Floats, gold: Floats, n: int) -> tuple[float, float]:
    """Return the mean proxy and gold score of the best of n by proxy, unbiased over N replies to each prompt [P, N].

    The i-th smallest of N is the largest of n drawn without replacement with probability C(i - 1, n - 1) / C(N, n).
    """
    total = proxy.shape[1]
    place = np.arange(1, total + 1)
    logs = np.full(total, -np.inf)
    logs[n - 1 :] = [_log_choose(i - 1, n - 1) - _log_choose(total, n) for i in place[n - 1 :]]
    weights, order = np.exp(logs), np.argsort(proxy, axis=1, kind="stable")
    return tuple(float((np.take_along_axis(x, order, 1) * weights).sum(1).mean()) for x in (proxy, gold))  # type: ignore[return-value]


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def kl_best_of(n: int) -> float:
    """Return the KL of the best of n to the policy, in nats; an upper bound (Beirami et al. 2024)."""
    return math.log(n) - (n - 1) / n


@dataclass(frozen=True)
class Law:
    """The fitted law of Gao et al. for the gain in gold."""

    a: float
    b: float
    r2: float
    logarithmic: bool

    def at(self, d: float) -> float:
        """Return the gain at a distance."""
        return d * (self.a - self.b * (math.log(d) if self.logarithmic else d)) if d else 0.0


def fitted(distances: Sequence[float], gains: Sequence[float], *, logarithmic: bool) -> Law:
    """Return the law fitted by least squares; points at distance 0 are ignored."""
    d, y = np.array(distances), np.array(gains)
    kept = d > 0
    d, y = d[kept], y[kept]
    columns = np.stack([d, -d * (np.log(d) if logarithmic else d)], axis=1)
    (a, b), *_ = np.linalg.lstsq(columns, y, rcond=None)
    residual = y - columns @ np.array([a, b])
    spread = float(((y - y.mean()) ** 2).sum())
    return Law(float(a), float(b), 1 - float((residual**2).sum()) / spread if spread else math.nan, logarithmic)


def make_models(life: Life, seed: int) -> None:
    """Create the policy and the initial models of the proxies."""
    words = sorted(menu.WORDS)
    tokenizer = train_tokenizer("word", [" ".join(words * 3)], 320)
    for size in SIZES:
        save_model(untuned(size, tokenizer, seed + 1), tokenizer, life.model(f"untuned-{size}"), {"stage": "tuned"})
    save_model(untuned(POLICY, tokenizer, seed), tokenizer, life.model("policy"), {"stage": "tuned"})


def proxies(life: Life, rows: Path, size: str, members: int, seed: int) -> dict[str, float]:
    """Train proxy reward models of a size on comparisons; return the metrics of the first."""
    reward(
        Reward(life=life.root, parent=f"untuned-{size}", name=f"proxy-{size}-{seed}", pairs=(rows,), members=members,
               epochs=EPOCHS, held_out=HELD, rows=16, rate=RATES[size], reference="policy", seed=seed,
               processes=1, save_seconds=1e9)
    )  # fmt: skip
    return dict(read_json(life.model(f"proxy-{size}-{seed}") / "sayso.json")["metrics"])


@dataclass(frozen=True)
class Trajectory:
    """The maximization of a reward over iterations: KL in nats, proxy and gold reward."""

    kl: Sequence[float]
    proxy: Sequence[float]
    gold: Sequence[float]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Gold against sqrt(KL)."""
        return [(math.sqrt(max(0.0, kl)), gold) for kl, gold in zip(self.kl, self.gold, strict=True)]

    def law(self, first: float) -> Law:
        """Return Gao et al.'s law of the gold gained over `first`, that of the initial policy."""
        return fitted([d for d, _ in self.points], [g - first for g in self.gold], logarithmic=True)


def maximized(life: Life, name: str, rewarded: str, seed: int, iterations: int, beta: float = 0.0) -> Trajectory:
    """Maximize a reward by PPO from the policy, and return the figures of each iteration."""
    draw = Random(1000 + seed)
    prompts = life.root / f"practice-{seed}.jsonl"
    write_jsonl(prompts, ({"prompt": menu.order(draw)} for _ in range(PRACTICE)))
    reinforce(
        Reinforce(str(prompts), life=life.root, parent="policy", name=name, method="ppo", beta=beta,
                  iterations=iterations, reward=(rewarded, "bench.menu:gold=0"), judged=0, groups=GROUPS, replies=4,
                  max_tokens=LONGEST, updates=2, passes=2, rate=PPO_RATE, seed=seed, processes=1, save_seconds=1e9)
    )  # fmt: skip
    lines = [line for line in read_log(life.run(f"reinforce-{name}") / "run.jsonl") if line["event"] == "iteration"]
    return Trajectory(
        [one["kl"] for one in lines], [one["reward"] for one in lines], [one["reward_gold"] for one in lines]
    )


@dataclass(frozen=True)
class Seed:
    """Results of one seed, by proxy: best of each n as (proxy, gold), and the PPO runs."""

    knows: dict[str, float]
    """Accuracy on held-out comparisons, of which as many are wrong as of the training ones."""
    best: dict[str, list[tuple[float, float]]]
    trajectories: dict[str, Trajectory]
    oracle: float
    """Gold of the best of n by gold itself, at the largest n."""


def measured(life: Life, seed: int, options: argparse.Namespace) -> Seed:
    """Train the proxies of one seed, and maximize each."""
    make_models(life, seed)
    rows = life.root / "pairs.jsonl"
    write_jsonl(rows, comparisons(life, options.comparisons, 10 * seed + 1))
    knows = {size: proxies(life, rows, size, MEMBERS if size == "small" else 1, seed)["accuracy"] for size in SIZES}
    draw = Random(99 + seed)
    prompts = [menu.order(draw) for _ in range(PROMPTS)]
    texts = sampled(life, prompts, REPLIES, 10 * seed + 2)
    gold = np.array([[menu.gold(p, x, {}) for x in row] for p, row in zip(prompts, texts, strict=True)])
    asked: list[Asked] = [(prompt, text, {}) for prompt, row in zip(prompts, texts, strict=True) for text in row]
    best, members = {}, [f"proxy-small-{seed}", *(f"proxy-small-{seed}-{n + 1}" for n in range(1, MEMBERS))]
    for name, folders, how in (
        *((size, [f"proxy-{size}-{seed}"], "mean") for size in SIZES),
        *((f"{how} of {MEMBERS} small", members, how) for how in ("mean", "min")),
    ):
        scores = open_scorer([life.model(one) for one in folders], combine=how)(asked)  # type: ignore[arg-type]
        best[name] = [best_of(np.array(scores).reshape(gold.shape), gold, n) for n in ENDS]
        say((seed, name, best[name]))
    wanted = {size: (f"model:proxy-{size}-{seed}", 0.0) for size in SIZES}
    wanted |= {f"small, KL {beta:g}": (f"model:proxy-small-{seed}", beta) for beta in options.betas}
    wanted[f"min of {MEMBERS} small"] = ("min:" + ",".join(members), 0.0)
    trajectories: dict[str, Trajectory] = {}
    for name, (rewarded, beta) in wanted.items() if seed < options.ppo_seeds else ():
        trajectories[name] = maximized(life, f"ppo-{len(trajectories)}", rewarded, seed, options.iterations, beta)
        say((seed, name, trajectories[name]))
    return Seed(knows, best, trajectories, best_of(gold, gold, ENDS[-1])[1])


def kept(seed: int, options: argparse.Namespace) -> Seed:
    """Return the results of a seed, from the work folder if it is finished."""
    path = options.work / f"seed-{seed}.json" if options.work else None
    if path is None or not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            found = measured(Life(Path(folder)), seed, options)
        if path is None:
            return found
        write_json(path, asdict(found))
    stored = read_json(path)
    trajectories = {name: Trajectory(**one) for name, one in stored["trajectories"].items()}
    return Seed(stored["knows"], stored["best"], trajectories, stored["oracle"])


def smooth(trajectory: Trajectory, width: int = 5) -> Trajectory:
    """Return a trajectory as moving averages over `width` iterations."""
    parts = (
        np.convolve(x, np.ones(width) / width, "valid").tolist()
        for x in (trajectory.kl, trajectory.proxy, trajectory.gold)
    )
    return Trajectory(*parts)


def mean_of(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Return the mean over seeds per iteration, up to the shortest run."""
    far = min(len(one.kl) for one in trajectories)
    columns = ([getattr(one, name)[:far] for one in trajectories] for name in ("kl", "proxy", "gold"))
    return Trajectory(*(np.mean(column, 0).tolist() for column in columns))


def law_points(law: Law, base: float, far: float) -> list[tuple[float, float]]:
    """Return a fitted law as a line."""
    return [(d, base + law.at(d)) for d in np.linspace(0, far, 60).tolist()]


def drawn(seeds: Sequence[Seed], laws: dict[str, Law], path: Path) -> None:
    """Draw gold and proxy against sqrt(KL)."""
    at = [math.sqrt(kl_best_of(n)) for n in ENDS]

    def best(name: str, side: int) -> list[tuple[float, float]]:
        return [(d, float(np.mean([one.best[name][n][side] for one in seeds]))) for n, d in enumerate(at)]

    def reach(name: str, side: int) -> list[tuple[float, float]]:
        each = np.array([[pair[side] for pair in one.best[name]] for one in seeds])
        ends = 1.96 * each.std(0, ddof=min(1, len(seeds) - 1)) / math.sqrt(len(seeds))
        return list(zip((each.mean(0) - ends).tolist(), (each.mean(0) + ends).tolist(), strict=True))

    far, first, panels = at[-1], best("small", 1)[0][1], []
    colors = dict(zip(SIZES, COLORS, strict=False))
    panels.append(Panel("Best of n: the gold", "sqrt(KL), nats", "gold", [
        one for size in SIZES for one in (
            Series(f"{size} proxy", best(size, 1), colors[size], "dots", reach(size, 1)),
            Series("", law_points(laws[f"best of n, {size}"], first, far), colors[size], "dashed"))]))  # fmt: skip
    panels.append(Panel("Best of n: the proxies", "sqrt(KL), nats", "proxy (policy's replies: 0 +- 1)", [
        Series(f"{size} proxy", best(size, 0), colors[size], "both", reach(size, 0)) for size in SIZES]))  # fmt: skip
    ensembles = [name for name in seeds[0].best if name not in SIZES]
    panels.append(Panel("Best of n: ensembles of small proxies", "sqrt(KL), nats", "gold", [
        Series(name, best(name, 1), COLORS[n], "both") for n, name in enumerate(["small", *ensembles])]))  # fmt: skip
    runs = {
        name: mean_of([smooth(one.trajectories[name]) for one in seeds if one.trajectories])
        for name in seeds[0].trajectories
    }
    golds, likes = [], []
    for size in SIZES:
        points, law = runs[size].points, laws[f"ppo, {size}"]
        golds.append(Series(f"{size} proxy", points, colors[size], "dots"))
        golds.append(Series("", law_points(law, first_of(seeds), max(points)[0]), colors[size], "dashed"))
        proxy = [(d, like) for (d, _), like in zip(points, runs[size].proxy, strict=True)]
        likes.append(Series(f"{size} proxy", proxy, colors[size], "dots"))
    panels.append(Panel("PPO: the gold", "sqrt(KL), nats", "gold", golds))
    panels.append(Panel("PPO: the proxies", "sqrt(KL), nats", "proxy (policy's replies: 0 +- 1)", likes))
    others = ["small", *(name for name in runs if name not in SIZES)]
    panels.append(Panel("PPO: restraining the smallest proxy", "sqrt(KL), nats", "gold", [
        Series(name, runs[name].points, COLORS[n], "dots") for n, name in enumerate(others)]))  # fmt: skip
    ppo_seeds = sum(bool(one.trajectories) for one in seeds)
    legend = "dashed: d (a - b d) for best of n, d (a - b log d) for PPO, fitted (Gao et al. 2022)"
    note = f"Seeds of best of n: {len(seeds)}, of PPO: {ppo_seeds}; {legend}"
    save_picture(path, picture("Maximizing a proxy: its reward grows, the gold turns down", panels, note))


def first_of(seeds: Sequence[Seed]) -> float:
    """Return the gold of the initial policies of the PPO runs, from best of 1, which has the most replies."""
    return float(np.mean([one.best["small"][0][1] for one in seeds if one.trajectories]))


def fits(seeds: Sequence[Seed]) -> dict[str, Law]:
    """Return the law of each size, fitted to the means over seeds."""
    at, found = [math.sqrt(kl_best_of(n)) for n in ENDS], {}
    for size in SIZES:
        gold = np.mean([[pair[1] for pair in one.best[size]] for one in seeds], 0)
        found[f"best of n, {size}"] = fitted(at, (gold - gold[0]).tolist(), logarithmic=False)
        runs = [one.trajectories[size] for one in seeds if one.trajectories]
        if runs:
            found[f"ppo, {size}"] = smooth(mean_of(runs)).law(first_of(seeds))
    return found


def summary(trajectory: Trajectory) -> dict[str, float]:
    """Return the figures of a trajectory at its start, best gold and end."""
    one = smooth(trajectory)
    top = int(np.argmax(one.gold))
    figures = {
        "gold first": trajectory.gold[0],
        "gold best": one.gold[top],
        "at KL": one.kl[top],
        "gold last": one.gold[-1],
    }
    figures |= {
        "proxy first": trajectory.proxy[0],
        "proxy best": one.proxy[top],
        "proxy last": one.proxy[-1],
        "KL last": one.kl[-1],
    }
    return {name: round(float(x), 3) for name, x in figures.items()}


def main() -> None:
    """Measure, draw, and print one JSON object."""
    arguments = parser("align_overoptimize", __doc__)
    arguments.add_argument("--comparisons", type=int, default=sized(2000, 80))
    arguments.add_argument("--iterations", type=int, default=sized(30, 6))
    arguments.add_argument("--seeds", type=int, default=sized(3, 1))
    arguments.add_argument("--ppo-seeds", type=int, default=sized(2, 1), help="number of these seeds that also run PPO")
    arguments.add_argument("--betas", type=float, nargs="*", default=[0.1])
    arguments.add_argument("--work", type=Path, help="folder for finished seeds, to resume from")
    options = arguments.parse_args()
    began = time.perf_counter()
    seeds = [kept(seed, options) for seed in range(options.seeds)]
    laws = fits(seeds)
    drawn(seeds, laws, PICTURE)
    runs = {
        name: mean_of([one.trajectories[name] for one in seeds if one.trajectories]) for name in seeds[0].trajectories
    }
    best = {name: np.mean([[pair[1] for pair in one.best[name]] for one in seeds], 0) for name in seeds[0].best}
    result(
        "align_overoptimize", "gold that PPO on the smallest proxy lost after its best",
        max(smooth(runs["small"]).gold), smooth(runs["small"]).gold[-1],
        accuracy={size: round(float(np.mean([one.knows[size] for one in seeds])), 3) for size in SIZES},
        best_of={name: dict(zip(map(str, ENDS), np.round(x, 3).tolist(), strict=True)) for name, x in best.items()},
        oracle=round(float(np.mean([one.oracle for one in seeds])), 3),
        ppo={name: summary(one) for name, one in runs.items()},
        laws={name: {"a": round(x.a, 4), "b": round(x.b, 4), "r2": round(x.r2, 3)} for name, x in laws.items()},
        minutes=round((time.perf_counter() - began) / 60, 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
