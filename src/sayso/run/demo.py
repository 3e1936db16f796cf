"""Act: run all stages on a small model, from scratch or from a third-party model, and serve the result.

Each stage runs the act of its own command and skips finished work, so a second demo resumes from what exists. The
time budget is divided among the acts that train; the others take as long as they need.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

from sayso.align.instructions import Finetune
from sayso.align.pairs.alignment import Align
from sayso.base.errors import UserError
from sayso.base.life import STAGES
from sayso.base.log import say
from sayso.base.ranges import Minutes, Options, Port, Seed
from sayso.run.align import align
from sayso.run.evaluate import Evaluate, evaluate
from sayso.run.finetune import finetune
from sayso.run.import_model import Import, import_model
from sayso.run.prepare import Prepare, prepare
from sayso.run.pretrain import Pretrain, pretrain
from sayso.run.report import Report, report
from sayso.run.serve import Serve, serve
from sayso.run.tokenizer import Compare, TrainTokenizer, compare, train_tokenizer
from sayso.run.verify import Verify, verify

MINUTES = 11.9
OTHER_MINUTES = 1.9  # what prepare, tokenizer, align, three evaluations, verify and report take together, measured
TUNING, RATE = 0.15, 0.3  # share of the training that goes to conversations alone, and its multiplier on learning rates
CONVERSATIONS = 2 / 3  # share of the tokens of pre-training, in which looking up an answer is learned
_SHORT = 15  # minutes of training below which the text is shorter and has no chatter, which is hard
_SMALL = 90  # minutes of training below which the model is small: on a slow machine, a larger one has too few steps
WIDE, NARROW = 160, 256  # the small model: two layers find how to look up an answer sooner than three, see LOG.md
WINDOW = 8  # of its first layer: a reply of one word has to reach the noun of its question from its start
NGRAM_ROWS = 16_384  # of its n-gram embeddings: updating more takes a fifth longer
REPLAY = 0.2  # share of documents in fine-tuning and alignment, so that they are not forgotten
VOCABULARY = 3072
MIX = ("chitchat=0.01",)  # with more human chatter, an hour learns little else
_SOURCES = ("smallworld",)  # what the tiny demo, and one from a third-party model, trains and is evaluated on
RANK = 16  # of the adapters of a third-party model
OWN_VAL, OWN_TEST = 0.05, 0.15  # shares of a user's own conversations that select the weights and judge the models
OWN_JUDGED = 200  # of these, maximum number of conversations to judge by
NEXT_SENTENCES = 100  # questions about encyclopedia articles, to see what tuning on such conversations forgets
OTHER_MINUTES_ADOPTED = 4.5  # time of the other acts with a third-party model; measured: 4.2 with SmolLM2-135M

_Act = Callable[[Any], object]
Chapter = tuple[str, tuple[tuple[_Act, Any], ...]]
"""A title, and the acts with their options."""


@dataclass(frozen=True)
class Demo(Options):
    """Options of `sayso demo`."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    minutes: Minutes = MINUTES
    """Time budget of the whole demo in minutes, excluding downloads."""
    parent: str | None = None
    """Model to start from, any source that `sayso import` accepts, such as smollm2. Default: train from scratch."""
    data: tuple[str, ...] = ()
    """Conversations to fine-tune --parent on, any sources that `sayso prepare` accepts. Default: the small world."""
    seed: Seed = 0
    """Random seed of the small world and of all training."""
    serve: bool = True
    """Serve the web page at the end."""
    port: Port = 8000
    """Port of the web page."""
    replace: bool = False
    """Replace models of the same names from other runs."""
    tiny: bool = False
    """Run every stage on the smallest model: small-world data only, no network, under a minute."""


def demo(options: Demo) -> dict[str, Any]:
    """Run all stages on a small model: prepare, pretrain, finetune, align, evaluate, report, serve."""
    for title, acts in chapters(options):
        say(f"\n{title}", style="bold")
        for act, chosen in acts:
            changes: dict[str, Any] = {"replace": True} if options.replace and hasattr(chosen, "replace") else {}
            if hasattr(chosen, "seed") and act is not evaluate:  # all lives are asked the same questions
                changes["seed"] = options.seed
            act(replace(chosen, **changes))
    told = report(Report(life=options.life))
    if options.serve:
        say("\nChat with it", style="bold")
        serve(Serve(life=options.life, port=options.port))
    return told


def chapters(options: Demo) -> tuple[Chapter, ...]:
    """Return the demo's stages; raise `UserError` if the time budget is too small for the acts that do not train."""
    if options.parent is not None:
        return adopted(options, options.parent)
    if options.data:
        raise UserError("--data requires --parent, the third-party model to fine-tune, such as --parent smollm2.")
    return tiny(options.life) if options.tiny else _whole(options.life, options.minutes)


