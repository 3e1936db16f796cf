"""The cost of quantizing SmolLM2-135M-Instruct: perplexity on held-out text, and decoding speed.

The weights come from a package with 4-bit weights, so that 4-bit rows round a second time. The peer of the calibrated 4
bits (GPTQ) is rounding to the nearest on the same grid; a ratio of 2 means half the loss. SOURCE is a source of
`sayso prepare`, by default encyclopedia articles.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import torch

from bench.harness import TINY, parser, result, say, sized, speed
from bench.smollm2 import TEXT, smollm2
from sayso.base.life import Life
from sayso.judge.bits import document_bits
from sayso.judge.calibration import rows_of, texts_of
from sayso.model import Transformer
from sayso.run.quantize import OUTLIERS
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.weights.quantize.integers import Grid
from sayso.weights.quantize.quantize import QuantizeMethod, quantize_model
from sayso.weights.quantize.scheme import Scheme

JUDGED_BYTES, CALIBRATED, CONTEXT = sized((32_768, 16_384, 512), (500, 256, 64))
NEW, ROUNDS = sized((48, 5), (2, 1))
FOUR = Scheme(Grid(4, 64, symmetric=False), ends8=True)
EIGHT = Scheme(Grid(8), ends8=True)
BOTH8 = Scheme(Grid(8), inputs8=True, ends8=True)
WAYS = {
    "float32": None,
    "8 bits": (EIGHT, QuantizeMethod()),
    "8 bits, inputs too": (BOTH8, QuantizeMethod()),
    "8 bits, inputs too, without outliers": (BOTH8, QuantizeMethod(outliers=OUTLIERS)),
    "4 bits, nearest": (FOUR, QuantizeMethod()),
    "4 bits, GPTQ": (FOUR, QuantizeMethod(gptq=True)),
}


def main() -> None:
    """Quantize in each way, judge all on the same text, and measure decoding in turns."""
    arguments = parser("quantize_quality")
    arguments.add_argument("source", nargs="?", default="wiki", help="source of text, as for sayso prepare")
    _, tokenizer = smollm2()
    learn, judge = texts(arguments.parse_args().source)
    rows = rows_of(tokenizer, learn, None, CONTEXT, CALIBRATED)
    documents = tokenizer.encode_batch(list(judge))
    tokens, bos = sum(map(len, documents)), tokenizer.specials["<|bos|>"]
    models, perplexity = {}, {}
    for name, way in WAYS.items():
        model, _ = smollm2()
        if way:
            quantize_model(model, *way, rows)
        bits = document_bits(model, documents, bos, CONTEXT).sum()
        models[name], perplexity[name] = model, math.exp(bits * math.log(2) / tokens)
        say(f"{name}: {perplexity[name]:.3f}")
    lost = {name: perplexity[name] / perplexity["float32"] - 1 for name in WAYS}
    result(
        "quantize_quality", "1 / share of perplexity lost in 4 bits", 1 / (lost["4 bits, GPTQ"] or math.nan),
        1 / (lost["4 bits, nearest"] or math.nan), peer_name="nearest", perplexity=_round(perplexity),
        lost=_round(lost),
        tokens_per_second=_round(decoding(models, documents[0][:32])), judged_tokens=tokens,
        calibrated_tokens=rows.numel(), threads=torch.get_num_threads(), torch=torch.__version__,
    )  # fmt: skip


def texts(source: str) -> tuple[Iterable[str], Iterable[str]]:
    """Return the texts to calibrate on, and those to judge on."""
    if TINY:
        return [TEXT] * 20, [TEXT[::-1]]
    found = texts_of(Life(Path("nowhere")), source, JUDGED_BYTES)
    assert found is not None, "a source is given"
    return found.learn, found.judge


def decoding(models: dict[str, Transformer], prompt: list[int]) -> dict[str, float]:
    """Return each model's median speed over alternating rounds after a warm-up round."""
    speeds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS + 1):
        for name, model in models.items():
            speeds[name].append(speed(lambda model=model: _decode(model, prompt)))
    return {name: median(found[1:]) for name, found in speeds.items()}


def _decode(model: Transformer, prompt: list[int]) -> float:
    return len(generate(model, [prompt], Sampling(temperature=0, max_tokens=NEW))[0].ids)


def _round(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


if __name__ == "__main__":
    main()
