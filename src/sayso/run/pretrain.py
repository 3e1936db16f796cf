"""Act: text becomes a base model.

Prepared documents and a tokenizer enter; `models/base` leaves. Shape, batch, rates and steps follow from --depth, or
from --minutes on this machine, whose speed is measured first; whoever sets one of them wins.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, Literal

import torch

from sayso.base.device import Device, pick_device
from sayso.base.life import Life
from sayso.base.lock import alone, model_of
from sayso.base.log import act_log, say
from sayso.base.ranges import Depth, Minutes, Positive, Rows, Scale, Tokens, Weight, Width
from sayso.batch.shards import Shards
from sayso.batch.text import TextBatches
from sayso.batch.tokens import open_tokens
from sayso.judge.bits import document_bits
from sayso.judge.held_out import held_out
from sayso.model import ModelConfig, Transformer
from sayso.run.results import Trained, trained
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.token.load import load as load_tokenizer
from sayso.token.tokenizer import BOS, END, Tokenizer
from sayso.train.dial import depth_of_budget, rows_of_tokens, shape_of_depth, tokens_of_shape, with_ngrams
from sayso.train.layout import Training, batch_loss, layout_of_plan, layout_that_fits, steps_in_minutes
from sayso.train.loop import State
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.train.session import Derived, open_session
from sayso.train.step_log import Evaluation
from sayso.weights.folder import save_model

JUDGEMENTS, JUDGE_BYTES = 6, 20_000  # how often held-out text is read while training, and how much of each kind
SAMPLE_TOKENS = 60  # of what the model says at each of these points
PROBE_TOKENS = 4_096  # of a batch with which a machine's speed is measured before the rows are known
PROBE_DEPTH = 4  # the shape on which a machine's speed is measured before the depth is known


@dataclass(frozen=True)
class Pretrain(Training):
    """Options of `sayso pretrain`."""

    _: KW_ONLY
    name: str = "base"
    """What the model is called."""
    depth: Depth | None = None
    """The dial: layers, from which width, heads, batch and steps follow; derived from --minutes when not given."""
    minutes: Minutes | None = None
    """How long to train on this machine; its speed is measured first."""
    steps: Positive | None = None
    """Updates in all; derived when not given."""
    rows: Rows | None = None
    """Rows of a batch; derived when not given."""
    context: Tokens = 512
    """The longest text the model takes, in tokens."""
    row_tokens: Tokens | None = None
    """Tokens in a row of a batch, at most the context; the context when not given."""
    recipe: Literal["standard", "fastest"] = "standard"
    """What opens in other programs, or what learns fastest: ReLU squared and n-gram embeddings, for Sayso alone."""
    mlp: Literal["swiglu", "relu2"] | None = None
    """The feed-forward part; the recipe's when not given."""
    mlp_width: Width | None = None
    """Its hidden size; derived when not given."""
    rate: Scale = 1.0
    """A factor on every learning rate."""
    weight_decay: Weight = 0.0
    """Decoupled decay of the block matrices."""


@alone(model_of)
def pretrain(options: Pretrain) -> Trained:
    """Train a base model on the life's prepared text."""
    life = Life(options.life)
    tokenizer = load_tokenizer(life.tokenizer)
    stage = open_session(
        life,
        "pretrain",
        options.name,
        options,
        {"text": life.data("text") / "manifest.json", "tokenizer": life.tokenizer / "tokenizer.json"},
    )
    shards = open_tokens(life, tokenizer)
    device, judge = pick_device(options.device), _judge(life, tokenizer)
    derived = stage.plan(lambda: _derive(options, shards, device), options.restart)
    if derived is None:
        say(f"The model '{options.name}' is pre-trained already with these options.")
        return trained(life, "pretrain", options.name, finished_before=True)
    config = ModelConfig(**derived["model"])
    rows, row_tokens, steps = derived["rows"], derived["row_tokens"], derived["steps"]
    _tell(config, rows, row_tokens, steps, shards)
    batches = TextBatches(shards, rows, row_tokens, options.seed)
    model = Transformer(config).initialise(torch.Generator().manual_seed(options.seed)).to(device.kind)
    rates = Rates(weight_decay=options.weight_decay).times(options.rate)
    state = State(model, make_optimizers(model, rates))

    with act_log(life, "pretrain", options.name, options) as log:
        stage.train(
            state,
            batches,
            batch_loss,
            Schedule(steps, warmup=min(20, steps // 10 + 1)),
            layout_of_plan(derived["layout"], options, rows, device),
            options,
            log,
            judging=Evaluation(judge, max(1, steps // JUDGEMENTS)) if judge else None,
        )
        save_model(model, tokenizer, life.model(options.name), stage.lineage("base", None, derived, state))
    say(f"Saved {life.model(options.name)}.")
    return trained(life, "pretrain", options.name)


def _judge(life: Life, tokenizer: Tokenizer) -> Callable[[State], dict[str, Any]] | None:
    """Return what scores a state in bits per byte on some held-out text and lets it say something.

    None for a life without such text.
    """
    held = held_out(life.data("text"), "val", JUDGE_BYTES)
    if not held:
        say("There is no held-out text to judge by, so the run is trained without judgements.")
        return None
    ids = {kind: tokenizer.encode_batch(sample.texts) for kind, sample in held.items()}
    sizes = {kind: sum(sample.sizes) for kind, sample in held.items()}

    def judge(state: State) -> dict[str, Any]:
        bits = {kind: document_bits(state.model, ids[kind], tokenizer.specials[BOS]).sum() for kind in held}
        whole = {"val_bpb": sum(bits.values()) / sum(sizes.values())}
        return (
            {key: round(float(value), 4) for key, value in whole.items()}
            | {f"val_bpb_{kind}": round(float(bits[kind] / sizes[kind]), 4) for kind in held}
            | {"sample": _sample(state, tokenizer)}
        )

    return judge


def _sample(state: State, tokenizer: Tokenizer) -> str:
    """Return how a document begins that the model makes up."""
    room = min(SAMPLE_TOKENS, state.model.config.context - 1)
    sampling = Sampling(max_tokens=room, seed=state.step)
    (said,) = generate(state.model, [[tokenizer.specials[BOS]]], sampling, frozenset({tokenizer.specials[END]}))
    return tokenizer.decode(said.ids)


def _derive(options: Pretrain, shards: Shards, device: Device) -> Derived:
    """Return shape, rows, processes and steps; a budget in minutes is measured on this machine first."""
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
    TextBatches(shards, rows, width, options.seed)  # refuses text that cannot be trained on
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


def _tell(config: ModelConfig, rows: int, row_tokens: int, steps: int, shards: Shards) -> None:
    tokens = rows * row_tokens * steps
    say(
        f"{config.layers} layers, {config.width} wide, {config.heads} heads ({config.kv_heads} for keys and values), "
        f"{config.mlp} {config.mlp_width}: {config.matmul_parameters / 1e6:.2f}M matrix weights."
    )
    if config.ngrams:
        orders = ", ".join(map(str, config.ngrams))
        say(f"N-grams of {orders} tokens, {config.ngram_rows:,} rows each: a model for Sayso alone (--recipe fastest).")
    say(
        f"{steps:,} steps of {rows} rows x {row_tokens} tokens: {tokens / 1e6:.2f}M tokens, "
        f"{tokens / shards.tokens:.2f} passes over the text."
    )
