"""Act: a whole small life, from nothing to an assistant to talk to.

Every act is the one that its own command runs, and leaves alone what is finished, so a second demo goes on from what
exists. The minutes are shared out between the acts that train; the others take what they need.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.life import STAGES
from sayso.base.log import say
from sayso.run.align import Align, align
from sayso.run.evaluate import Evaluate, evaluate
from sayso.run.finetune import Finetune, finetune
from sayso.run.prepare import Prepare, prepare
from sayso.run.pretrain import Pretrain, pretrain
from sayso.run.report import Report, report
from sayso.run.serve import Serve, serve
from sayso.run.tokenizer import Compare, TrainTokenizer, compare, train_tokenizer
from sayso.run.verify import Verify, verify

MINUTES = 11.7
OTHER_MINUTES = 2.3  # what prepare, tokenizer, align, three evaluations, verify and report take together, measured
TUNING = 0.70  # share of a short demo's training that goes to conversations, where looking up is learned ...
ENOUGH_TUNING, FURTHER = 8.0, 0.25  # ... and of what is left after so many minutes of it
SHORT = 15  # minutes of training below which chatter, hard and half of all real text, is not read in pre-training
NARROW = 256  # hidden size of a short demo's feed-forward parts, twice the width: more tokens a second, see LOG.md
VOCABULARY = 3072
RATE = 1.5  # of tuning in a short demo: a look-up forms sooner, and further steps would not follow
MIX = ("chitchat=0.01",)  # people's chatter is long and hard: with more of it, a short run learns little else


@dataclass(frozen=True)
class Demo:
    """Options of `sayso demo`."""

    _: KW_ONLY
    life: Path = Path("life")
    """The folder of the life."""
    minutes: float = MINUTES
    """How long the whole may take on this machine, downloads not counted."""
    serve: bool = True
    """Whether to end by serving the page."""
    port: int = 8000
    """The port of the page."""
    tiny: bool = False
    """The smallest life that goes through every act: the small world alone, no network, under a minute."""


@dataclass(frozen=True)
class Plan:
    """The options of each act of one demo."""

    prepare: Prepare
    tokenizer: TrainTokenizer
    compare: Compare
    pretrain: Pretrain
    finetune: Finetune
    align: Align
    evaluate: tuple[Evaluate, ...]
    verify: Verify


def demo(options: Demo) -> None:
    """Live a whole small life: prepare, pretrain, finetune, align, evaluate, report, serve."""
    plan = tiny_plan(options.life) if options.tiny else demo_plan(options.life, options.minutes)
    _chapter("Text, from the world and from a small world of our own")
    prepare(plan.prepare)
    _chapter("A tokenizer, learned from that text")
    train_tokenizer(plan.tokenizer)
    compare(plan.compare)
    _chapter("A base model, trained to predict the next token")
    pretrain(plan.pretrain)
    _chapter("A tuned model, trained to reply")
    finetune(plan.finetune)
    _chapter("An aligned model, trained on comparisons of its replies")
    align(plan.align)
    _chapter("What each of them can do")
    for stage in plan.evaluate:
        evaluate(stage)
    _chapter("What is promised, put to the test")
    verify(plan.verify)
    report(Report(life=options.life))
    if options.serve:
        _chapter("Talk to it")
        serve(Serve(life=options.life, port=options.port))


def demo_plan(life: Path, minutes: float) -> Plan:
    """Return what a demo of so many minutes does; `UserError` when they are too few for the acts that do not train."""
    training = minutes - OTHER_MINUTES
    if training <= 0:
        raise UserError(f"A demo takes more than {OTHER_MINUTES:g} minutes; got --minutes {minutes:g}. Try --tiny.")
    tuning = TUNING * training
    if tuning > ENOUGH_TUNING:
        tuning = ENOUGH_TUNING + FURTHER * (training - ENOUGH_TUNING / TUNING)
    short = training < SHORT
    depth = 3 if short else 4
    return Plan(
        Prepare(
            life=life,
            world_documents=7_000 if short else 14_000,
            world_conversations=50_000,
            chat_documents=not short,
        ),
        TrainTokenizer(life=life, vocab_size=VOCABULARY),
        Compare(life=life, vocab_size=VOCABULARY),
        Pretrain(life=life, depth=depth, mlp="relu2", mlp_width=NARROW if short else None, minutes=training - tuning),
        Finetune(life=life, minutes=tuning, mix=MIX, rate=RATE if short else 1.0),
        Align(life=life, tasks=800 if short else 1600),
        tuple(Evaluate(life=life, model=stage) for stage in STAGES),
        Verify(life=life),
    )


def tiny_plan(life: Path) -> Plan:
    """Return the smallest life: every act for real, on a few hundred stories, for a few steps."""
    return Plan(
        Prepare(life=life, sources=("smallworld",), world_documents=400, world_conversations=200),
        TrainTokenizer(life=life, vocab_size=600),
        Compare(life=life, vocab_size=600),
        Pretrain(life=life, depth=1, steps=6, rows=4),
        Finetune(life=life, steps=4, rows=4),
        Align(life=life, tasks=4, replies=2, rows=4),
        tuple(Evaluate(life=life, model=stage, n=2, text_bytes=4_000) for stage in STAGES),
        Verify(life=life, export=False),
    )


def _chapter(title: str) -> None:
    say(f"\n{title}", style="bold")
