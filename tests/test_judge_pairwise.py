"""Two models compared by a judge: the convention of two orders, biases, and the control of length."""

import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from sayso.align.scorer import Scorer
from sayso.base.errors import UserError
from sayso.feedback.games import games_of_choices
from sayso.feedback.store import Generation, Store
from sayso.judge.arena.length_control import length_controlled
from sayso.judge.arena.pairwise import (
    JudgedPair,
    PairwiseScores,
    ReplyPair,
    Verdict,
    Verdicts,
    games_of,
    judge_pairs,
    pairwise_scores,
    reward_judge,
)
from sayso.judge.arena.ranking import ranking
from sayso.judge.statistics.estimate import estimate
from sayso.model import ModelConfig, Transformer
from sayso.model.score import add_score
from sayso.token.train import train

RNG = np.random.default_rng(0)


def by_length(prompt: object, first: str, second: str) -> Verdict:
    """Prefer the longer reply."""
    return "tie" if len(first) == len(second) else "A" if len(first) > len(second) else "B"


def always_first(prompt: object, first: str, second: str) -> Verdict:
    """Prefer the reply shown first."""
    return "A"


def pairs(count: int, longer: int = 0) -> list[ReplyPair]:
    """Replies of random lengths; the first of a pair has `longer` more characters."""
    sizes = RNG.integers(20, 300, (count, 2))
    return [ReplyPair(f"prompt {n}", "a" * int(a + longer), "b" * int(b)) for n, (a, b) in enumerate(sizes)]


def scores(judged: list[JudgedPair]) -> PairwiseScores:
    return pairwise_scores(judged)


@pytest.mark.parametrize(
    ("shown", "swapped", "result"),
    [
        ("A", "B", 1.0), ("B", "A", 0.0), ("A", "A", 0.5), ("B", "B", 0.5), ("tie", "tie", 0.5), ("A", "tie", 0.5),
        ("tie", "A", 0.5), ("B", "tie", 0.5), ("tie", "B", 0.5), (None, "B", None), ("A", None, None),
    ],
)  # fmt: skip
def test_a_win_needs_both_orders(shown, swapped, result) -> None:
    """All else is a tie (Zheng et al. 2023), and a missing verdict leaves no result."""
    assert JudgedPair(ReplyPair("p", "x", "y"), shown, swapped).result == result


def test_each_pair_is_shown_in_both_orders_once() -> None:
    """Equal replies are not shown, and equal questions are asked once."""
    asked = []

    def judge(prompt, first, second):
        asked.append((prompt, first, second))
        return "B"

    rows = [ReplyPair("p", "x", "y"), ReplyPair("p", "x", "y"), ReplyPair("q", "same", "same")]
    judged = judge_pairs(rows, judge)
    assert sorted(asked) == [("p", "x", "y"), ("p", "y", "x")]
    assert [(one.shown, one.swapped) for one in judged] == [("B", "B"), ("B", "B"), ("tie", "tie")]


def test_a_consistent_judge_has_no_bias_of_position() -> None:
    """Its wins are counted as they are, with the interval of their mean."""
    judged = judge_pairs(pairs(200, 40), by_length)
    found, results = scores(judged), [float(len(one.pair.a) > len(one.pair.b)) for one in judged]
    assert (found.wins, found.losses) == (sum(results), 200 - sum(results) - found.ties)
    assert found.win_rate.mean == pytest.approx((found.wins + found.ties / 2) / 200)
    assert found.win_rate.low < found.win_rate.mean < found.win_rate.high
    assert (found.first.mean, found.first_p, found.inconsistent.mean) == (0.5, 1.0, 0.0)
    assert found.first.low < 0.5 < found.first.high
    assert 0 < found.inconsistent.high < 0.05


def test_a_judge_of_position_finds_only_ties() -> None:
    """And is found out."""
    found = scores(judge_pairs(pairs(40), always_first))
    assert (found.wins, found.ties, found.losses) == (0, 40, 0)
    assert (found.first.mean, found.inconsistent.mean) == (1.0, 1.0)
    assert found.first.low > 0.5
    assert found.first_p == pytest.approx(2 / 2**40)
    assert scores(judge_pairs(pairs(40), lambda *_: "B")).first.mean == 0.0


