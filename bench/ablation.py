"""Measure what each part of the recipe contributes: one change at a time, at two sizes, over three seeds.

    make bench NAME=ablation TEXT=text.jsonl

Paragraphs of a text (rows with "text") are joined into documents of a few hundred tokens, a tenth of them held out.
Every change is trained on as many tokens as the plain recipe. Its held-out loss is compared with that of the plain
recipe at equal tokens, and at equal time: interpolated between the plain recipe's losses after half, as many and twice
the steps, at the relative time of the change, measured on alternating steps. Changes that the model does not support
are applied here, from outside. `--dial` varies what the depth dial sets instead. Each run prints a line of JSON (nats
per token); the last line holds the table. One thread.
"""

import dataclasses
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.harness import parser, result, say, sized
from bench.peer import adamw
from sayso.batch.shards import Shards, write_shards
from sayso.batch.text import TextBatches
from sayso.loss.next_token import IGNORE
from sayso.model import ModelConfig, Transformer
from sayso.model.attention import Attention
from sayso.model.segments import Segments
from sayso.token.train import train as train_tokenizer
from sayso.train.dial import HEAD_SIZE, shape_of_depth
from sayso.train.loop import State, train
from sayso.train.muon import Muon
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.world import story

VOCABULARY, CONTEXT, ROWS, STEPS = sized((2048, 256, 8, 150), (300, 32, 2, 1))
DEPTHS, SEEDS = sized(((1, 3), (0, 1, 2)), ((2,), (0,)))
PARAGRAPH, TRAIN_BYTES, HELD_ROWS = sized((600, 8_000_000, 96), (200, 8_000, 8))
WINDOW = 64
PACE_STEPS, PACE_ROUNDS = sized((6, 5), (1, 1))
SOFT_CAP = 15.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The plain recipe, or one change to it."""

    shape: dict[str, Any] = dataclasses.field(default_factory=dict)
    layers: int = 0
    heads: int = 0
    steps: float = 1.0
    rows: float = 1.0
    decay: float = 0.8
    rates: Rates = dataclasses.field(default_factory=Rates)
    adamw: float = 0.0
    matrix_adamw: float = 0.0
    row_norm: bool = False
    soft_cap: bool = False
    masks: bool = True
    window: bool = False
    change: Callable[[Transformer, torch.Generator], None] | None = None


class Ids:
    """The ids of the current batch, recorded by a hook for the parts that need them."""

    def __init__(self, model: Transformer) -> None:
        model.embed.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, inputs: tuple[Tensor, ...], embedded: Tensor) -> None:
        self.ids, self.embedded = inputs[0], embedded


class ValueEmbedded(Attention):
    """Attention with an embedding of the token added to its values (Zhou et al. 2024; modded-nanogpt)."""

    def project(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v, with the values' embedding."""
        q, k, v = super().project(x, angles)
        return q, k, v + self.share * self.values(self.kept.ids).view(v.shape)


def value_embeddings(model: Transformer, generator: torch.Generator) -> None:
    """Add a value embedding to every second layer, starting at the last."""
    kept = Ids(model)
    for block in list(model.blocks)[::-2]:
        attention = block.attention
        attention.__class__ = ValueEmbedded
        attention.kept = kept
        attention.values = nn.Embedding(model.config.vocab_size, attention.kv_heads * attention.size)
        nn.init.normal_(attention.values.weight, std=1.0, generator=generator)
        attention.share = nn.Parameter(torch.tensor(0.5))


def residual_scalars(model: Transformer, _: torch.Generator) -> None:
    """Feed each block a learned mix of the residual stream and the embedding (modded-nanogpt)."""
    kept = Ids(model)
    for block in model.blocks:
        block.mix = nn.Parameter(torch.tensor([1.0, 0.0]))
        block.register_forward_pre_hook(
            lambda block, inputs: (block.mix[0] * inputs[0] + block.mix[1] * kept.embedded, *inputs[1:])
        )


def no_qk_norm(model: Transformer, _: torch.Generator) -> None:
    """Do not normalize queries and keys."""
    for block in model.blocks:
        block.attention.query_norm, block.attention.key_norm = nn.Identity(), nn.Identity()


