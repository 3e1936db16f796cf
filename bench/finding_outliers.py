"""A few dimensions of a trained model are many times as large as all others (Dettmers et al. 2022).

    python -m bench.finding_outliers [TEXT] [--pictures FOLDER]

SmolLM2-135M-Instruct on a text (default: this project's documentation). `ours` is the perplexity with the outlier
columns kept in float32 while all others are rounded to 8 bits, `peer` with all rounded.
"""

from pathlib import Path

import torch

from bench.harness import parser, result, save_picture, say, sized
from bench.law_compress import documentation
from bench.smollm2 import smollm2
from sayso.lens import OutlierFeatures, Rounding, outlier_features, rounding_effect
from sayso.report.chart import COLORS, Panel, Series, picture

ROWS, LENGTH = sized((8, 256), (1, 16))


def main() -> None:
    """Find the outlier features, round each block in turn, and draw both."""
    arguments = parser("finding_outliers", __doc__)
    arguments.add_argument("text", type=Path, nargs="?", help="text file; default: this project's documentation")
    arguments.add_argument("--pictures", type=Path, default=Path("docs/images"), help="folder of the picture")
    given = arguments.parse_args()
    model, tokenizer = smollm2()
    text = given.text.read_text(encoding="utf-8") if given.text else documentation().decode()
    rows = torch.tensor(tokenizer.encode(text[:100_000])[: ROWS * LENGTH]).view(ROWS, LENGTH)
    found = outlier_features(model, rows)
    say(f"{len(found.dimensions)} outlier features in {ROWS * LENGTH:,} tokens; rounding each block in turn ...")
    effect = rounding_effect(model, rows)
    save_picture(given.pictures / "finding-outliers.svg", drawn(found, effect))
    result(
        "finding_outliers", "perplexity", round(float(effect.aware_all), 2), round(float(effect.naive_all), 2),
        peer_name="all columns rounded", plain=round(float(effect.plain), 2),
        dimensions=[int(one) for one in found.dimensions], tokens=ROWS * LENGTH,
        blocks=[round(float(found.layers[one]), 2) for one in found.dimensions],
    )  # fmt: skip


def drawn(found: OutlierFeatures, effect: Rounding) -> str:
    """Return the largest inputs of each block, and what rounding it does to the perplexity."""
    peaks = found.peaks.amax(-1).T.tolist()  # of attention and MLP
    rises = [[100 * (float(value) / effect.plain - 1) for value in one] for one in (effect.naive, effect.aware)]
    series = {
        name: Series(name, list(enumerate(values)), COLORS[number % 2])
        for number, (name, values) in enumerate(
            zip(("attention", "MLP", "all columns", "outliers kept"), (*peaks, *rises), strict=True)
        )
    }
    panels = [
        Panel("Largest inputs of a block", "block", "magnitude", [series["attention"], series["MLP"]]),
        Panel("A block rounded to 8 bits", "block", "perplexity, change in %",
              [series["all columns"], series["outliers kept"]]),
    ]  # fmt: skip
    return picture("Outlier features of SmolLM2-135M", panels)


if __name__ == "__main__":
    main()
