"""Rankings from games: equal to the maximum of the likelihood, to published estimates, and to `choix`."""

import math
import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from sayso.base.errors import UserError
from sayso.judge.arena.bradley_terry import RIDGE
from sayso.judge.arena.games import Game
from sayso.judge.arena.ranking import ELO, Ranking, ranking
from sayso.report.chart import PAPER
from sayso.report.ranking import ranking_picture

SVG = "{http://www.w3.org/2000/svg}"

RNG = np.random.default_rng(0)
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WINS = (
    (0, 7, 9, 7, 7, 9, 11), (6, 0, 7, 5, 11, 9, 9), (4, 6, 0, 7, 7, 8, 12), (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12), (4, 4, 5, 6, 6, 0, 6), (2, 4, 1, 3, 1, 7, 0),
)  # fmt: skip


def drawn(count: int, players: int = 5, tie: float = 0.2, random: np.random.Generator = RNG) -> list[Game]:
    """Games between models whose strengths are spread over two nats; the first is the best."""
    games = []
    for _ in range(count):
        a, b = (int(one) for one in random.choice(players, 2, replace=False))
        better = random.random() < 1 / (1 + math.exp((a - b) * 2 / (players - 1)))
        games.append(Game(f"m{a}", f"m{b}", 0.5 if random.random() < tie else float(better)))
    return games


def loss(games: list[Game], strengths: dict[str, float], log_v: float = -math.inf) -> float:
    """The negative log-likelihood game by game, with the ridge."""
    total = RIDGE / 2 * (sum(s * s for s in strengths.values()) + (log_v**2 if math.isfinite(log_v) else 0))
    for game in games:
        d = strengths[game.a] - strengths[game.b]
        odds = [math.exp(d / 2), math.exp(log_v), math.exp(-d / 2)]
        win, tie, lose = (math.log(one / sum(odds)) if one else -math.inf for one in odds)
        half = (win + lose) / 2 if log_v == -math.inf else tie
        total -= game.weight * {1: win, 0: lose, 0.5: half}[game.result]
    return total


def in_nats(found: Ranking) -> dict[str, float]:
    return {one.player: (one.rating - 1000) / ELO for one in found.standings}


def test_ratings_agree_with_published_estimates() -> None:
    """Baseball teams of 1987, relative to Baltimore (Agresti, Categorical Data Analysis, 2nd ed., section 10.6.1)."""
    games = [
        Game(TEAMS[a], TEAMS[b], 1.0) for a in range(7) for b in range(7) for _ in range(WINS[a][b])
    ]  # fmt: skip
    found = ranking(games, anchor="Baltimore", at=0, draws=0)
    assert [one.player for one in found.standings] == list(TEAMS)
    strengths = [one.rating / ELO for one in found.standings]
    assert strengths == pytest.approx([1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0], abs=0.006)
    assert found.chances("Boston", "New York")[0] == pytest.approx(0.46, abs=0.006)


def test_two_models_have_the_odds_of_their_points() -> None:
    """Five wins, two ties and three losses are odds of 6 to 4, and with Davidson's ties the observed frequencies."""
    games = [Game("x", "y", 1.0)] * 5 + [Game("y", "x", 0.5)] * 2 + [Game("y", "x", 1.0)] * 3
    half = ranking(games, draws=0)
    assert half.of("x").rating - half.of("y").rating == pytest.approx(400 * math.log10(6 / 4), abs=0.1)
    assert half.chances("x", "y") == pytest.approx((0.6, 0, 0.4), abs=1e-4)
    assert ranking(games, ties="davidson", draws=0).chances("x", "y") == pytest.approx((0.5, 0.2, 0.3), abs=1e-3)


@pytest.mark.parametrize("ties", ["half", "davidson"])
def test_the_fit_is_the_maximum_of_the_likelihood(ties) -> None:
    """The slope is zero, and every point of a grid around the fit has a greater loss."""
    games = [Game(g.a, g.b, g.result, float(RNG.integers(1, 4)) / 2) for g in drawn(60, 4)]
    found = ranking(games, ties=ties, draws=0)
    at, tie = in_nats(found), found.tie
    assert sum(at.values()) == pytest.approx(0)
    names = [*at, "tie"] if ties == "davidson" else [*at]

    def moved(step: dict[str, float]) -> float:
        return loss(games, {name: at[name] + step.get(name, 0) for name in at}, tie + step.get("tie", 0))

    for name in names:
        assert (moved({name: 1e-4}) - moved({name: -1e-4})) / 2e-4 == pytest.approx(0, abs=1e-5)
    for size in (1e-3, 0.1, 3.0):
        steps = [dict(zip(names, size * RNG.normal(size=len(names)), strict=True)) for _ in range(50)]
        assert min(map(moved, steps)) > moved({})


