"""Act: train a reward model, or an ensemble of them, on comparisons and ratings.

Input: comparisons and ratings, gathered from the web page and from files. Output: `models/reward`.
"""

from dataclasses import replace
from pathlib import Path

from sayso.align.pairs.comparisons import ComparisonRow, holds_ratings, read_pairs, read_ratings
from sayso.align.pairs.reward_data import Question, hold_out_questions, questions
from sayso.align.pairs.reward_model import Reward, RewardTuning
from sayso.base.errors import UserError
from sayso.base.hold_out import held_out_file
from sayso.base.intact import check_listed
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import say
from sayso.report.reliability import reliability_picture
from sayso.run.results import Trained, trained
from sayso.text.rows import report_rows
from sayso.token.chat import prompt_ids
from sayso.token.load import load as load_tokenizer
from sayso.train.session import Session, open_session
from sayso.train.tune import Start, tune
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file


def reward(options: Reward) -> Trained:
    """Train a reward model on comparisons and ratings."""
    life = Life(options.life)
    parent, gathered = resolve_model(life, options.parent), life.data("feedback") / "pairs.jsonl"
    bad = BadRows(options.bad_rows)
    train, held = _questions(options, parent, gathered, bad)
    say(f"{len(train):,} prompts to train on and {len(held):,} held out.")
    names = [options.name, *(f"{options.name}-{number}" for number in range(2, options.members + 1))]
    members = [replace(options, name=name, seed=options.seed + number) for number, name in enumerate(names)]
    sessions = [_session(member, life, parent, gathered) for member in members]
    for session in sessions:
        session.check_places()
    models = [
        _train_member(member, session, parent, train, held, bad)
        for member, session in zip(members, sessions, strict=True)
    ]
    return replace(models[0], others=tuple(models[1:]))


def _train_member(
    options: Reward, session: Session, parent: Path, train: list[Question], held: list[Question], bad: BadRows
) -> Trained:
    """Train one member of the ensemble."""

    def method(start: Start) -> RewardTuning:
        return RewardTuning(start, options, train, held, bad, reliability_picture)

    with locked(session.life.model(options.name)):
        new = tune(options, session, parent, method)
        return trained(session.life, "reward", options.name, finished_before=not new)


def _session(options: Reward, life: Life, parent: Path, gathered: Path) -> Session:
    held_out = {"held_out": file} if (file := held_out_file(options.held_out)) else {}
    files = (
        held_out
        | {"feedback": gathered, "ties": gathered.with_name("ties.jsonl")}
        | {str(path): path for path in (*options.pairs, *options.ratings)}
    )
    return open_session(life, "reward", options.name, options, files | {options.parent: weights_file(parent)})


def _questions(options: Reward, parent: Path, gathered: Path, bad: BadRows) -> tuple[list[Question], list[Question]]:
    """Return the prompts to train on and those held out, with all their comparisons and ratings."""
    check_listed(gathered.parent, gathered.name)
    tokenizer, file = load_tokenizer(parent), held_out_file(options.held_out)

    def check(row: ComparisonRow) -> None:
        prompt_ids(tokenizer, row["prompt"])

    def read(path: Path, *, ratings: bool) -> list[ComparisonRow]:
        if ratings:
            return read_ratings(path, bad, numbers=True, check=check)
        return read_pairs(path, bad, ties=True, check=check)

    own = [path for path in (gathered, gathered.with_name("ties.jsonl")) if path.exists()]
    pairs = [*own, *options.pairs]
    rows = [row for path in pairs for row in read(path, ratings=False)]
    rows += [row for path in options.ratings for row in read(path, ratings=True)]
    held = read(file, ratings=holds_ratings(file)) if file else []
    report_rows(bad)
    if not rows:
        raise UserError(
            "A reward model needs comparisons or ratings: gather them from the web page (sayso gather), or pass a file "
            "with --pairs or --ratings."
        )
    return hold_out_questions(questions(rows), questions(held), options.held_out)