def _whole(life: Path, minutes: float) -> tuple[Chapter, ...]:
    """Return the stages of a model trained from scratch."""
    training = _left(minutes, OTHER_MINUTES)
    tuning, short, small = TUNING * training, training < _SHORT, training < _SMALL
    mix = () if short else MIX
    return _life(
        _text(life, short),
        VOCABULARY,
        Pretrain(
            life=life,
            depth=2 if small else 4,
            recipe="fastest",
            ngram_rows=NGRAM_ROWS if small else None,
            width=WIDE if small else None,
            mlp_width=NARROW if small else None,
            first_window=WINDOW if small else 4,
            minutes=training - tuning,
            rows=4 if small else None,
            conversations=CONVERSATIONS,
            mix=mix,
        ),
        Finetune(life=life, minutes=tuning, mix=mix, rate=RATE, replay=REPLAY),
        Align(life=life, tasks=800 if short else 1600, replay=REPLAY),
        Evaluate(life=life),
        Verify(life=life),
    )


def _text(life: Path, short: bool) -> Prepare:
    """Return the preparation of the text; a short run has no time for human chatter, which is long and hard."""
    if short:
        return Prepare(life=life, sources=("wiki", *_SOURCES), world_documents=1_800, world_conversations=50_000)
    return Prepare(life=life, world_documents=14_000, world_conversations=100_000)


def tiny(life: Path) -> tuple[Chapter, ...]:
    """Return the stages of the smallest demo: every act, on a few hundred stories, for a few steps."""
    return _life(
        Prepare(life=life, sources=_SOURCES, world_documents=400, world_conversations=200),
        600,
        Pretrain(life=life, depth=2, steps=6, rows=4, first_window=4, conversations=0.4),
        Finetune(life=life, steps=4, rows=4, replay=REPLAY),
        Align(life=life, tasks=4, replies=2, rows=4, replay=REPLAY),
        Evaluate(life=life, n=2, text_bytes=4_000),
        Verify(life=life, export=False),
    )


def adopted(options: Demo, parent: str) -> tuple[Chapter, ...]:
    """Return the stages of a third-party model, which is fine-tuned and aligned with LoRA."""
    life, small = options.life, options.tiny
    training = 0.1 if small else _left(options.minutes, OTHER_MINUTES_ADOPTED)
    tuning = Finetune(life=life, lora_rank=RANK, rows=2, minutes=training, steps=2 if small else None)
    aligning = Align(life=life, lora_rank=RANK, rows=4, tasks=4 if small else 24, replies=2 if small else 4)
    promised = Verify(life=life, resume=False)
    text = Prepare(
        life=life,
        sources=_SOURCES,
        world_documents=400,
        world_conversations=2000,
        chat_turns=0,
        chat_characters=0,
    )
    judged = Evaluate(life=life, n=1 if small else 3, text_bytes=8_000)
    if options.data:  # used unfiltered, and judged on those held out: small-world tasks say nothing about them
        own = (*options.data, *(() if small else ("wiki",)), *_SOURCES)
        text = replace(text, sources=own, world_conversations=0, quality=False, val=OWN_VAL, test=OWN_TEST)
        judged = replace(judged, n=0, conversations=OWN_JUDGED, next_sentences=0 if small else NEXT_SENTENCES)
    return (
        ("Text and conversations", ((prepare, text),)),
        ("A third-party base model", ((import_model, Import(parent, name=STAGES[0], life=life)),)),
        *_taught(tuning, aligning, judged, promised),
    )


def _life(
    text: Prepare, vocabulary: int, base: Pretrain, tuned: Finetune, aligned: Align, judged: Evaluate, promised: Verify
) -> tuple[Chapter, ...]:
    life = text.life
    tokenizers = (TrainTokenizer(life=life, vocab_size=vocabulary), Compare(life=life, vocab_size=vocabulary))
    return (
        ("Text: real documents and a synthetic small world", ((prepare, text),)),
        ("A tokenizer, trained on that text", tuple(zip((train_tokenizer, compare), tokenizers, strict=True))),
        ("A base model, trained to predict the next token", ((pretrain, base),)),
        *_taught(tuned, aligned, judged, promised),
    )


def _taught(tuned: Finetune, aligned: Align, judged: Evaluate, promised: Verify) -> tuple[Chapter, ...]:
    return (
        ("A fine-tuned model, trained to reply", ((finetune, tuned),)),
        ("An aligned model, trained on comparisons of its replies", ((align, aligned),)),
        ("Evaluation of each model", tuple((evaluate, replace(judged, model=stage)) for stage in STAGES)),
        ("Verification of resuming and exporting", ((verify, promised),)),
    )


def _left(minutes: float, other: float) -> float:
    if minutes <= other:
        raise UserError(
            f"This demo needs more than {other:g} minutes; got --minutes {minutes:g}. Raise it or use --tiny."
        )
    return minutes - other