def test_strengths_agree_with_choix() -> None:
    """For games without ties; its penalty is twice as large."""
    choix = pytest.importorskip("choix")
    games = drawn(80, 6, tie=0)
    names = sorted({name for game in games for name in (game.a, game.b)})
    pairs = [(g.a, g.b) if g.result else (g.b, g.a) for g in games]
    peer = choix.opt_pairwise(6, [(names.index(a), names.index(b)) for a, b in pairs], alpha=RIDGE / 2)
    ours = in_nats(ranking(games, draws=0))
    assert [ours[name] for name in names] == pytest.approx(list(peer), abs=1e-5)


@pytest.mark.parametrize("ties", ["half", "davidson"])
def test_the_order_of_games_changes_no_digit(ties) -> None:
    """Nor do the order of the two models in a game and the names of prompts."""
    games = [Game(g.a, g.b, g.result, 1.0, f"p{RNG.integers(40)}") for g in drawn(150)]
    games += drawn(30)
    mixed = [games[place] for place in RNG.permutation(len(games))]
    mixed = [
        Game(g.b, g.a, 1 - g.result, g.weight, g.prompt and g.prompt[::-1]) if n % 2 else
        Game(g.a, g.b, g.result, g.weight, g.prompt and g.prompt[::-1])
        for n, g in enumerate(mixed)
    ]  # fmt: skip
    one, other = (ranking(rows, draws=50, ties=ties) for rows in (games, mixed))
    assert one.as_dict() == other.as_dict()
    assert one.as_dict() != ranking(games, draws=50, ties=ties, seed=1).as_dict()


def test_parts_of_the_draws_change_no_digit(monkeypatch) -> None:
    """The draws are split to limit memory."""
    games = drawn(60)
    whole = ranking(games, draws=30).as_dict()
    monkeypatch.setattr("sayso.judge.arena.games._AT_ONCE", 250)
    assert ranking(games, draws=30).as_dict() == whole


def test_repeating_the_games_of_a_prompt_adds_no_certainty() -> None:
    """Without prompts, it would."""
    games = drawn(100)
    own = [Game(g.a, g.b, g.result, 1.0, f"p{n}") for n, g in enumerate(games)]
    once, often, apart = (ranking(rows, draws=300) for rows in (own, own * 9, games * 9))
    for one, other, third in zip(once.standings, often.standings, apart.standings, strict=True):
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1.0)
        assert third.high - third.low < 0.6 * (one.high - one.low)


def test_intervals_have_the_nominal_coverage() -> None:
    """Of ratings relative to an anchor, and of ranks, which cover at least as often."""
    random = np.random.default_rng(1)
    inside, ranks = [], []
    for _ in range(100):
        found = ranking(drawn(150, 4, 0.0, random), anchor="m0", at=0, draws=100)
        inside += [found.of(f"m{n}").low <= -ELO * n * 2 / 3 <= found.of(f"m{n}").high for n in (1, 2, 3)]
        ranks += [found.of(f"m{n}").best_rank <= n + 1 <= found.of(f"m{n}").worst_rank for n in range(4)]
    assert 0.92 < np.mean(inside) < 0.98
    assert np.mean(ranks) > 0.92


def test_equal_models_share_a_rank_and_close_ones_an_interval() -> None:
    """A much better one is first for certain."""
    games = [Game(a, b, float(n % 2)) for a, b in combinations("abc", 2) for n in range(20)]
    games += [Game("best", name, float(n > 0)) for name in "abc" for n in range(20)]
    found = ranking(games)
    assert [(one.rank, one.best_rank, one.worst_rank) for one in found.standings] == [(1, 1, 1)] + [(2, 2, 4)] * 3


def test_an_undefeated_model_has_no_interval_and_changes_no_other_rating() -> None:
    """Its rating is finite, and above all those it beat."""
    games = drawn(200)
    before = ranking(games, draws=100)
    after = ranking([*games, Game("new", "m0", 1.0), Game("new", "m1", 1.0)], draws=100)
    new = after.standings[0]
    assert (new.player, new.bounded, new.rank, new.best_rank, new.worst_rank) == ("new", False, 1, 1, 6)
    assert math.isnan(new.low)
    assert new.rating > after.standings[1].rating + 400
    for one, other in zip(before.standings, after.standings[1:], strict=True):
        assert other.rating == pytest.approx(one.rating, abs=1.0)
        assert (other.bounded, other.rank) == (True, one.rank + 1)
        assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.3)  # other draws
    assert math.isnan(after.chances("new", "m0")[0])
    assert 0 < after.chances("m1", "m0")[0] < 1


