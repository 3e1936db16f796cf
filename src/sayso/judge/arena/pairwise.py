"""Two models compared by a judge that sees both of their replies to each prompt.

Takes pairs of replies and any judge, returns wins, ties and losses, and how far the judge can be trusted. The judge
sees each pair in both orders. A reply wins if it wins in both; all else is a tie (Zheng et al. 2023, arXiv 2306.05685,
section 3.4). N pairs.
"""

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from sayso.base.errors import UserError
from sayso.base.log import RunLog, read_log
from sayso.judge.arena.games import Game
from sayso.judge.arena.length_control import length_controlled
from sayso.judge.statistics.agreement import of_comparisons
from sayso.judge.statistics.estimate import Estimate, exact_proportion, sign_test

Verdict = Literal["A", "B", "tie"]
"""The first reply is better, the second, or neither."""
PairJudge = Callable[[Any, str, str], Verdict | None]
"""Takes a prompt (a string or a list of messages) and two replies in the order in which to show them. None: the judge
gave no verdict that can be read. Called from several threads if asked to."""
_OTHER: Mapping[Verdict | None, Verdict] = {"A": "B", "B": "A", "tie": "tie"}
RewardFunction = Callable[[Sequence[tuple[Any, str, Mapping[str, Any]]]], Sequence[float]]
"""Takes (prompt, reply, info) items, returns a score for each, as `align.scorer.Scorer`."""


@dataclass(frozen=True)
class ReplyPair:
    """The replies of two models to one prompt."""

    prompt: Any
    """A string or a list of messages."""
    a: str
    b: str


@dataclass(frozen=True)
class JudgedPair:
    """A pair with the judge's two verdicts."""

    pair: ReplyPair
    shown: Verdict | None
    """The verdict on a, b."""
    swapped: Verdict | None
    """The verdict on b, a; "A" prefers b."""

    @property
    def result(self) -> float | None:
        """1 if a won, 0 if b won, 0.5 for a tie, None if a verdict is missing."""
        if self.shown is None or self.swapped is None:
            return None
        return {("A", "B"): 1.0, ("B", "A"): 0.0}.get((self.shown, self.swapped), 0.5)


class Verdicts:
    """The verdicts of one judge so far, in memory and, with a path, in a log that outlasts the process; thread-safe."""

    def __init__(self, judge: str = "", path: Path | None = None) -> None:
        """Open the log of a judge. Raises `UserError` if it is damaged."""
        self.judge, self.path = judge, path
        self._log = None if path is None else RunLog(path)
        self._lock = threading.Lock()
        self._known: dict[str, Verdict | None] = {}
        for event in [] if path is None else read_log(path):
            if event["event"] == "verdict":
                self._known[event["key"]] = event["verdict"]

    def known(self, key: str) -> bool:
        """Whether the judge has given a verdict on a question."""
        return key in self._known

    def of(self, key: str) -> Verdict | None:
        """Return a known verdict."""
        return self._known[key]

    def add(self, key: str, verdict: Verdict | None) -> None:
        """Keep a verdict."""
        with self._lock:
            self._known[key] = verdict
            if self._log:
                self._log.write("verdict", key=key, verdict=verdict)

    def key(self, prompt: Any, first: str, second: str) -> str:
        """Return what identifies a question to this judge."""
        return sha256(prompt_key([self.judge, prompt, first, second]).encode("utf-8", "surrogatepass")).hexdigest()


def judge_pairs(
    pairs: Sequence[ReplyPair], judge: PairJudge, verdicts: Verdicts | None = None, *, threads: int = 1
) -> list[JudgedPair]:
    """Ask a judge about every pair in both orders, `threads` questions at a time.

    Questions whose answers are in `verdicts` are not asked again, and new answers are added to it as they come. Equal
    replies are a tie, and are not shown. Raises the judge's `UserError`, with the number of verdicts kept.
    """
    verdicts = verdicts or Verdicts()
    orders = [(one.prompt, *order) for one in pairs if one.a != one.b for order in ((one.a, one.b), (one.b, one.a))]
    questions = {verdicts.key(*order): order for order in orders}
    _ask(questions, judge, verdicts, threads)

    def verdict(prompt: Any, first: str, second: str) -> Verdict | None:
        return "tie" if first == second else verdicts.of(verdicts.key(prompt, first, second))

    return [JudgedPair(one, verdict(one.prompt, one.a, one.b), verdict(one.prompt, one.b, one.a)) for one in pairs]


