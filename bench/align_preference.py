"""Five preference losses on the small world, where a program says which reply is better: what each wins and costs.

A life with a `tuned` model enters (that of `make demo`). For each seed the model replies several times to tasks of two
families, best and worst make a pair, and each loss learns from the same pairs. Against the tuned model, on held-out
tasks: how often its reply scores higher; on families that it was not aligned on, the change of its scores, and that
of bits per byte. Run: python -m bench.align_preference LIFE WORK, a folder for what is made, where what is finished
already is not done again; with the number of a seed behind them for this seed alone.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.forest import Panel, forest
from bench.harness import TINY, keep_picture, parser, result, rounded, say, sized
from bench.tiny import tiny_life, write_pairs
from sayso import world
from sayso.align.pairs.preference import WITH_REFERENCE, LossName
from sayso.align.pairs.world_pairs import world_pairs
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.judge.bits import document_bits
from sayso.judge.held_out import HeldOutSample, held_out
from sayso.judge.stats import Estimate, estimate, ratio
from sayso.judge.world import judge_world
from sayso.reply.conversation import Replier
from sayso.run.align import Align, align
from sayso.sample.sampling import Sampling
from sayso.weights.folder import load_model

LOSSES: tuple[LossName, ...] = ("dpo", "ipo", "kto", "orpo", "simpo")
TAUGHT = ("words", "sentences")
ELSEWHERE = (*world.STORY_FAMILIES, *world.TALK_FAMILIES, "happy", "one_word", "letters")
SEEDS, TASKS, REPLIES = sized((3, 600, 4), (1, 4, 2))
HELD: int | None = sized(None, 4)  # pairs that the run is judged by; as the act has it when None
RATE, ODDS = sized(0.3, 0.003), 1.0
"""Of learning, of all losses; and the weight of ORPO's odds, which at its usual 0.1 moved no held-out comparison."""
N_TAUGHT, N_ELSEWHERE, TEXT, LONGEST = sized((120, 20, 30_000, 120), (2, 1, 500, 3))
SAMPLED = partial(Sampling, temperature=0.7, max_tokens=LONGEST)  # as the replies were that made the pairs


@dataclass(frozen=True)
class Measured:
    """What one model says and knows."""

    taught: list[float]
    """The scores of sampled replies to tasks of the families it was aligned on."""
    elsewhere: list[float]
    """Of its likeliest replies to other families."""
    bits: dict[str, list[float]]
    """Of each held-out document, by kind."""


def measured(life: Life, name: str, seed: int, held: dict[str, HeldOutSample]) -> Measured:
    """Ask a model of a life the tasks of one seed, once."""
    path = life.root / "measured" / f"{name}-{seed}.json"
    if not path.exists():
        write_json(path, vars(measure(life.model(name), seed, held)))
    return Measured(**read_json(path))


def measure(folder: Path, seed: int, held: dict[str, HeldOutSample]) -> Measured:
    """Ask a model the tasks of one seed."""
    replier = Replier(*load_model(folder))

    def scores(families: Sequence[str], n: int, sampling: Sampling) -> list[float]:
        asked = judge_world(
            lambda messages: [reply.text for reply in replier.replies(messages, sampling)],
            families=families,
            n=n,
            seed=1000 + seed,
        )
        return [answer.score for answer in asked.answers]

    tokenizer = replier.tokenizer
    return Measured(
        scores(TAUGHT, N_TAUGHT, SAMPLED(seed=seed)),
        scores(ELSEWHERE, N_ELSEWHERE, Sampling(temperature=0, max_tokens=LONGEST)),
        {
            kind: list(document_bits(replier.model, tokenizer.encode_batch(of.texts), tokenizer.specials["<|bos|>"]))
            for kind, of in held.items()
        },
    )


def main() -> None:
    """Read where the lives are, and compare the losses."""
    arguments = parser("align_preference", __doc__)
    arguments.add_argument("life", type=Path, nargs=sized(None, "?"), help="a life with a tuned model")
    arguments.add_argument("work", type=Path, nargs=sized(None, "?"), help="a folder for what is made")
    arguments.add_argument("seeds", type=int, nargs="*", help="all when none is given")
    asked = arguments.parse_args()
    seeds = asked.seeds or range(SEEDS)
    if not TINY:
        compared(Life(asked.life), Life(asked.work), seeds)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Life(Path(folder) / "work")
        write_pairs(work.root / "pairs-0.jsonl")
        compared(tiny_life(Path(folder) / "life"), work, seeds)


