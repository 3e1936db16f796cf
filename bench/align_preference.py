"""Compare five preference losses on the small world, where a program scores replies: what each gains and costs.

Takes a life with a `tuned` model, such as that of `make demo`. For each seed, the model replies several times to tasks
of two families, the best and the worst reply make a pair, and each loss learns from the same pairs. Reported against
the tuned model, on held-out tasks: how often the reply scores higher; on families that were not aligned, the change in
score; and the change in bits per byte. Run: python -m bench.align_preference LIFE WORK [SEED ...]. WORK is a folder for
results; finished ones are not repeated.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.forest import Panel, forest
from bench.harness import TINY, parser, result, rounded, save_picture, say, sized
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
from sayso.judge.statistics.estimate import Estimate, estimate, ratio
from sayso.judge.world import judge_world
from sayso.reply.conversation import Replier
from sayso.run.align import Align, align
from sayso.sample.sampling import Sampling
from sayso.weights.folder import load_model

LOSSES: tuple[LossName, ...] = ("dpo", "ipo", "kto", "orpo", "simpo")
TAUGHT = ("words", "sentences")
ELSEWHERE = (*world.STORY_FAMILIES, *world.TALK_FAMILIES, "happy", "one_word", "letters")
SEEDS, TASKS, REPLIES = sized((3, 600, 4), (1, 4, 2))
HELD: int | None = sized(None, 4)  # held-out pairs of a run; None = the act's default
RATE, ODDS = sized(0.3, 0.003), 1.0
"""Learning rate of all losses; weight of ORPO's odds (the usual 0.1 changed no held-out comparison)."""
N_TAUGHT, N_ELSEWHERE, TEXT, LONGEST = sized((120, 20, 30_000, 120), (2, 1, 500, 3))
SAMPLED = partial(Sampling, temperature=0.7, max_tokens=LONGEST)  # as for the replies of the pairs


@dataclass(frozen=True)
class Measured:
    """Measurements of one model."""

    taught: list[float]
    """Scores of sampled replies to tasks of the aligned families."""
    elsewhere: list[float]
    """Scores of greedy replies to tasks of other families."""
    bits: dict[str, list[float]]
    """Bits of each held-out document, by kind."""


def measured(life: Life, name: str, seed: int, held: dict[str, HeldOutSample]) -> Measured:
    """Return the measurements of a life's model with the tasks of one seed, from its file if it exists."""
    path = life.root / "measured" / f"{name}-{seed}.json"
    if not path.exists():
        write_json(path, vars(measure(life.model(name), seed, held)))
    return Measured(**read_json(path))


def measure(folder: Path, seed: int, held: dict[str, HeldOutSample]) -> Measured:
    """Measure a model with the tasks of one seed."""
    replier = Replier(*load_model(folder))

    def scores(families: Sequence[str], n: int, sampling: Sampling) -> list[float]:
        judged = judge_world(
            lambda messages: [reply.text for reply in replier.replies(messages, sampling)],
            families=families,
            n=n,
            seed=1000 + seed,
        )
        return [answer.score for answer in judged.answers]

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
    """Compare the losses."""
    arguments = parser("align_preference", __doc__)
    arguments.add_argument("life", type=Path, nargs=sized(None, "?"), help="life with a tuned model")
    arguments.add_argument("work", type=Path, nargs=sized(None, "?"), help="folder for results, to resume from")
    arguments.add_argument("seeds", type=int, nargs="*", help="seeds to run; default: all")
    options = arguments.parse_args()
    seeds = options.seeds or range(SEEDS)
    if not TINY:
        compared(Life(options.life), Life(options.work), seeds)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Life(Path(folder) / "work")
        write_pairs(work.root / "pairs-0.jsonl")
        compared(tiny_life(Path(folder) / "life"), work, seeds)


