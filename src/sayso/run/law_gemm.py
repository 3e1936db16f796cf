"""Act: measure this machine, place a model's products under its roofline, and predict and measure its speed."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated

from rich.table import Table

from sayso.base.device import pick_device
from sayso.base.files import write_atomic, write_json
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import check_work, new_file, work_in
from sayso.base.output import console
from sayso.base.ranges import Options, Range
from sayso.law.roofline.engine import ROWS, STEPS, measure_engine
from sayso.law.roofline.machine import BYTES, Machine, measure
from sayso.law.roofline.products import Product, forward_products
from sayso.law.roofline.works import Speed, decoding_speed, measure_beginning, prompt_speed, training_speed
from sayso.report.chart import COLORS, Panel, Point, Series, picture
from sayso.weights.folder import load_model
from sayso.weights.models import called, newest_model

_SIZES = (2**14, 2**18, 2**21, 2**24, 2**27)  # of which the bandwidth is shown


@dataclass(frozen=True)
class Gemm(Options):
    """Options of `sayso law gemm`."""

    model: str = "base"
    """Model of the life, or path of a model folder, whose speed is predicted and measured."""
    _: KW_ONLY
    tokens: Annotated[int, Range(1, 2**16)] = 512
    """Tokens of the prompt, and of a row of training; at most the model's context."""
    rows: Annotated[int, Range(1, 1024)] = 4
    """Rows of a training batch."""
    out: Path | None = None
    """SVG file to draw the roofline and the times into."""
    replace: bool = False
    """Overwrite the file if it exists."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    life: Path = Path("life")
    """Folder of the life, whose runs/law/machine.json gets the machine's figures."""


@dataclass(frozen=True)
class Predicted:
    """The machine, and what was predicted for the model and then measured."""

    machine: Machine
    speeds: Sequence[Speed]


def gemm(options: Gemm) -> Predicted:
    """Measure this machine, and predict and measure a model's speed on it."""
    if options.out is not None:
        new_file(options.out, "--out", options.replace)
    life, device = Life(options.life), pick_device(options.device).kind
    check_work(life.run("law"))
    folder = newest_model(life, options.model)
    model, _ = load_model(folder, device)
    config, tokens = model.config, min(options.tokens, model.config.context)
    machine = measure(device, lambda what: say(f"Measuring {what} ..."))
    _show_machine(machine)
    beginning = measure_beginning(machine)
    speeds = [prompt_speed(model, tokens, machine, beginning)]
    context = min(tokens, config.context - STEPS - 2)
    if device == "cpu" and context >= 1:
        costs = measure_engine(machine.memory_bandwidth)
        speeds += [decoding_speed(model, rows, context, costs) for rows in ROWS]
    speeds.append(training_speed(config, options.rows, tokens, machine, beginning))
    products = {
        f"prompt of {tokens}": forward_products(config, 1, tokens, heads_of=1),
        "decoding 1": forward_products(config, 1, 1, tokens),
        f"training on {options.rows} x {tokens}": forward_products(config, options.rows, tokens),
    }
    _show_products(products, machine)
    _show_speeds(called(folder), speeds)
    work_in(life.run("law"))
    write_json(life.run("law") / "machine.json", asdict(machine))
    if options.out is not None:
        write_atomic(options.out, drawn(machine, products, speeds))
        say(f"Saved {options.out}.")
    return Predicted(machine, speeds)


def _show_machine(machine: Machine) -> None:
    say(
        f"{machine.device} with {machine.threads} threads: products at up to {machine.peak / 1e9:,.0f} GFLOP/s, memory "
        f"at {machine.memory_bandwidth / 1e9:.1f} GB/s, {machine.launch * 1e6:.1f} us to begin an operation."
    )
    table = Table("bytes read and written", *(_bytes(size) for size in _SIZES), box=None)
    for kind in machine.moves:
        rates = (f"{size / machine.moving(kind, size) / 1e9:.1f}" for size in _SIZES)
        table.add_row(f"{kind}, GB/s", *rates)
    console().print(table)


def _show_products(products: dict[str, Sequence[Product]], machine: Machine) -> None:
    table = Table("work", "product", "m, k, n", "times", "FLOP per byte", "GFLOP/s at most", "bound", box=None)
    for name, kinds in products.items():
        for one in kinds:
            most = one.attainable(machine.peak, machine.memory_bandwidth)
            table.add_row(
                name, one.name, f"{one.rows}, {one.inputs}, {one.outputs}", str(one.count), f"{one.intensity:.1f}",
                f"{most / 1e9:.1f}", one.bound(machine.peak, machine.memory_bandwidth),
            )  # fmt: skip
    console().print(table)


def _show_speeds(name: str, speeds: Sequence[Speed]) -> None:
    say(f"The speed of {name}, predicted from the machine's figures and then measured:")
    table = Table("work", "predicted tokens/s", "measured", "error", "bound", box=None)
    for one in speeds:
        predicted, measured = one.tokens / one.predicted, one.tokens / one.measured
        table.add_row(one.name, f"{predicted:,.0f}", f"{measured:,.0f}", f"{100 * one.error:+.0f} %", one.bound)
    console().print(table)


def drawn(machine: Machine, products: dict[str, Sequence[Product]], speeds: Sequence[Speed]) -> str:
    """Return the roofline with the model's products under it, the bandwidths, and predicted beside measured times."""
    peak, slope = machine.peak, machine.memory_bandwidth
    intensities = [2 ** (step / 4) for step in range(-12, 45)]
    roof = [_log(x, min(peak, x * slope) / 1e9) for x in intensities]
    panels = [
        Panel(
            "The roofline", "log10 of FLOP per byte", "log10 of GFLOP/s",
            [
                Series("roofline", roof, COLORS[0]),
                *(
                    Series(name, [_log(one.intensity, one.attainable(peak, slope) / 1e9) for one in kinds],
                           COLORS[1 + number], "dots")
                    for number, (name, kinds) in enumerate(products.items())
                ),
            ],
        ),
        Panel(
            "Memory, by size", "log2 of bytes", "GB/s",
            [
                Series(kind, [(math.log2(size), size / machine.moving(kind, size) / 1e9) for size in BYTES],
                       COLORS[number])
                for number, kind in enumerate(machine.moves)
            ],
        ),
        Panel(
            "Seconds, predicted and measured", "log10 of predicted seconds", "log10 of measured seconds",
            [
                Series("equal", [_log(x, x) for x in (min(_times(speeds)), max(_times(speeds)))], COLORS[3], "dashed"),
                *(
                    Series(one.name, [_log(one.predicted, one.measured)], COLORS[number % len(COLORS)], "dots")
                    for number, one in enumerate(speeds)
                ),
            ],
        ),
    ]  # fmt: skip
    return picture("What this machine can do", panels)


def _times(speeds: Sequence[Speed]) -> list[float]:
    return [seconds for one in speeds for seconds in (one.predicted, one.measured)]


def _log(x: float, y: float) -> Point:
    return math.log10(x), math.log10(y)


def _bytes(size: int) -> str:
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size // 2**10} KiB"