def test_half_a_bias_counts() -> None:
    """A verdict for the first reply and a tie favor the first; a tie between them favors none."""
    pair = ReplyPair("p", "x", "y")
    verdicts: list[tuple[Verdict, Verdict]] = [("A", "tie"), ("tie", "A"), ("A", "B"), ("B", "tie")]
    found = scores([JudgedPair(pair, *both) for both in verdicts])
    assert found.first.mean == (1 + 1 + 0.5 + 0) / 4
    assert found.first_p == 1.0
    assert found.inconsistent.mean == 3 / 4


def test_equal_replies_say_nothing_about_the_judge() -> None:
    """They are ties, but not among the pairs whose verdicts are checked for bias."""
    rows = [ReplyPair(f"prompt {n}", "x" * (n + 1), "y") for n in range(5)]
    rows += [ReplyPair("same", "x", "x"), ReplyPair("same too", "y", "y")]
    found = scores(judge_pairs(rows, lambda *_: "A"))
    assert (found.ties, found.inconsistent.n, found.first.n) == (7, 5, 5)
    assert (found.inconsistent.mean, found.first.mean) == (1.0, 1.0)


def test_missing_verdicts_are_counted_apart() -> None:
    """A pair without one of its verdicts is no win, tie or loss."""

    def judge(prompt, first, second):
        return (
            None if (prompt, first[0]) in (("prompt 3", "a"), ("prompt 4", "b")) else by_length(prompt, first, second)
        )

    rows = pairs(10, 1000)
    found, rest = scores(judge_pairs(rows, judge)), scores(judge_pairs(rows[:3] + rows[5:], by_length))
    assert (found.unjudged, found.unparsable.mean, found.unparsable.n) == (2, 0.1, 20)
    assert (found.wins, found.win_rate, found.first) == (8, rest.win_rate, rest.first)


def test_replies_to_one_prompt_are_not_independent() -> None:
    """The interval is over prompts: repeating each verdict under its prompt does not narrow it."""
    results = RNG.random(60) < 0.6

    def judged(copies: int) -> list[JudgedPair]:
        return [
            JudgedPair(ReplyPair([{"role": "user", "content": f"{n}"}], "x" * copy, "y"), *("AB" if won else "BA"))
            for n, won in enumerate(results)
            for copy in range(1, copies + 1)
        ]  # fmt: skip

    once, often = scores(judged(1)).win_rate, scores(judged(7)).win_rate
    assert (often.low, often.high, often.n) == (pytest.approx(once.low), pytest.approx(once.high), 420)
    assert once.se == pytest.approx(estimate(results.astype(float)).se, rel=0.02)


def test_a_judge_that_prefers_length_has_no_controlled_preference() -> None:
    """Its win rate is far from one half."""
    found = scores(judge_pairs(pairs(400, 60), by_length))
    assert found.win_rate.mean > 0.65
    assert found.length_controlled.mean == pytest.approx(0.5, abs=0.1)
    assert found.length_controlled.low < 0.5 < found.length_controlled.high


def test_a_judge_blind_to_length_keeps_its_rate() -> None:
    """Within its error, which length makes wider."""
    rows = pairs(400, 60)
    better = {one.prompt: RNG.random() < 0.7 for one in rows}
    found = scores(judge_pairs(rows, lambda prompt, first, second: "A" if better[prompt] == (first[0] == "a") else "B"))
    assert found.length_controlled.mean == pytest.approx(found.win_rate.mean, abs=0.03)
    assert 0 < found.win_rate.se < found.length_controlled.se < 1.5 * found.win_rate.se


def test_controlled_rates_have_their_coverage() -> None:
    """For a judge with a preference of its own and one for length."""
    truth, inside = 1 / (1 + math.exp(-0.8)), []
    for _ in range(200):
        a, b = RNG.integers(20, 300, (2, 80)).astype(float)
        difference = a + 40 - b
        x = np.tanh(difference / difference.std(ddof=1))
        results = (RNG.random(80) < 1 / (1 + np.exp(-0.8 - 1.5 * x))).astype(float)
        found = length_controlled(results, a + 40, b, range(80))
        inside.append(found.low <= truth <= found.high)
    assert 0.91 < np.mean(inside) < 0.985