def test_a_pair_of_which_one_never_won_is_unbounded() -> None:
    """Both of them, at any number of games; the ratings stay finite."""
    for ties in ("half", "davidson"):
        found = ranking([Game("x", "y", 1.0)] * 100_000, ties=ties, draws=10)  # type: ignore[arg-type]
        assert [one.bounded for one in found.standings] == [False, False]
        assert all(math.isfinite(one.rating) for one in found.standings)


def test_models_that_never_met_are_not_compared() -> None:
    """Each component has its own mean and ranks; the largest is first."""
    apart = [Game("x", "y", 1.0), Game("y", "x", 1.0), Game("x", "y", 1.0)]
    alone, found = ranking(drawn(100), draws=50), ranking([*apart, *drawn(100)], draws=50)
    assert [one.component for one in found.standings] == [0] * 5 + [1] * 2
    assert [(one.player, one.rank, one.worst_rank) for one in found.standings[5:]] == [("x", 1, 2), ("y", 2, 2)]
    assert sum(one.rating for one in found.standings[5:]) == pytest.approx(2000)
    assert sum(one.rating for one in alone.standings) == pytest.approx(5000)
    assert math.isnan(found.chances("x", "m0")[0])
    assert found.chances("x", "y")[0] == pytest.approx(2 / 3, abs=1e-3)


def test_ties_alone_claim_nothing() -> None:
    """No draw differs, which is not certainty."""
    found = ranking([Game("x", "y", 0.5)] * 3 + [Game("y", "z", 0.5)])
    assert [(one.rating, one.best_rank, one.worst_rank) for one in found.standings] == [(1000, 1, 3)] * 3
    assert found.as_dict()["standings"][0]["low"] is None


@pytest.mark.parametrize(
    ("games", "options", "said"),
    [
        ([], {}, "needs at least one game; got none"),
        ([Game("x", "x", 1.0)], {}, "two different models; got 'x' against itself"),
        ([Game("x", "y", 0.7)], {}, "must be 1, 0 or 0.5; got 0.7"),
        ([Game("x", "y", math.nan)], {}, "must be 1, 0 or 0.5; got nan"),
        ([Game("x", "y", 1.0, math.inf)], {}, "positive and finite; got inf"),
        ([Game("x", "y", 1.0)], {"anchor": "xx"}, "got 'xx'. Did you mean 'x'?"),
        ([Game("x", "y", 1.0)], {"anchor": "x"}, "bounded rating, from points won and lost; 'x' has none"),
        ([Game("x", "y", 1.0)], {"ties": "none"}, "one of half, davidson; got 'none'"),
    ],
)
def test_invalid_games_are_refused(games, options, said) -> None:
    """In one sentence."""
    with pytest.raises(UserError, match=re.escape(said)):
        ranking(games, **options)


def test_an_unknown_model_is_refused() -> None:
    """With the nearest name."""
    with pytest.raises(UserError, match=r"'tunde' has no games. Did you mean 'tuned'\?"):
        ranking([Game("tuned", "base", 1.0)], draws=0).chances("tunde", "base")


def test_a_ranking_is_drawn_with_its_intervals() -> None:
    """On the scale of its ticks; an unbounded rating has a hollow dot and no interval, a component its own rows."""
    games = [*drawn(100), Game("new & <best>", "m0", 1.0), Game("x", "y", 1.0), Game("y", "x", 1.0)]
    found = ranking(games, draws=100)
    root = ElementTree.fromstring(ranking_picture(found, "Ranks & more"))
    texts = {one.text: one for one in root.iter(f"{SVG}text") if one.text}
    ticks = sorted((int(text), float(one.get("x", ""))) for text, one in texts.items() if text.isdigit())
    (first, left), (last, right) = ticks[0], ticks[-1]
    dots = [(float(one.get("cx", "")), one.get("fill")) for one in root.iter(f"{SVG}circle")]
    lines = [one.get("d", "") for one in root.iter(f"{SVG}path") if one.get("stroke-width")]
    assert len(dots) == 8
    assert [fill == PAPER for _, fill in dots] == [not one.bounded for one in found.standings]
    ends = [[float(x) for x in re.findall(r"[MH]([\d.]+)", line)] for line in lines]
    expected = [one for one in found.standings if one.bounded]
    assert len(ends) == len(expected) == 7
    shown = [x for x, fill in dots if fill != PAPER]
    for one, x, (low, high) in zip(expected, shown, ends, strict=True):
        values = [first + (at - left) * (last - first) / (right - left) for at in (low, x, high)]
        assert values == pytest.approx([one.low, one.rating, one.high], abs=0.01 * (last - first))
    assert {"Ranks & more", f"{expected[0].rating:.0f}, rank 1-{expected[0].worst_rank}"} <= {*texts}
    assert any(text.startswith("95 % intervals; hollow") for text in texts)
    assert "hollow" not in ranking_picture(ranking(drawn(100), draws=20))
