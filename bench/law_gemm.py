"""Predict the speed of four model shapes from this machine's figures, then measure it.

    python -m bench.law_gemm [--out FILE.svg]

For each shape: reading a prompt, decoding 1, 4 and 16 rows with the engine, and a step of training. The machine is
measured first, without these models. `ours` is the largest relative error of the times, `peer` the bar.
"""

from pathlib import Path

import torch

from bench.contenders import THREADS
from bench.harness import parser, result, save_picture, say, sized
from bench.smollm2 import random_model
from sayso.law.roofline.engine import ROWS, measure_engine
from sayso.law.roofline.machine import measure
from sayso.law.roofline.products import forward_products
from sayso.law.roofline.works import Speed, decoding_speed, measure_beginning, prompt_speed, training_speed
from sayso.model import ModelConfig
from sayso.run.law_gemm import drawn

BAR = 0.20
TOKENS = sized(512, 32)
SHAPES = sized(
    {  # and the rows of a training batch
        "2 layers, 160 wide": (ModelConfig(3072, 2, 160, 5, 5, 32, 448, context=1024), 8),
        "4 layers, 256 wide": (ModelConfig(4096, 4, 256, 8, 8, 32, 704, context=1024), 8),
        "8 layers, 512 wide": (ModelConfig(8192, 8, 512, 16, 8, 32, 1376, context=1024), 4),
        "30 layers, 576 wide, like SmolLM2-135M": (ModelConfig(49152, 30, 576, 9, 3, 64, 1536, context=1024), 1),
    },
    {"1 layer, 32 wide": (ModelConfig(300, 1, 32, 2, 2, 16, 64, context=256), 2)},
)


def main() -> None:
    """Measure the machine, then predict and measure each shape."""
    arguments = parser("law_gemm", __doc__)
    arguments.add_argument("--out", type=Path, help="SVG file to draw the last shape's products and all times into")
    given = arguments.parse_args()
    torch.set_num_threads(THREADS)
    machine = measure("cpu", say)
    beginning, costs = measure_beginning(machine), measure_engine(machine.memory_bandwidth)
    say(f"{machine.peak / 1e9:,.0f} GFLOP/s, {machine.memory_bandwidth / 1e9:.1f} GB/s, {machine.launch * 1e6:.1f} us")
    rows: dict[str, list[Speed]] = {}
    for name, (config, batch) in SHAPES.items():
        model = random_model(config)
        rows[name] = [
            prompt_speed(model, TOKENS, machine, beginning),
            *(decoding_speed(model, count, TOKENS // 2, costs) for count in ROWS),
            training_speed(config, batch, TOKENS, machine, beginning),
        ]
        for one in rows[name]:
            say(f"{name}, {one.name}: predicted {one.predicted:.5f} s, measured {one.measured:.5f}, {one.error:+.1%}")
    config = list(SHAPES.values())[-1][0]
    products = {"prompt": forward_products(config, 1, TOKENS, heads_of=1), "decoding": forward_products(config, 1, 1)}
    if given.out:
        save_picture(given.out, drawn(machine, products, [one for speeds in rows.values() for one in speeds]))
    worst = max(abs(one.error) for speeds in rows.values() for one in speeds)
    result(
        "law_gemm", "largest relative error of a time", round(worst, 4), BAR, peer_name="the bar",
        peak_gflops=round(machine.peak / 1e9), memory_gb_s=round(machine.memory_bandwidth / 1e9, 1), threads=THREADS,
        shapes={name: {one.name: [round(one.predicted, 6), round(one.measured, 6), one.bound] for one in speeds}
                for name, speeds in rows.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