def test_controlled_rates_are_the_maximum_of_the_penalized_likelihood() -> None:
    """Compared with a search over a grid; the other model's rate is the complement."""
    a, b = RNG.integers(20, 300, (2, 50)).astype(float)
    results = RNG.choice([0.0, 0.5, 1.0], 50)
    found, other = length_controlled(results, a, b, range(50)), length_controlled(1 - results, b, a, range(50))
    x = np.tanh((a - b) / (a - b).std(ddof=1))
    t, f = np.meshgrid(np.linspace(-1, 1, 401), np.linspace(-1.5, 1.5, 301))
    z = t[..., None] + f[..., None] * x
    loss = (np.logaddexp(0, z) - results * z).sum(-1) + 1e-3 / 2 * t**2 + 0.1 / 2 * f**2
    best = t.flat[loss.argmin()]
    assert found.mean == pytest.approx(1 / (1 + math.exp(-best)), abs=1e-3)
    assert (other.mean, other.low, other.high) == pytest.approx((1 - found.mean, 1 - found.high, 1 - found.low))


def test_controlled_rates_have_a_cluster_robust_interval() -> None:
    """Matches the cluster-robust errors of statsmodels; with this many pairs, the penalty is negligible."""
    draw = np.random.default_rng(1)
    a, b = draw.integers(20, 300, (2, 3000)).astype(float)
    prompts = draw.integers(6, size=3000)
    x = np.tanh((a - b) / (a - b).std(ddof=1))
    logit = 0.4 + x + draw.normal(0, 0.8, 6)[prompts]
    results = (draw.random(3000) < 1 / (1 + np.exp(-logit))).astype(float)
    found = length_controlled(results, a, b, prompts.tolist())
    model = GLM(results, np.stack((np.ones(3000), x), 1), family=Binomial())
    fitted = model.fit(cov_type="cluster", cov_kwds={"groups": prompts})
    t, error = fitted.params[0], fitted.bse[0]
    rate, margin = 1 / (1 + math.exp(-t)), stats.t.ppf(0.975, 5) * error
    assert found.mean == pytest.approx(rate, rel=1e-3)
    assert found.se == pytest.approx(rate * (1 - rate) * error, rel=2e-3)
    ends = 1 / (1 + math.exp(margin - t)), 1 / (1 + math.exp(-margin - t))
    assert (found.low, found.high) == pytest.approx(ends, rel=2e-3)


def test_a_controlled_rate_of_one_prompt_has_no_interval() -> None:
    found = length_controlled(np.array([1.0, 0.0, 1.0]), np.array([3.0, 5.0, 9.0]), np.full(3, 4.0), ["p"] * 3)
    assert 0 < found.mean < 1
    assert math.isnan(found.se)
    assert math.isnan(found.low)


def test_ties_and_rare_wins_are_controlled_too() -> None:
    """Wins and ties without a loss are fitted, and one win of thousands is not rounded to none."""
    a, b = np.random.default_rng(2).integers(20, 300, (2, 3000)).astype(float)
    results = np.where(a - b > 60, 1.0, 0.5)
    found = length_controlled(results, a, b, range(3000))
    assert abs(found.mean - results.mean()) > 0.02, "not the plain rate"
    rare = np.zeros(3000)
    rare[7] = 1.0
    assert 0 < length_controlled(rare, a, b, range(3000)).mean < 1 / 1000


def test_lengths_that_cannot_be_controlled_give_nan() -> None:
    """One reply is always longer by the same amount; equal lengths need no control."""
    results, one = np.array([1.0, 0.0, 1.0, 1.0]), np.full(4, 10.0)
    assert math.isnan(length_controlled(results, one + 5, one, range(4)).mean)
    assert length_controlled(results, one, one, range(4)).mean == 0.75
    assert length_controlled(np.ones(4), one, np.arange(4.0), range(4)).low < 0.6
    assert math.isnan(pairwise_scores([]).length_controlled.mean)
    assert pairwise_scores([]).as_dict()["win_rate"]["mean"] is None