def compared(source: Life, life: Life, seeds: Sequence[int]) -> None:
    """Align by every loss with every seed, and tell what that changed."""
    held = held_out(source.data("text"), "val", TEXT)
    outcomes: dict[str, list[Outcome]] = {loss: [] for loss in LOSSES}
    life.model("tuned").parent.mkdir(parents=True, exist_ok=True)
    if not life.model("tuned").exists():
        life.model("tuned").symlink_to(source.model("tuned").resolve())
    for seed in seeds:
        pairs = life.root / f"pairs-{seed}.jsonl"
        if not pairs.exists():
            replier = Replier(*load_model(life.model("tuned")))
            write_jsonl(pairs, world_pairs(replier, TASKS, REPLIES, seed, TAUGHT))
        before = measured(life, "tuned", seed, held)
        for loss in LOSSES:
            outcomes[loss].append(outcome(life, loss, seed, before, held))
            say(f"seed {seed}: {outcomes[loss][-1].told()}")
    figures = {loss: together(found) for loss, found in outcomes.items()}
    draw(figures, Path(__file__).parent.parent / "docs" / "images" / "align_preference.svg")
    best = max(LOSSES, key=lambda loss: figures[loss]["win_rate"]["mean"])
    result(
        "align_preference", "win rate", figures[best]["win_rate"]["mean"], 0.5, best=best,
        peer_name="the tuned model", losses=figures, seeds=list(seeds), tasks=TASKS, replies=REPLIES, taught=TAUGHT,
        questions_a_seed={"taught": N_TAUGHT * len(TAUGHT), "elsewhere": N_ELSEWHERE * len(ELSEWHERE)},
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one loss changed with one seed: differences to the tuned model on the very same questions."""

    loss: str
    wins: list[float]
    """For each question 1 where its reply scores higher, 0.5 where both score the same, 0 where it scores lower."""
    gained: list[float]
    elsewhere: list[float]
    bits: dict[str, Estimate]
    """Change of bits per byte, by kind of text."""
    facts: dict[str, float]

    def told(self) -> str:
        """In one line."""
        ties = np.mean(np.array(self.wins) == 0.5)
        return (
            f"{self.loss} wins {np.mean(self.wins):.3f} (ties {ties:.2f}), score {np.mean(self.gained):+.3f}, "
            f"elsewhere {np.mean(self.elsewhere):+.3f}, {self.facts}"
        )


def outcome(life: Life, loss: LossName, seed: int, before: Measured, held: dict[str, HeldOutSample]) -> Outcome:
    """Align by one loss with one seed, by the act, and compare."""
    name, pairs = f"{loss}-{seed}", life.root / f"pairs-{seed}.jsonl"
    rows = 32 if loss == "kto" else 16  # a pair is two ratings
    cache: Literal["cache"] | None = "cache" if loss in WITH_REFERENCE else None
    given = Align(
        life=life.root,
        loss=loss,
        pairs=pairs,
        name=name,
        seed=seed,
        rows=rows,
        reference=cache,
        held_out=HELD,
        processes=1,
    )
    align(replace(given, rate=RATE, beta=ODDS if loss == "orpo" else None))
    after = measured(life, name, seed, held)
    gained = np.array(after.taught) - np.array(before.taught)
    bits = {
        kind: ratio(np.array(after.bits[kind]) - np.array(before.bits[kind]), np.array(of.sizes))
        for kind, of in held.items()
    }
    kept = read_json(life.run(f"align-{name}") / "best" / "best.json")
    ended = read_log(life.run(f"align-{name}") / "run.jsonl")[-1]
    return Outcome(
        loss,
        list((np.sign(gained) + 1) / 2),
        list(gained),
        list(np.array(after.elsewhere) - np.array(before.elsewhere)),
        bits,
        {"seconds": ended["seconds"], "kept_step": kept["step"]},
    )


def together(found: list[Outcome]) -> dict[str, Any]:
    """Return the figures of all seeds of one loss; intervals are over questions, each seed's mean stands beside."""
    wins, gained, elsewhere = (
        [value for one in found for value in getattr(one, name)] for name in ("wins", "gained", "elsewhere")
    )
    return {
        "win_rate": told(estimate(wins), [float(np.mean(one.wins)) for one in found]),
        "ties": round(float(np.mean(np.array(wins) == 0.5)), 3),
        "score": told(estimate(gained), [float(np.mean(one.gained)) for one in found]),
        "elsewhere": told(estimate(elsewhere), [float(np.mean(one.elsewhere)) for one in found]),
        "bpb": {kind: seeds_of([one.bits[kind].mean for one in found]) for kind in found[0].bits},
        "seconds": round(float(np.mean([one.facts["seconds"] for one in found])), 1),
        "kept_step": [one.facts["kept_step"] for one in found],
    }


def told(of: Estimate, seeds: list[float]) -> dict[str, Any]:
    """Return an estimate as figures, with the mean of each seed."""
    return rounded({"mean": of.mean, "low": of.low, "high": of.high}) | {"seeds": [round(x, 4) for x in seeds]}


def seeds_of(values: list[float]) -> dict[str, Any]:
    """Return the mean of some seeds' figures with the least and the largest."""
    return rounded({"mean": float(np.mean(values)), "low": min(values), "high": max(values)})


def draw(figures: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw win rates and costs."""

    def rows(*keys: str) -> list[tuple[float, float, float]]:
        found = []
        for of in figures.values():
            for key in keys:
                of = of[key]
            found.append((of["mean"], of["low"], of["high"]))
        return found

    panels = [
        Panel("wins against the tuned model", 0.5, rows("win_rate")),
        Panel("score, families aligned on", 0.0, rows("score")),
        Panel("score, other families", 0.0, rows("elsewhere")),
        Panel("bits a byte of the small world", 0.0, rows("bpb", "smallworld")),
    ]
    keep_picture(
        path,
        forest(
            "Aligned on the same pairs by five losses: what is won, and what it costs (95 %)", list(figures), panels
        ),
    )


if __name__ == "__main__":
    main()