def random_projections(model: Transformer, generator: torch.Generator) -> None:
    """Initialize the matrices that write to the residual stream as GPT-2 does (std 0.02 / sqrt(2 layers))."""
    for block in model.blocks:
        for linear in (block.attention.out, block.mlp.down):
            nn.init.normal_(linear.weight, std=0.02 / (2 * model.config.layers) ** 0.5, generator=generator)


def initialized_as_gpt2(model: Transformer, generator: torch.Generator) -> None:
    """Initialize all matrices with std 0.02, those that write to the residual stream with less (GPT-2)."""
    for weight in model.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=0.02, generator=generator)
    random_projections(model, generator)


CHANGES = {
    **{f"AdamW {rate} for the matrices": Recipe(matrix_adamw=rate) for rate in (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)},
    **{f"AdamW {rate} for all, GPT-2's initialization": Recipe(adamw=rate) for rate in (4e-3, 8e-3, 1.6e-2, 3.2e-2)},
    "Muon with normalized rows (NorMuon)": Recipe(row_norm=True),
    "ReLU squared": Recipe(shape={"mlp": "relu2"}),
    "no QK-norm": Recipe(change=no_qk_norm),
    "output projections random, not zero": Recipe(change=random_projections),
    "value embeddings": Recipe(change=value_embeddings),
    "residual and input scalars": Recipe(change=residual_scalars),
    "soft cap of 15 on the logits": Recipe(soft_cap=True),
    "tied head": Recipe(shape={"tie_embeddings": True}),
    "n-gram embeddings (2, 3)": Recipe(shape={"ngrams": (2, 3), "ngram_rows": 16_384}),
    "windows of 64 except in the last layer": Recipe(window=True),
    "no document masks": Recipe(masks=False),
    "linear decay from the start": Recipe(decay=1.0),
    "WSD, decay in the last fifth": Recipe(decay=0.2),
}
DIAL = {
    "half the learning rates": Recipe(rates=Rates().times(0.5)),
    "twice the learning rates": Recipe(rates=Rates().times(2.0)),
    "half the batch": Recipe(rows=0.5, steps=2.0),
    "twice the batch": Recipe(rows=2.0, steps=0.5),
    "weight decay 0.1": Recipe(rates=Rates(weight_decay=0.1)),
    "weight decay 0.3": Recipe(rates=Rates(weight_decay=0.3)),
    "one layer more, one head fewer": Recipe(layers=1, heads=-1),
    "one layer fewer, one head more": Recipe(layers=-1, heads=1),
    "one head fewer": Recipe(heads=-1),
    "one head more": Recipe(heads=1),
}


def main() -> None:
    """Run all changes, or those in `--only`."""
    arguments = parser("ablation")
    arguments.add_argument("text", type=Path, nargs=sized(None, "?"), help='JSON Lines file with rows that have "text"')
    arguments.add_argument("--only", nargs="*", choices=CHANGES | DIAL, help="changes to run")
    arguments.add_argument(
        "--dial", action="store_true", help="vary what the depth dial sets instead of parts of the recipe"
    )
    arguments.add_argument("--depths", nargs="*", type=int, default=DEPTHS)
    arguments.add_argument("--steps", type=int, default=STEPS)
    arguments.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    options = arguments.parse_args()
    names = options.only or (DIAL if options.dial else CHANGES)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as name:
        learn, held = documents(options.text, Path(name))
        table = {depth: compared(depth, options.steps, names, options.seeds, learn, held) for depth in options.depths}
    rows = table[options.depths[-1]]
    plain = statistics.mean(rows["plain"]["loss"])
    most = max(row["equal_time"] for name, row in rows.items() if name != "plain")
    result(
        "ablation", "tokens/nat at the last depth", 1 / plain, 1 / (plain - most),
        peer_name="the best change, at equal time", table=table,
    )  # fmt: skip


def documents(path: Path | None, folder: Path) -> tuple[Shards, Shards]:
    """Return documents to train on and held-out ones, as shards."""
    texts, size = [], 0
    for text in read(path):
        piece = ""
        for paragraph in text.split("\n\n"):
            piece += paragraph + "\n\n"
            if len(piece) >= PARAGRAPH:
                texts.append(piece)
                size, piece = size + len(piece), ""
        if size > TRAIN_BYTES:
            break
    tokenizer = train_tokenizer("bpe", texts[::4], VOCABULARY)
    ids = tokenizer.encode_batch(texts)
    parts = {"held": ids[::10], "learn": [one for number, one in enumerate(ids) if number % 10]}
    for name, kept in parts.items():
        write_shards(folder / name, kept, tokenizer.vocab_size, tokenizer="")
    return Shards.open(folder / "learn"), Shards.open(folder / "held")


