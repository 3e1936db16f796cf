"""Act: train a base model on prepared text.

Input: prepared documents and a tokenizer. Output: `models/base`. Model shape, batch size, learning rates and steps are
derived from --depth, or from --minutes and the measured speed of the machine; explicit options take precedence.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, Literal

import torch

from sayso.base.device import Device, pick_device
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
from sayso.base.log import act_log, say
from sayso.base.ranges import Depth, Minutes, Positive, Rows, Scale, Tokens, Weight, Width
from sayso.batch.shards import Shards
from sayso.batch.text import TextBatches
from sayso.batch.tokens import open_tokens
from sayso.judge.bits import document_bits
from sayso.judge.held_out import held_out
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.run.results import Trained, trained
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.token.load import load as load_tokenizer
from sayso.token.tokenizer import BOS, END, Tokenizer
from sayso.train.dial import depth_of_budget, rows_of_tokens, shape_of_depth, tokens_of_shape, with_ngrams
from sayso.train.layout import layout_of_plan
from sayso.train.loop import State
from sayso.train.measure import steps_in_minutes
from sayso.train.oom import layout_that_fits
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.options import Training
from sayso.train.recipe import Recipe
from sayso.train.schedule import Schedule
from sayso.train.session import Derived, open_session
from sayso.train.step_log import Evaluation
from sayso.weights.folder import save_model

JUDGEMENTS, JUDGE_BYTES = 6, 20_000  # number of evaluations during training, and bytes of held-out text of each kind
SAMPLE_TOKENS = 60  # length of the text sampled at each evaluation
PROBE_TOKENS = 4_096  # batch size for measuring the machine's speed before the number of rows is known
PROBE_DEPTH = 4  # depth for measuring the machine's speed before the depth is known


@dataclass(frozen=True)
class Pretrain(Training):
    """Options of `sayso pretrain`."""

    _: KW_ONLY
    name: str = "base"
    """Name of the new model."""
    depth: Depth | None = None
    """Number of layers, which determines width, heads, batch size and steps. Default: derived from --minutes."""
    minutes: Minutes | None = None
    """Time budget for training in minutes; the machine's speed is measured first."""
    steps: Positive | None = None
    """Number of training steps. Default: derived from the depth or --minutes."""
    rows: Rows | None = None
    """Rows per batch. Default: derived."""
    context: Tokens = 512
    """Context length of the model in tokens."""
    row_tokens: Tokens | None = None
    """Tokens per row of a batch, at most the context. Default: the context."""
    recipe: Literal["standard", "fastest"] = "standard"
    """standard opens in other programs; fastest (ReLU squared, n-gram embeddings) learns faster but is Sayso-only."""
    mlp: Literal["swiglu", "relu2"] | None = None
    """Type of the feed-forward layers. Default: set by --recipe."""
    mlp_width: Width | None = None
    """Hidden size of the feed-forward layers. Default: derived."""
    rate: Scale = 1.0
    """Multiplier on all learning rates."""
    weight_decay: Weight = 0.0
    """Decoupled weight decay of the matrices in the blocks."""