def _ask(questions: Mapping[str, tuple[Any, str, str]], judge: PairJudge, verdicts: Verdicts, threads: int) -> None:
    """Ask the questions that are not known yet, by their keys; after an error, no further ones."""
    failed = threading.Event()

    def ask(key: str) -> None:
        if failed.is_set():
            return
        try:
            verdict = judge(*questions[key])
            assert verdict is None or verdict in get_args(Verdict), f"a judge returned {verdict!r}"
            verdicts.add(key, verdict)
        except BaseException:
            failed.set()
            raise

    try:
        with ThreadPoolExecutor(threads) as pool:
            asked = [pool.submit(ask, key) for key in questions if not verdicts.known(key)]
            try:
                for one in asked:
                    one.result()
            finally:
                failed.set()  # also after Ctrl-C; questions in progress are still answered and kept
    except UserError as error:
        kept, where = sum(map(verdicts.known, questions)), f" in '{verdicts.path}'" if verdicts.path else ""
        text = f"{error} {kept:,} of {len(questions):,} verdicts are kept{where}; judge again to continue."
        raise UserError(text) from error


@dataclass(frozen=True)
class PairwiseScores:
    """The comparison of two models, from the first one's side."""

    wins: int
    ties: int
    losses: int
    unjudged: int
    """Pairs of which a verdict is missing; they count nowhere else."""
    unparsable: Estimate
    """Fraction of verdicts that are missing; exact binomial interval."""
    win_rate: Estimate
    """Wins and half of the ties, with an interval over prompts."""
    length_controlled: Estimate
    """The same for replies of equal length, see `length_control`; lengths are in characters."""
    inconsistent: Estimate
    """Fraction of pairs of different replies whose verdict changed with the order; exact binomial interval."""
    first: Estimate
    """Fraction of pairs in which the two verdicts favor the reply shown first; without favor half. 0.5 = no bias."""
    first_p: float
    """Exact binomial p-value (sign test over pairs) of the hypothesis that the judge has no bias of position."""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with null for NaN."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.as_dict() if isinstance(value, Estimate) else value for name, value in values.items()}


def pairwise_scores(judged: Sequence[JudgedPair]) -> PairwiseScores:
    """Return the comparison of two models."""
    shown = [one for one in judged if one.pair.a != one.pair.b]
    verdicts = [verdict for one in shown for verdict in (one.shown, one.swapped)]
    valid = [one for one in judged if one.result is not None]
    different = [one for one in valid if one.pair.a != one.pair.b]
    results = np.array([one.result for one in valid], np.float64)
    prompts = [prompt_key(one.pair.prompt) for one in valid]
    a, b = (np.array([len(getattr(one.pair, side)) for one in valid], np.float64) for side in "ab")
    favor = np.array([_favor(one) for one in different], np.float64)
    return PairwiseScores(
        wins=int((results == 1).sum()),
        ties=int((results == 0.5).sum()),
        losses=int((results == 0).sum()),
        unjudged=len(judged) - len(valid),
        unparsable=exact_proportion(verdicts.count(None), len(verdicts)),
        win_rate=of_comparisons(results - 0.5, prompts).estimate(),
        length_controlled=length_controlled(results, a, b, prompts),
        inconsistent=exact_proportion(sum(one.shown != _OTHER[one.swapped] for one in different), len(different)),
        first=of_comparisons(favor, [prompt_key(one.pair.prompt) for one in different]).estimate(),
        first_p=sign_test(int((favor > 0).sum()), int((favor != 0).sum())),
    )


def games_of(judged: Sequence[JudgedPair], a: str, b: str) -> list[Game]:
    """Return the games of `arena.ranking` between two models of these names; a pair without a result gives no game."""
    return [Game(a, b, one.result, prompt=prompt_key(one.pair.prompt)) for one in judged if one.result is not None]


def reward_judge(score: RewardFunction, margin: float = 0.0) -> PairJudge:
    """Return the judge that prefers the reply with the higher reward; a difference of at most `margin` is a tie.

    Rewards that are not numbers give no verdict.
    """

    def judge(prompt: Any, first: str, second: str) -> Verdict | None:
        one, other = score([(prompt, first, {}), (prompt, second, {})])
        difference = float(one) - float(other)
        if math.isnan(difference):
            return None
        return "tie" if abs(difference) <= margin else "A" if difference > 0 else "B"

    return judge


def prompt_key(prompt: Any) -> str:
    """Return a prompt, a string or a list of messages, as one string; only equal prompts have the same."""
    return json.dumps(prompt, sort_keys=True, ensure_ascii=False)


def _favor(judged: JudgedPair) -> int:
    """Return how many more of the two verdicts are for the first reply shown than for the second."""
    verdicts = (judged.shown, judged.swapped)
    return verdicts.count("A") - verdicts.count("B")
