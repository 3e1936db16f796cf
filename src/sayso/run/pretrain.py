"""Act: train a base model on prepared text.

Input: prepared documents and a tokenizer. Output: `models/base`. Model shape, batch size, learning rates and steps are
derived from --depth, or from --minutes and the measured speed of the machine; explicit options take precedence.
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from sayso.base.device import Device, pick_device
from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
from sayso.base.log import act_log, say
from sayso.base.ranges import Count, Depth, Minutes, Positive, Range, Rows, Scale, SecondShare, Tokens, Weight, Width
from sayso.batch.batch import Batch, HasBatches
from sayso.batch.chat import ChatBatches, MaskedIds
from sayso.batch.conversations import check_shares, lay_out, prepared, share_of, shares
from sayso.batch.mixed import MixedBatches, second_size, trained_tokens
from sayso.batch.shards import Shards
from sayso.batch.text import TextBatches
from sayso.batch.tokens import open_tokens
from sayso.judge.held_out import held_out_bits
from sayso.lens.heads import head_scores, repeated_ids
from sayso.loss.mixed import MixedLoss
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.run.results import Trained, trained
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.token.load import load as load_tokenizer
from sayso.token.load import tokenizer_fingerprint
from sayso.token.tokenizer import BOS, END, Tokenizer
from sayso.train.dial import depth_of_budget, rows_of_tokens, shape_of_depth, tokens_of_shape, with_ngrams
from sayso.train.layout import layout_of_plan
from sayso.train.loop import Loss, State
from sayso.train.measure import steps_in_minutes
from sayso.train.oom import layout_that_fits
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.options import Training
from sayso.train.recipe import Recipe
from sayso.train.schedule import Schedule
from sayso.train.session import Derived, Session, open_session
from sayso.train.snapshots import FOLDER, Snapshots, snapshot_steps
from sayso.train.sparsity import Sparsity
from sayso.train.step_log import Evaluation
from sayso.weights.folder import save_model

REPEATED, REPEATED_ROWS = 48, 4  # random tokens that are repeated to find induction heads, and rows of them
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
    width: Width | None = None
    """Size of the residual stream, a multiple of 32; there is one head per 32. Default: derived from the depth."""
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
    """standard opens in other programs; fastest (ReLU squared, n-grams, token shift) learns more, but is Sayso-only."""
    ngram_rows: Positive | None = None
    """Rows of each n-gram embedding of the fastest recipe; every step updates them all. Default: 32768."""
    mlp: Literal["swiglu", "relu2"] | None = None
    """Type of the feed-forward layers. Default: set by --recipe."""
    mlp_width: Width | None = None
    """Hidden size of the feed-forward layers. Default: derived."""
    first_window: Count = 0
    """Attention window of the first layer in tokens, the current one included, such as 4; 0 = unlimited."""
    conversations: SecondShare = 0.0
    """Share of prepared conversations in every batch, of which only the replies are trained; 0 = documents only."""
    mix: tuple[str, ...] = ()
    """Share of a source's conversations to use, as SOURCE=SHARE, such as chitchat=0.1. Default: all."""
    rate: Scale = 1.0
    """Multiplier on all learning rates."""
    weight_decay: Weight = 0.0
    """Decoupled weight decay of the matrices in the blocks."""
    weight_sparse: Annotated[float, Range(0.0, 1.0)] = 0.0
    """Share of each matrix's weights to keep, the largest, such as 0.05; the others become zero after every step. 0 =
    all. The share falls to this one in the first half of the steps."""
    snapshots: Annotated[int, Range(0, 30)] = 0
    """Models to keep from the course of training, for the x-ray: untrained, after 1/2 of the steps, 1/4, 1/8 and so
    on. Each takes as much space as the final one."""