def compared(source: Life, life: Life, seeds: Sequence[int]) -> None:
    """Align with every loss and seed, and report the changes."""
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
            say(f"seed {seed}: {outcomes[loss][-1].line()}")
    figures = {loss: pooled(found) for loss, found in outcomes.items()}
    draw(figures, Path(__file__).parent.parent / "docs" / "images" / "align_preference.svg")
    best = max(LOSSES, key=lambda loss: figures[loss]["win_rate"]["mean"])
    result(
        "align_preference", "win rate", figures[best]["win_rate"]["mean"], 0.5, best=best,
        peer_name="the tuned model", losses=figures, seeds=list(seeds), tasks=TASKS, replies=REPLIES, taught=TAUGHT,
        questions_a_seed={"taught": N_TAUGHT * len(TAUGHT), "elsewhere": N_ELSEWHERE * len(ELSEWHERE)},
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """Changes by one loss with one seed: differences from the tuned model on the same questions."""

    loss: str
    wins: list[float]
    """1 for each question whose reply scores higher, 0.5 for equal scores, 0 for lower."""
    gained: list[float]
    elsewhere: list[float]
    bits: dict[str, Estimate]
    """Change of bits per byte, by kind of text."""
    facts: dict[str, float]

    def line(self) -> str:
        """Return the outcome in one line."""
        ties = np.mean(np.array(self.wins) == 0.5)
        return (
            f"{self.loss} wins {np.mean(self.wins):.3f} (ties {ties:.2f}), score {np.mean(self.gained):+.3f}, "
            f"elsewhere {np.mean(self.elsewhere):+.3f}, {self.facts}"
        )


def outcome(life: Life, loss: LossName, seed: int, before: Measured, held: dict[str, HeldOutSample]) -> Outcome:
    """Align with one loss and seed, and compare with the tuned model."""
    name, pairs = f"{loss}-{seed}", life.root / f"pairs-{seed}.jsonl"
    rows = 32 if loss == "kto" else 16  # a pair is two ratings
    cache: Literal["cache"] | None = "cache" if loss in WITH_REFERENCE else None
    options = Align(
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
    align(replace(options, rate=RATE, beta=ODDS if loss == "orpo" else None))
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


def pooled(found: list[Outcome]) -> dict[str, Any]:
    """Return the figures of one loss over all seeds: intervals over questions, and each seed's mean."""
    wins, gained, elsewhere = (
        [value for one in found for value in getattr(one, name)] for name in ("wins", "gained", "elsewhere")
    )
    return {
        "win_rate": with_seeds(estimate(wins), [float(np.mean(one.wins)) for one in found]),
        "ties": round(float(np.mean(np.array(wins) == 0.5)), 3),
        "score": with_seeds(estimate(gained), [float(np.mean(one.gained)) for one in found]),
        "elsewhere": with_seeds(estimate(elsewhere), [float(np.mean(one.elsewhere)) for one in found]),
        "bpb": {kind: seeds_of([one.bits[kind].mean for one in found]) for kind in found[0].bits},
        "seconds": round(float(np.mean([one.facts["seconds"] for one in found])), 1),
        "kept_step": [one.facts["kept_step"] for one in found],
    }


def with_seeds(of: Estimate, seeds: list[float]) -> dict[str, Any]:
    """Return an estimate as figures, with the mean of each seed."""
    return rounded({"mean": of.mean, "low": of.low, "high": of.high}) | {"seeds": [round(x, 4) for x in seeds]}


def seeds_of(values: list[float]) -> dict[str, Any]:
    """Return the mean, minimum and maximum over seeds."""
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
        Panel("score, aligned families", 0.0, rows("score")),
        Panel("score, other families", 0.0, rows("elsewhere")),
        Panel("bits per byte of the small world", 0.0, rows("bpb", "smallworld")),
    ]
    save_picture(
        path,
        forest("Five losses on the same pairs: gains and costs (95 %)", list(figures), panels),
    )


if __name__ == "__main__":
    main()