def read(path: Path | None) -> Iterator[str]:
    """Yield the texts of a file, or stories of the small world if there is none (`--tiny`)."""
    if path is None:
        yield from (story(0, index, "train") for index in range(100))
        return
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line)["text"] for line in file)


def compared(
    depth: int, steps: int, names: Iterable[str], seeds: Sequence[int], learn: Shards, held: Shards
) -> dict[str, Any]:
    """Return how much each change lowers the loss of the plain recipe, with mean and spread over the seeds."""

    def trained(name: str, recipe: Recipe, seed: int) -> float:
        loss, _ = run(depth, recipe, round(steps * recipe.steps), learn, held, seed)
        say(json.dumps({"depth": depth, "change": name, "seed": seed, "loss": loss}))
        return loss

    plain = [trained("plain", Recipe(), seed) for seed in seeds]
    ends = [(part, trained(f"plain x {part}", Recipe(steps=part), seeds[0])) for part in (0.5, 2)]
    curve = [(math.log(part), loss - plain[0]) for part, loss in [ends[0], (1, plain[0]), ends[1]]]
    rows: dict[str, Any] = {"plain": {"loss": [round(loss, 4) for loss in plain], "curve": curve}}
    for name in names:
        recipe = (CHANGES | DIAL)[name]
        gains = [base - trained(name, recipe, seed) for base, seed in zip(plain, seeds, strict=True)]
        slower = pace(depth, recipe, learn, held)
        rows[name] = {
            "equal_tokens": round(statistics.mean(gains), 4),
            "spread": round(statistics.stdev(gains), 4) if len(gains) > 1 else None,
            "time": round(slower, 3),
            "equal_time": round(read_off(curve, math.log(slower)) + statistics.mean(gains), 4),
        }
        say(json.dumps({"depth": depth, "change": name, **rows[name]}))
    return rows


def pace(depth: int, recipe: Recipe, learn: Shards, held: Shards) -> float:
    """Return the time of a change for the same tokens relative to the plain recipe, from alternating steps."""

    def seconds(of: Recipe) -> float:
        return run(depth, of, round(PACE_STEPS * of.steps), learn, held, seed=0, scored=False)[1]

    return statistics.median(seconds(recipe) / seconds(Recipe()) for _ in range(PACE_ROUNDS))


