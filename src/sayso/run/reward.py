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
    gathered = life.data("feedback") / "pairs.jsonl"
    bad = BadRows(options.bad_rows)
    train, held = _questions(options, gathered, bad)
    say(f"{len(train):,} prompts to train on and {len(held):,} held out.")
    names = [options.name, *(f"{options.name}-{number}" for number in range(2, options.members + 1))]
    members = [replace(options, name=name, seed=options.seed + number) for number, name in enumerate(names)]
    for member in members:
        _session(member, life, gathered).check_places()
    made = [_member(member, life, _session(member, life, gathered), train, held, bad) for member in members]
    return replace(made[0], others=tuple(made[1:]))


def _member(
    options: Reward, life: Life, session: Session, train: list[Question], held: list[Question], bad: BadRows
) -> Trained:
    """Train one member of the ensemble."""

    def method(start: Start) -> RewardTuning:
        return RewardTuning(start, options, train, held, bad, reliability_picture)

    with locked(life.model(options.name)):
        new = tune(options, session, resolve_model(life, options.parent), method)
        return trained(life, "reward", options.name, finished_before=not new)


def _session(options: Reward, life: Life, gathered: Path) -> Session:
    parent = resolve_model(life, options.parent)
    held_out = {"held_out": file} if (file := held_out_file(options.held_out)) else {}
    files = held_out | {"feedback": gathered} | {str(path): path for path in (*options.pairs, *options.ratings)}
    return open_session(life, "reward", options.name, options, files | {options.parent: weights_file(parent)})


def _questions(options: Reward, gathered: Path, bad: BadRows) -> tuple[list[Question], list[Question]]:
    """Return the prompts to train on and those held out, with all their comparisons and ratings."""
    check_listed(gathered.parent, gathered.name)
    tokenizer, file = load_tokenizer(resolve_model(Life(options.life), options.parent)), held_out_file(options.held_out)

    def check(row: ComparisonRow) -> None:
        prompt_ids(tokenizer, row["prompt"])

    pairs = [*([gathered] if gathered.exists() else []), *options.pairs]
    rows = [row for path in pairs for row in read_pairs(path, bad, ties=True, check=check)]
    rows += [row for path in options.ratings for row in read_ratings(path, bad, numbers=True, check=check)]
    held: list[ComparisonRow] = []
    if file:
        rated = holds_ratings(file)
        held = (
            read_ratings(file, bad, numbers=True, check=check)
            if rated
            else read_pairs(file, bad, ties=True, check=check)
        )
    report_rows(bad)
    if not rows:
        raise UserError(
            "A reward model needs comparisons or ratings: gather them from the web page (sayso gather), or pass a file "
            "with --pairs or --ratings."
        )
    return hold_out_questions(questions(rows), questions(held), options.held_out)