@exclusive(model_output)
def pretrain(options: Pretrain) -> Trained:
    """Train a base model on the prepared text."""
    life = Life(options.life)
    tokenizer = load_tokenizer(life.tokenizer)
    session = open_session(
        life,
        "pretrain",
        options.name,
        options,
        {"text": life.data("text") / "manifest.json", "tokenizer": life.tokenizer / "tokenizer.json"},
    )
    if session.finished() and not options.restart:
        say(f"The model '{options.name}' has already been pre-trained with these options.")
        return trained(life, "pretrain", options.name, finished_before=True)
    shards = open_tokens(life, tokenizer)
    device, judge = pick_device(options.device), _judge(life, tokenizer)
    derived = session.plan(lambda: _derive(options, shards, device), options.restart)
    config = ModelConfig(**derived["model"])
    rows, row_tokens, steps = derived["rows"], derived["row_tokens"], derived["steps"]
    _report(config, rows, row_tokens, steps, shards)
    batches = TextBatches(shards, rows, row_tokens, options.seed)
    model = Transformer(config).initialize(torch.Generator().manual_seed(options.seed)).to(device.kind)
    rates = Rates(weight_decay=options.weight_decay).times(options.rate)
    state = State(model, make_optimizers(model, rates))

    with act_log(life, "pretrain", options.name, options) as log:
        recipe = Recipe(
            batches,
            batch_loss,
            Schedule(steps, warmup=min(20, steps // 10 + 1)),
            Evaluation(judge, max(1, steps // JUDGEMENTS)) if judge else None,
        )
        session.train(state, recipe, layout_of_plan(derived["layout"], options, rows, device), options, log)
        save_model(model, tokenizer, life.model(options.name), session.lineage("base", None, derived, state))
    say(f"Saved {life.model(options.name)}.")
    return trained(life, "pretrain", options.name)


def _judge(life: Life, tokenizer: Tokenizer) -> Callable[[State], dict[str, Any]] | None:
    """Return a function that evaluates a state in bits per byte on held-out text and samples from it.

    None if there is no held-out text.
    """
    held = held_out(life.data("text"), "val", JUDGE_BYTES)
    if not held:
        say("There is no held-out text, so the run is trained without evaluation.")
        return None
    ids = {kind: tokenizer.encode_batch(sample.texts) for kind, sample in held.items()}
    sizes = {kind: sum(sample.sizes) for kind, sample in held.items()}

    def judge(state: State) -> dict[str, Any]:
        bits = {kind: document_bits(state.model, ids[kind], tokenizer.specials[BOS]).sum() for kind in held}
        return (
            {"val_bpb": round(float(sum(bits.values()) / sum(sizes.values())), 4)}
            | {f"val_bpb_{kind}": round(float(bits[kind] / sizes[kind]), 4) for kind in held}
            | {"sample": _sample(state, tokenizer)}
        )

    return judge


def _sample(state: State, tokenizer: Tokenizer) -> str:
    """Return the beginning of a document sampled from the model."""
    room = min(SAMPLE_TOKENS, state.model.config.context - 1)
    sampling = Sampling(max_tokens=room, seed=state.step)
    (sample,) = generate(state.model, [[tokenizer.specials[BOS]]], sampling, frozenset({tokenizer.specials[END]}))
    return tokenizer.decode(sample.ids)


def _derive(options: Pretrain, shards: Shards, device: Device) -> Derived:
    """Return shape, rows, processes and steps; with a time budget, measure the machine's speed first."""
    width = min(options.row_tokens or options.context, options.context)

    def steps_of(config: ModelConfig, rows: int) -> int:
        assert options.minutes is not None
        batches = TextBatches(shards, rows, width, options.seed)
        layout = layout_that_fits(options, config, rows, width, device)
        return steps_in_minutes(options.minutes, config, batches, layout, device, recompute=options.recompute)

    def shape(depth: int) -> ModelConfig:
        fastest = options.recipe == "fastest"
        mlp = options.mlp or ("relu2" if fastest else "swiglu")
        config = shape_of_depth(depth, shards.vocab_size, options.context, mlp, options.mlp_width)
        return with_ngrams(config) if fastest else config

    depth, flops = options.depth, None
    if options.minutes is not None:
        probe, rows = shape(depth or PROBE_DEPTH), options.rows or max(1, PROBE_TOKENS // width)
        flops = steps_of(probe, rows) * rows * width * probe.flops_per_token(width)
    if depth is None:
        depth = depth_of_budget(flops, shards.vocab_size, width) if flops else PROBE_DEPTH
    config = shape(depth)
    tokens = round(flops / config.flops_per_token(width)) if flops else tokens_of_shape(config)
    rows = options.rows or rows_of_tokens(tokens, width)
    TextBatches(shards, rows, width, options.seed)  # raises if the text cannot be trained on
    steps = options.steps
    if steps is None and options.minutes is not None:
        steps = steps_of(config, rows)
    return {
        "model": asdict(config),
        "rows": rows,
        "row_tokens": width,
        "layout": asdict(layout_that_fits(options, config, rows, width, device)),
        "steps": steps or max(1, round(tokens / (rows * width))),
    }


def _report(config: ModelConfig, rows: int, row_tokens: int, steps: int, shards: Shards) -> None:
    tokens = rows * row_tokens * steps
    say(
        f"{config.layers} layers, {config.width} wide, {config.heads} heads ({config.kv_heads} for keys and values), "
        f"{config.mlp} {config.mlp_width}: {config.matmul_parameters / 1e6:.2f}M matrix weights."
    )
    if config.ngrams:
        orders = ", ".join(map(str, config.ngrams))
        say(f"N-grams of {orders} tokens, {config.ngram_rows:,} rows each: a Sayso-only model (--recipe fastest).")
    say(
        f"{steps:,} steps of {rows} rows x {row_tokens} tokens: {tokens / 1e6:.2f}M tokens, "
        f"{tokens / shards.tokens:.2f} passes over the text."
    )
