"""Cost and quality of a model: size on disk, tokens per second, perplexity and task scores, compared side by side."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from sayso import world
from sayso.base.output import console
from sayso.judge.bits import document_bits
from sayso.judge.scorecard import judge_tasks
from sayso.judge.statistics.estimate import Estimate, ratio
from sayso.model import Transformer
from sayso.reply.conversation import Replier
from sayso.sample.generate import generate
from sayso.sample.pages import bytes_per_token
from sayso.sample.sampling import Sampling
from sayso.weights.folder import load_model
from sayso.weights.tensors import weights_file

ROUNDS, NEW, PROMPT = 3, 48, 32  # timed rounds, maximum new tokens per round, prompt tokens
CONTEXT = 1024  # maximum context for perplexity

Costs = dict[str, Any]


def measure_cost(folder: Path, device: str, texts: Sequence[str], n: int) -> Costs:
    """Return size in MB, decoded tokens per second, nats by document, and scores of `n` tasks per family."""
    model, tokenizer = load_model(folder, device)
    replier = Replier(model, tokenizer)
    ids = tokenizer.encode_batch(list(texts))
    bos = tokenizer.specials["<|bos|>"]
    found: Costs = {"megabytes": weights_file(folder).stat().st_size / 1e6, "tokens_per_second": _speed(replier)}
    if texts:
        nats = document_bits(model, ids, bos, CONTEXT) * math.log(2)
        found["text"] = {"nats": nats.tolist(), "tokens": [len(row) for row in ids]}
        found["perplexity"] = math.exp(nats.sum() / sum(map(len, ids)))
    if n and replier.converses:
        scores = judge_tasks(replier, n)
        means = {"look-ups": scores.mean(world.STORY_FAMILIES), "instructions": scores.mean(world.INSTRUCTION_FAMILIES)}
        found["tasks"] = {name: mean.as_dict() for name, mean in means.items()}
    return found


def show_costs(costs: dict[str, Costs]) -> None:
    """Print a table of the costs of two versions of a model, the original first."""
    before, after = costs.values()
    table = Table(title=" and ".join(costs))
    for column in ("", *costs, "change"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("size, MB", *_pair("{:,.1f}", before["megabytes"], after["megabytes"]))
    table.add_row("tokens/s", *_pair("{:,.1f}", before["tokens_per_second"], after["tokens_per_second"]))
    if "perplexity" in before:
        change = ratio_of(before["text"], after["text"])
        table.add_row(
            "perplexity",
            f"{before['perplexity']:.3f}",
            f"{after['perplexity']:.3f}",
            f"{100 * change.mean:+.2f} % ({100 * change.low:+.2f} to {100 * change.high:+.2f})",
        )
    for name, first in before.get("tasks", {}).items():
        values = [Estimate.from_dict(part) for part in (first, after["tasks"][name])]
        cells = [f"{value.mean:.2f} ({value.low:.2f} to {value.high:.2f})" for value in values]
        table.add_row(name, *cells, f"{values[1].mean - values[0].mean:+.2f}")
    console().print(table)


def ratio_of(before: Costs, after: Costs) -> Estimate:
    """Return the relative increase of the perplexity, with its 95 % interval over documents."""
    found = ratio(np.array(after["nats"]) - np.array(before["nats"]), before["tokens"])
    return Estimate(math.expm1(found.mean), found.se, found.n, math.expm1(found.low), math.expm1(found.high))


def _pair(form: str, before: float, after: float) -> tuple[str, str, str]:
    return form.format(before), form.format(after), f"x {after / before:.2f}"


def _speed(replier: Replier) -> float:
    (found,) = alternating_speeds([replier], ROUNDS)
    return found


def alternating_speeds(repliers: Sequence[Replier], rounds: int) -> list[float]:
    """Return the median decoded tokens per second of each model, which take turns so that a busy machine slows all."""
    speeds: list[list[float]] = [[] for _ in repliers]
    for _ in range(rounds + 1):  # the first warms up
        for replier, own in zip(repliers, speeds, strict=True):
            prompt = [replier.tokenizer.specials["<|bos|>"]] + [5 + token for token in range(PROMPT)]
            start = time.perf_counter()
            (done,) = generate(replier.model, [prompt], Sampling(temperature=0, max_tokens=NEW))
            own.append(len(done.ids) / (time.perf_counter() - start))
    return [median(own[1:]) for own in speeds]


def bytes_held(model: Transformer) -> int:
    """Return the bytes of a model's weights and of the cache of one full context."""
    weights = {one.data_ptr(): one.numel() * one.element_size() for one in (*model.parameters(), *model.buffers())}
    return sum(weights.values()) + model.config.context * bytes_per_token(model.config, model.dtype)