def read_off(curve: list[tuple[float, float]], x: float) -> float:
    """Return the loss at log time `x`, on the line through the two nearest points of the curve."""
    (x0, y0), (x1, y1) = curve[:2] if x < curve[1][0] else curve[1:]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def run(
    depth: int, recipe: Recipe, steps: int, learn: Shards, held: Shards, seed: int, *, scored: bool = True
) -> tuple[float, float]:
    """Train once; return the held-out loss in nats per token (NaN unless `scored`) and the seconds of training."""
    config = shape_of(depth, recipe)
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(config).initialize(generator)
    optimizers = make_optimizers(model, recipe.rates) if recipe.change is None else []
    if recipe.change:
        plain = {name for name, _ in model.named_parameters()}
        recipe.change(model, generator)
        optimizers = with_new(model, plain, recipe.rates)
    if recipe.matrix_adamw:
        (matrices,) = optimizers[0].param_groups
        group = {"params": matrices["params"], "lr": recipe.matrix_adamw, "peak": recipe.matrix_adamw}
        optimizers[0] = torch.optim.AdamW([group], betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    if recipe.adamw:
        initialized_as_gpt2(model, generator)
        optimizers = [adamw(model, recipe.adamw)]
        for group in optimizers[0].param_groups:
            group["peak"] = recipe.adamw
    if recipe.row_norm:
        optimizers[0].__class__ = RowNormMuon
    batches = TextBatches(learn, round(ROWS * recipe.rows), CONTEXT, seed)

    def loss(model: Transformer, batch: Any) -> tuple[Tensor, int, int]:
        total, count = summed(model, recipe, batch)
        return total, count, batch.ids.numel()

    state = State(model, optimizers)
    began = time.perf_counter()
    train(state, lambda step: [batches.batch(step)], loss, Schedule(steps, decay=recipe.decay))
    seconds = time.perf_counter() - began
    if not scored:
        return math.nan, seconds
    with torch.inference_mode():
        parts = [summed(model, recipe, TextBatches(held, HELD_ROWS // 8, CONTEXT, 0).batch(step)) for step in range(8)]
    return float(sum(total for total, _ in parts)) / sum(count for _, count in parts), seconds


def shape_of(depth: int, recipe: Recipe) -> ModelConfig:
    """Return the model config of a depth with a recipe's changes."""
    plain = shape_of_depth(depth, VOCABULARY, CONTEXT)
    heads = max(1, plain.heads + recipe.heads)
    width = heads * HEAD_SIZE
    mlp_width = 4 * width if "mlp" in recipe.shape else 32 * round(8 * width / 3 / 32)
    return dataclasses.replace(
        plain, layers=max(1, plain.layers + recipe.layers), width=width, heads=heads, kv_heads=heads,
        mlp_width=mlp_width, **recipe.shape,
    )  # fmt: skip


def summed(model: Transformer, recipe: Recipe, batch: Any) -> tuple[Tensor, int]:
    """Return the summed loss of a batch and its number of targets."""
    segments = Segments(batch.documents if recipe.masks else torch.zeros_like(batch.documents))
    mask: Any = segments
    if recipe.window:
        near = seen(batch.documents, segments.positions, WINDOW), seen(batch.documents, segments.positions, CONTEXT)
        last = len(model.blocks) - 1
        hooks = [
            block.attention.register_forward_pre_hook(
                lambda _, inputs, wide=number == last: (*inputs[:2], near[wide], *inputs[3:])
            )
            for number, block in enumerate(model.blocks)
        ]
    logits = model.head(model.hidden(batch.ids, positions=segments.positions, mask=mask)).float()
    if recipe.window:
        for hook in hooks:
            hook.remove()
    if recipe.soft_cap:
        logits = SOFT_CAP * torch.tanh(logits / SOFT_CAP)
    total = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE, reduction="sum")
    return total, int((batch.targets != IGNORE).sum())


def seen(documents: Tensor, positions: Tensor, window: int) -> Tensor:
    """Return the mask [B, 1, T, T] of positions in the same document, at most `window` - 1 behind and not ahead."""
    same = documents[:, :, None] == documents[:, None]
    behind = positions[:, :, None] - positions[:, None]
    return (same & (behind >= 0) & (behind < window))[:, None]


class RowNormMuon(Muon):
    """Muon with updates normalized by a second moment of each row (Li et al. 2025, NorMuon)."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002
        """Update the weights, then scale each row of the update."""
        before = [weight.clone() for group in self.param_groups for weight in group["params"]]
        super().step()
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for weight, old in zip(weights, before, strict=True):
            moved = weight - old
            rows = moved.square().mean(dim=1, keepdim=True)
            average = self.state[weight].setdefault("rows", torch.zeros_like(rows)).lerp_(rows, 0.05)
            scaled = moved / average.sqrt().clamp_min(1e-12)
            weight.copy_(old + scaled * (moved.norm() / scaled.norm().clamp_min(1e-12)))


def with_new(model: Transformer, plain: set[str], rates: Rates) -> list[torch.optim.Optimizer]:
    """Return the usual optimizers, with weights that a change added in AdamW at the embedding's rate."""
    new = {name: weight for name, weight in model.named_parameters() if name not in plain}
    optimizers = make_optimizers(model, rates)
    mine = {id(weight) for weight in new.values()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["params"] = [weight for weight in group["params"] if id(weight) not in mine]
    tables = [weight for weight in new.values() if weight.dim() > 1]
    scalars = [weight for weight in new.values() if weight.dim() < 2]
    embedding = next(g for o in optimizers for g in o.param_groups if g["name"] == "embedding")
    for kind, of, rate in (("tables", tables, embedding["peak"]), ("scalars", scalars, rates.norm)):
        if of:
            optimizers[1].add_param_group({"name": kind, "params": of, "lr": rate, "peak": rate})
    return optimizers


if __name__ == "__main__":
    main()
