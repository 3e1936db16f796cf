"""Act: plan a training run from a budget of time, money or FLOPs."""

import math
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Annotated

from rich.table import Table

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import read_object
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.output import console
from sayso.base.ranges import Minutes, Options, Positive, Range, Scale
from sayso.law.plan import Alternative, Plan, plan_run, smaller
from sayso.law.scaling import ScalingLaw
from sayso.train.measure import matmul_peak

Flops = Annotated[float, Range(0, 1e40, above=True)]


@dataclass(frozen=True)
class PlanOptions(Options):
    """Options of `sayso plan`."""

    _: KW_ONLY
    minutes: Minutes | None = None
    """Budget: minutes on this machine, whose fastest matrix product is measured."""
    flops: Flops | None = None
    """Budget: training FLOPs, such as 1e18."""
    gpus: Positive | None = None
    """Budget: number of GPUs, with --hours and --peak."""
    hours: Scale | None = None
    """Hours that the GPUs run."""
    dollars: Scale | None = None
    """Budget: money, with --price and --peak."""
    price: Scale | None = None
    """Dollars for an hour of one GPU."""
    peak: Flops | None = None
    """Peak of one GPU in FLOPs per second, as in its data sheet: 989e12 for an H100 in bf16."""
    utilization: Annotated[float, Range(0, 1, above=True)] = 0.4
    """Share of the peak that training reaches (MFU)."""
    vocab_size: Annotated[int, Range(261, 10**7)] = 8192
    """Size of the vocabulary."""
    context: Annotated[int, Range(16, 10**6)] = 1024
    """Tokens of a row."""
    law: Path | None = None
    """Fitted law (law.json of `sayso law fit`). Default: that of the life, if it has one."""
    device: str | None = None
    """Device to measure for --minutes: cpu, cuda or mps. Default: the best one available."""
    life: Path = Path("life")
    """Folder of the life."""


@dataclass(frozen=True)
class Planned:
    """The run, and smaller models that reach its loss."""

    plan: Plan
    flops_per_second: float | None
    """Speed that was assumed."""
    alternatives: tuple[Alternative, ...]


def plan(options: PlanOptions) -> Planned:
    """Plan a training run from a budget."""
    flops, speed = _budget(options)
    path = options.law or Life(options.life).run("law") / "law.json"
    law = _read(path) if options.law is not None or path.exists() else None
    found = plan_run(flops, options.vocab_size, options.context, law)
    others = tuple(smaller(found, law)) if law is not None else ()
    _show(found, speed, law is not None)
    if others:
        _show_others(found, others)
    return Planned(found, speed, others)


def _budget(options: PlanOptions) -> tuple[float, float | None]:
    """Return the FLOPs of the budget, and the FLOPs per second of all devices, if they are known."""
    given = [name for name in ("minutes", "flops", "gpus", "dollars") if getattr(options, name) is not None]
    if len(given) != 1:
        got = " and ".join(f"--{name}" for name in given) or "none"
        raise UserError(f"Give one budget: --minutes, --flops, --gpus with --hours, or --dollars; got {got}.")
    if options.flops is not None:
        return options.flops, None
    if options.minutes is not None:
        speed = options.utilization * matmul_peak(pick_device(options.device).kind)
        return 60 * options.minutes * speed, speed
    needed = ("hours", "peak") if options.gpus is not None else ("price", "peak")
    if missing := [name for name in needed if getattr(options, name) is None]:
        raise UserError(f"--{given[0]} needs --{missing[0]}.")
    assert options.peak is not None
    if options.gpus is not None:
        assert options.hours is not None
        speed = options.gpus * options.utilization * options.peak
        return 3600 * options.hours * speed, speed
    assert options.dollars is not None
    assert options.price is not None
    return 3600 * options.dollars / options.price * options.utilization * options.peak, None


def _read(path: Path) -> ScalingLaw:
    """Return the law of a file."""
    if not path.exists():
        raise UserError(f"There is no file '{path}'; fit a law with 'sayso law fit'.")
    names = [field.name for field in fields(ScalingLaw)]
    record = read_object(path, *names)
    for name in names:
        value = record[name]
        if not isinstance(value, int | float) or not 0 < value < 1e30:
            raise UserError(f"'{path}' is no law: its {name} must be a positive number; got {value!r}.")
    return ScalingLaw(**{name: float(record[name]) for name in names})


def _show(plan: Plan, speed: float | None, has_law: bool) -> None:
    config = plan.config
    say(
        f"{plan.flops:.3g} FLOPs: depth {config.layers}, width {config.width}, {config.heads} heads "
        f"({config.kv_heads} for keys and values), MLP {config.mlp_width}: {plan.parameters / 1e6:,.2f}M weights in "
        f"matrices, {plan.weights / 1e6:,.2f}M in all."
    )
    say(
        f"{plan.tokens:,} tokens, {plan.tokens / plan.parameters:.1f} for each of these weights: {plan.steps:,} steps "
        f"of {plan.rows} rows x {plan.row_tokens} tokens."
    )
    if speed is not None:
        say(f"At {speed:.3g} FLOPs per second: {plan.flops / speed / 60:,.1f} minutes.")
    memory = plan.memory()
    parts = ", ".join(f"{name} {_size(value)}" for name, value in memory.items())
    say(f"Memory of a step with all rows at once: {_size(sum(memory.values()))} ({parts}).")
    say(f"Serving: {plan.serving_flops:.3g} FLOPs and {plan.cache_bytes:,} bytes of cache per token.")
    if plan.loss is not None:
        say(f"Expected loss: {plan.loss:.3f} nats per token.")
    elif not has_law:
        say("Without a law, no loss is expected; fit one to runs of your own with 'sayso law fit'.")


def _show_others(best: Plan, others: tuple[Alternative, ...]) -> None:
    table = Table("depth", "weights", "tokens", "training", "serving", "pays after serving", box=None)
    for one in others:
        table.add_row(
            str(one.plan.config.layers),
            f"{one.plan.parameters / 1e6:,.2f}M",
            f"{one.plan.tokens:,}",
            f"x {one.extra:.2f}",
            f"x {one.plan.serving_flops / best.serving_flops:.2f}",
            f"{one.pays_after:.3g} tokens",
        )
    say("Smaller models that reach the same loss with more tokens:")
    console().print(table)


def _size(value: float) -> str:
    power = max(0, min(4, int(math.log10(max(value, 1)) // 3)))
    return f"{value / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
