"""Act: a whole small life, from nothing, or from a model of another maker, to an assistant to talk to.

Every act is the one that its own command runs, and leaves alone what is finished, so a second demo goes on from what
exists. The minutes are shared out between the acts that train; the others take what they need.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.life import STAGES
from sayso.base.log import say
from sayso.base.ranges import Minutes, Options, Port
from sayso.run.align import Align, align
from sayso.run.evaluate import Evaluate, evaluate
from sayso.run.finetune import Finetune, finetune
from sayso.run.import_model import Import, import_model
from sayso.run.prepare import Prepare, prepare
from sayso.run.pretrain import Pretrain, pretrain
from sayso.run.report import Report, report
from sayso.run.serve import Serve, serve
from sayso.run.tokenizer import Compare, TrainTokenizer, compare, train_tokenizer
from sayso.run.verify import Verify, verify

MINUTES = 11.7
OTHER_MINUTES = 2.3  # what prepare, tokenizer, align, three evaluations, verify and report take together, measured
TUNING = 0.60  # share of a short demo's training that goes to conversations, where looking up is learned ...
ENOUGH_TUNING, FURTHER = 8.0, 0.25  # ... and of what is left after so many minutes of it
SHORT = 15  # minutes of training below which chatter, hard and half of all real text, is not read in pre-training
NARROW = 256  # hidden size of a short demo's feed-forward parts, twice the width: more tokens a second, see LOG.md
VOCABULARY = 3072
MIX = ("chitchat=0.01",)  # people's chatter is long and hard: with more of it, a short run learns little else
SOURCES = ("smallworld",)  # what a tiny life, and one from another maker's model, reads and is judged on
RANK = 16  # of its adapters
OTHER_MINUTES_ADOPTED = 4.5  # what its other acts take together; 4.2 were measured with SmolLM2-135M

Act = Callable[[Any], object]
Chapter = tuple[str, tuple[tuple[Act, Any], ...]]
"""What people are told, and the acts with their options."""


@dataclass(frozen=True)
class Demo(Options):
    """Options of `sayso demo`."""

    _: KW_ONLY
    life: Path = Path("life")
    """The folder of the life."""
    minutes: Minutes = MINUTES
    """How long the whole may take on this machine, downloads not counted."""
    parent: str | None = None
    """A model to start from, as `sayso import` takes it, such as smollm2; none when one is trained from nothing."""
    data: tuple[str, ...] = ()
    """Conversations that a parent is tuned on, as `sayso prepare` takes them; the small world's when not given."""
    serve: bool = True
    """Whether to end by serving the page."""
    port: Port = 8000
    """The port of the page."""
    replace: bool = False
    """Replace models of the same names that other runs made."""
    tiny: bool = False
    """The smallest life that goes through every act: the small world alone, no network, under a minute."""


def demo(options: Demo) -> dict[str, Any]:
    """Live a whole small life: prepare, pretrain, finetune, align, evaluate, report, serve."""
    for title, acts in chapters(options):
        _chapter(title)
        for act, chosen in acts:
            act(replace(chosen, replace=True) if options.replace and hasattr(chosen, "replace") else chosen)
    told = report(Report(life=options.life))
    if options.serve:
        _chapter("Talk to it")
        serve(Serve(life=options.life, port=options.port))
    return told


def chapters(options: Demo) -> tuple[Chapter, ...]:
    """Return what a demo does; `UserError` when its minutes are too few for the acts that do not train."""
    if options.parent is not None:
        return adopted(options, options.parent)
    if options.data:
        raise UserError("--data is what a model of another maker is tuned on; name one with --parent, such as smollm2.")
    return tiny(options.life) if options.tiny else whole(options.life, options.minutes)