def test_an_error_keeps_finished_verdicts(tmp_path: Path) -> None:
    """A second run asks only what is left, and ends like one that was not interrupted."""
    rows, asked = pairs(10), []

    def failing(prompt, first, second):
        if len(asked) == 13:
            raise UserError("The server is gone.")
        asked.append((prompt, first))
        return by_length(prompt, first, second)

    path = tmp_path / "verdicts.jsonl"
    with pytest.raises(
        UserError, match=r"^The server is gone\. 13 of 20 verdicts are kept in .*; judge again"
    ) as error:
        judge_pairs(rows, failing, Verdicts("one", path))
    assert str(path) in str(error.value)
    first = len(asked)
    judged = judge_pairs(rows, lambda *question: asked.append(question) or by_length(*question), Verdicts("one", path))
    assert (first, len(asked)) == (13, 20)
    assert judged == judge_pairs(rows, by_length)
    judge_pairs(rows, lambda *question: asked.append(question) or "tie", Verdicts("another", path))
    assert len(asked) == 40


def test_missing_verdicts_are_kept_too(tmp_path: Path) -> None:
    """They are not asked for again."""
    path = tmp_path / "verdicts.jsonl"
    before = judge_pairs(pairs(2), lambda *_: None, Verdicts("one", path))
    rows = [one.pair for one in before]
    assert judge_pairs(rows, always_first, Verdicts("one", path)) == before


def test_questions_are_asked_in_parallel_with_the_same_result() -> None:
    """Four at a time: each waits until four are in progress."""
    together = threading.Barrier(4, timeout=30)

    def judge(prompt, first, second):
        together.wait()
        return by_length(prompt, first, second)

    rows = pairs(8)
    assert judge_pairs(rows, judge, threads=4) == judge_pairs(rows, by_length)


def test_an_error_of_the_judge_itself_is_not_hidden() -> None:
    """It is no mistake of the user."""

    def broken(*question):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        judge_pairs(pairs(3), broken, threads=2)


def test_a_reward_model_prefers_the_higher_score() -> None:
    """In both orders; within the margin it is a tie, and without a score there is no verdict."""
    tokenizer = train("bpe", ["the cat sat on the mat. " * 9], 300)
    model, random = Transformer(ModelConfig(tokenizer.vocab_size, 1, 16, 1, 1, 16, 32, context=128)), torch.Generator()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.5, generator=random)
    scorer = Scorer([add_score(model, random)], tokenizer)
    rows = [ReplyPair("where?", "the cat", reply) for reply in ("the mat", "sat", "on the mat", "cat cat")]
    apart = [scorer([("where?", one.a, {}), ("where?", one.b, {})]) for one in rows]
    judged = judge_pairs(rows, reward_judge(scorer))
    assert [one.result for one in judged] == [float(a > b) for a, b in apart]
    widest = max(abs(a - b) for a, b in apart)
    assert [one.result for one in judge_pairs(rows, reward_judge(scorer, widest))] == [0.5] * 4
    assert judge_pairs(rows[:1], reward_judge(lambda items: [math.nan, 0.0]))[0].result is None


def test_results_become_games() -> None:
    """With the prompt, and without pairs that have no result."""
    rows = pairs(6, 1000)
    judged = [*judge_pairs(rows, by_length), JudgedPair(rows[0], None, "A"), JudgedPair(rows[0], "B", "A")]
    games = games_of(judged, "tuned", "base")
    assert [game.result for game in games] == [1.0] * 6 + [0.0]
    assert [one.player for one in ranking(games, draws=0).standings] == ["tuned", "base"]
    assert games[0].prompt == games[6].prompt != games[1].prompt


def test_choices_of_people_become_games(tmp_path: Path) -> None:
    """The latest choice between two replies counts; two replies of one model are no game."""
    store = Store(tmp_path / "store.sqlite")
    talk = store.new_conversation().id
    asked = store.say(talk, "hello")

    def reply(model: str) -> int:
        made = Generation(model, "0123456789ab", {}, "stop", 1, 1, 0.1)
        return store.reply(asked.id, f"hi from {model}", store.prompt(asked.id), made).id

    tuned, base, again = reply("tuned"), reply("base"), reply("tuned")
    store.choose(tuned, base)
    store.choose(base, tuned)
    store.choose(tuned, again)
    store.choose(again, base, better=False)
    store.thumb(base, 1)
    games = games_of_choices(store.ratings())
    assert [(g.a, g.b, g.result) for g in games] == [
        ("base 01234567", "tuned 01234567", 1.0), ("tuned 01234567", "base 01234567", 0.5),
    ]  # fmt: skip
    assert games[0].prompt == games[1].prompt
    store.close()