@exclusive(model_output)
def pretrain(options: Pretrain) -> Trained:
    """Train a base model on the prepared text."""
    if options.ngram_rows and options.recipe != "fastest":
        raise UserError("--ngram-rows requires --recipe fastest; the standard recipe has no n-gram embeddings.")
    life = Life(options.life)
    tokenizer = load_tokenizer(life.tokenizer)
    session = open_session(
        life,
        "pretrain",
        options.name,
        options,
        {
            "text": life.data("text") / "manifest.json",
            "tokenizer": life.tokenizer / "tokenizer.json",
            **({"chat": life.data("chat") / "train.jsonl"} if options.conversations else {}),
        },
    )
    if not options.restart and session.finished():
        say(f"The model '{options.name}' has already been pre-trained with these options.")
        return trained(life, "pretrain", options.name, finished_before=True)
    data = _data(options, life, tokenizer)
    device, judge = pick_device(options.device), _judge(life, tokenizer)
    derived = session.plan(lambda: _derive(options, data, device), options.restart)
    config = ModelConfig(**derived["model"])
    rows, row_tokens, steps = derived["rows"], derived["row_tokens"], derived["steps"]
    _report(config, rows, row_tokens, steps, data)
    model = Transformer(config).initialize(torch.Generator().manual_seed(options.seed)).to(device.kind)
    rates = Rates(weight_decay=options.weight_decay).times(options.rate)
    state = State(model, make_optimizers(model, rates))

    with act_log(life, "pretrain", options.name, options) as log:
        recipe = Recipe(
            data.batches(rows, row_tokens),
            data.loss,
            Schedule(steps, warmup=min(20, steps // 10 + 1)),
            Evaluation(judge, max(1, steps // JUDGEMENTS)) if judge else None,
            after=_after(session, options, tokenizer, derived, state),
        )
        session.train(state, recipe, layout_of_plan(derived["layout"], options, rows, device), options, log)
        save_model(model, tokenizer, life.model(options.name), session.lineage("base", None, derived, state))
    say(f"Saved {life.model(options.name)}.")
    return trained(life, "pretrain", options.name)


def _after(
    session: Session, options: Pretrain, tokenizer: Tokenizer, derived: Derived, state: State
) -> Callable[[State], None]:
    """Return what happens to the state after each step: its matrices stay sparse, and snapshots are kept."""
    sparsity = Sparsity(options.weight_sparse, derived["steps"]) if options.weight_sparse else None

    def save(state: State, folder: Path) -> None:
        save_model(state.model, tokenizer, folder, session.lineage("base", None, derived, state))

    snapshots = Snapshots(session.folder, snapshot_steps(derived["steps"], options.snapshots), save)
    if ahead := snapshots.ahead():
        each = sum(weight.numel() * weight.element_size() for weight in state.model.parameters()) / 1e6
        told = ", ".join(f"{step:,}" for step in ahead)
        say(f"Keeping the weights of steps {told} in {session.folder / FOLDER}, {each:,.1f} MB each.")

    def after(state: State) -> None:
        if sparsity:
            sparsity.enforce(state)
        snapshots.offer(state)

    return after


@dataclass(frozen=True)
class _Data:
    """What a run is trained on: documents, and perhaps conversations."""

    options: Pretrain
    shards: Shards
    conversations: Sequence[MaskedIds] = ()

    @property
    def loss(self) -> Loss[Batch]:
        """The loss of the batches."""
        return MixedLoss(batch_loss, ("document_loss", "reply_loss")) if self.conversations else batch_loss

    def batches(self, rows: int, row_tokens: int) -> HasBatches:
        """Return batches with `rows` rows of documents each; rows of conversations are added to them."""
        share, seed = self.options.conversations, self.options.seed
        documents = TextBatches(self.shards, rows, row_tokens, seed)
        if not self.conversations:
            return documents
        chats = ChatBatches(self.conversations, second_size(rows, share), row_tokens, seed)
        return MixedBatches(documents, chats, share, trained_tokens)


def _data(options: Pretrain, life: Life, tokenizer: Tokenizer) -> _Data:
    """Read the documents and conversations; raise `UserError` if there are none."""
    shards = open_tokens(life, tokenizer, tokenizer_fingerprint(life.tokenizer))
    if not options.conversations:
        if options.mix:
            raise UserError("--mix requires --conversations, such as --conversations 0.5.")
        return _Data(options, shards)
    bad, mix = BadRows(), shares(options.mix)
    talks = list(prepared(life.data("chat") / "train.jsonl", bad))
    check_shares(mix, talks)
    found = lay_out(tokenizer, share_of(talks, mix), _row_tokens(options), bad, split=True).conversations
    if not found:
        raise UserError("There are no conversations to train on; prepare some with: sayso prepare")
    return _Data(options, shards, found)


def _row_tokens(options: Pretrain) -> int:
    return min(options.row_tokens or options.context, options.context)


def _judge(life: Life, tokenizer: Tokenizer) -> Callable[[State], dict[str, Any]] | None:
    """Return a function that evaluates a state in bits per byte on held-out text and samples from it.

    None if there is no held-out text.
    """
    measure = held_out_bits(life.data("text"), tokenizer, JUDGE_BYTES)
    if measure is None:
        say("There is no held-out text, so the run is trained without evaluation.")
        return None
    return lambda state: {**measure(state.model), **_heads(state), "sample": _sample(state, tokenizer)}


def _heads(state: State) -> dict[str, float]:
    """Return the scores of the strongest induction head, and of the strongest head for the previous token.

    They are measured on random tokens that are repeated once (Olsson et al. 2022).
    """
    length = min(REPEATED, state.model.config.context // 2, state.model.config.vocab_size)
    rows = repeated_ids(state.model, length, REPEATED_ROWS, generator=torch.Generator().manual_seed(0))
    scores = head_scores(state.model, rows)
    return {"induction": float(scores.induction.max()), "previous_token": float(scores.previous.max())}


def _sample(state: State, tokenizer: Tokenizer) -> str:
    """Return the beginning of a document sampled from the model."""
    room = min(SAMPLE_TOKENS, state.model.config.context - 1)
    sampling = Sampling(max_tokens=room, seed=state.step)
    (sample,) = generate(state.model, [[tokenizer.specials[BOS]]], sampling, frozenset({tokenizer.specials[END]}))
    return tokenizer.decode(sample.ids)


def _derive(options: Pretrain, data: _Data, device: Device) -> Derived:
    """Return shape, rows, processes and steps; with a time budget, measure the machine's speed first."""
    width, shards = _row_tokens(options), data.shards
    both = width + second_size(width, options.conversations)  # tokens of both kinds for each row of documents

    def steps_of(config: ModelConfig, rows: int) -> int:
        assert options.minutes is not None
        given = (config, data.batches(rows, width), layout_that_fits(options, config, rows, both, device), device)
        return steps_in_minutes(options.minutes, *given, recompute=options.recompute, loss=data.loss)

    def shape(depth: int) -> ModelConfig:
        fastest = options.recipe == "fastest"
        mlp = options.mlp or ("relu2" if fastest else "swiglu")
        config = shape_of_depth(depth, shards.vocab_size, options.context, mlp, options.mlp_width, options.width)
        config = replace(config, windows=(options.first_window, *[0] * (depth - 1)))
        return with_ngrams(config, options.ngram_rows) if fastest else config

    depth, flops = options.depth, None
    if options.minutes is not None:
        probe, rows = shape(depth or PROBE_DEPTH), options.rows or max(1, PROBE_TOKENS // width)
        flops = steps_of(probe, rows) * rows * width * probe.flops_per_token(width)
    if depth is None:
        depth = depth_of_budget(flops, shards.vocab_size, width) if flops else PROBE_DEPTH
    config = shape(depth)
    tokens = round(flops / config.flops_per_token(width)) if flops else tokens_of_shape(config)
    rows = options.rows or rows_of_tokens(tokens, width)
    data.batches(rows, width)  # raises if the text cannot be trained on
    steps = options.steps
    if steps is None and options.minutes is not None:
        steps = steps_of(config, rows)
    return {
        "model": asdict(config),
        "rows": rows,
        "row_tokens": width,
        "layout": asdict(layout_that_fits(options, config, rows, both, device)),
        "steps": steps or max(1, round(tokens / (rows * width))),
    }


def _report(config: ModelConfig, rows: int, row_tokens: int, steps: int, data: _Data) -> None:
    tokens = rows * row_tokens * steps
    say(
        f"{config.layers} layers, {config.width} wide, {config.heads} heads ({config.kv_heads} for keys and values), "
        f"{config.mlp} {config.mlp_width}: {config.matmul_parameters / 1e6:.2f}M matrix weights."
    )
    if config.ngrams:
        orders = ", ".join(map(str, config.ngrams))
        say(
            f"N-grams of {orders} tokens, {config.ngram_rows:,} rows each, and the {config.shift} tokens before: a "
            "Sayso-only model (--recipe fastest)."
        )
    say(
        f"{steps:,} steps of {rows} rows x {row_tokens} tokens: {tokens / 1e6:.2f}M tokens, "
        f"{tokens / data.shards.tokens:.2f} passes over the text."
    )
    if data.conversations:
        more = second_size(rows, data.options.conversations)
        say(f"Each batch also has {more} rows of the {len(data.conversations):,} conversations.")