def whole(life: Path, minutes: float) -> tuple[Chapter, ...]:
    """Return a life from nothing."""
    training = _left(minutes, OTHER_MINUTES)
    tuning = TUNING * training
    if tuning > ENOUGH_TUNING:
        tuning = ENOUGH_TUNING + FURTHER * (training - ENOUGH_TUNING / TUNING)
    short = training < SHORT
    pretraining = Pretrain(
        life=life,
        depth=3 if short else 4,
        mlp="relu2",
        mlp_width=NARROW if short else None,
        minutes=training - tuning,
    )
    return _life(
        Prepare(
            life=life,
            world_documents=7_000 if short else 14_000,
            world_conversations=50_000,
            chat_documents=not short,
        ),
        VOCABULARY,
        pretraining,
        Finetune(life=life, minutes=tuning, mix=MIX, rate=1.0),
        Align(life=life, tasks=800 if short else 1600),
        Evaluate(life=life),
        Verify(life=life),
    )


def tiny(life: Path) -> tuple[Chapter, ...]:
    """Return the smallest life: every act for real, on a few hundred stories, for a few steps."""
    return _life(
        Prepare(life=life, sources=SOURCES, world_documents=400, world_conversations=200),
        600,
        Pretrain(life=life, depth=1, steps=6, rows=4),
        Finetune(life=life, steps=4, rows=4),
        Align(life=life, tasks=4, replies=2, rows=4),
        Evaluate(life=life, n=2, text_bytes=4_000),
        Verify(life=life, export=False),
    )


def adopted(options: Demo, parent: str) -> tuple[Chapter, ...]:
    """Return the life of a model of another maker, which is tuned and aligned by adapters."""
    life, small = options.life, options.tiny
    training = 0.1 if small else _left(options.minutes, OTHER_MINUTES_ADOPTED)
    tuning = Finetune(life=life, lora_rank=RANK, rows=2, minutes=training, steps=2 if small else None)
    aligning = Align(life=life, lora_rank=RANK, rows=4, tasks=4 if small else 24, replies=2 if small else 4)
    text = Prepare(
        life=life,
        sources=(*options.data, *SOURCES),
        world_documents=400,
        world_conversations=0 if options.data else 2000,
        quality=not options.data,  # one's own conversations are taken as they are
        chat_turns=0,
        chat_characters=0,
    )
    return (
        ("Text and conversations to live with", ((prepare, text),)),
        ("A base model, of another maker", ((import_model, Import(parent, name=STAGES[0], life=life)),)),
        *_taught(tuning, aligning, Evaluate(life=life, n=1 if small else 3, text_bytes=8_000)),
        ("What is promised, put to the test", ((verify, Verify(life=life, resume=False)),)),
    )


def _life(
    text: Prepare, vocabulary: int, base: Pretrain, tuned: Finetune, aligned: Align, judged: Evaluate, promised: Verify
) -> tuple[Chapter, ...]:
    life = text.life
    tokenizers = (TrainTokenizer(life=life, vocab_size=vocabulary), Compare(life=life, vocab_size=vocabulary))
    return (
        ("Text, from the world and from a small world of our own", ((prepare, text),)),
        ("A tokenizer, learned from that text", tuple(zip((train_tokenizer, compare), tokenizers, strict=True))),
        ("A base model, trained to predict the next token", ((pretrain, base),)),
        *_taught(tuned, aligned, judged),
        ("What is promised, put to the test", ((verify, promised),)),
    )


def _taught(tuned: Finetune, aligned: Align, judged: Evaluate) -> tuple[Chapter, ...]:
    return (
        ("A tuned model, trained to reply", ((finetune, tuned),)),
        ("An aligned model, trained on comparisons of its replies", ((align, aligned),)),
        ("What each of them can do", tuple((evaluate, replace(judged, model=stage)) for stage in STAGES)),
    )


def _left(minutes: float, other: float) -> float:
    if minutes <= other:
        raise UserError(f"Such a demo takes more than {other:g} minutes; got --minutes {minutes:g}. Try --tiny.")
    return minutes - other


def _chapter(title: str) -> None:
    say(f"\n{title}", style="bold")
