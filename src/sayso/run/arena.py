"""Act: rank models by people's choices between their replies.

Input: the choices in the life's store, and the verdicts of `sayso judge`. Output: a table of Elo ratings with
intervals, `runs/arena/scores.json` and `runs/arena/ranking.svg`.
"""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from sayso.base.errors import UserError, require
from sayso.base.files import read_object, write_atomic, write_json
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import check_work, work_in
from sayso.base.output import console
from sayso.base.ranges import Options, Seed
from sayso.judge.arena.games import Game
from sayso.judge.arena.pairwise import JudgedPair, ReplyPair, Verdicts, games_of
from sayso.judge.arena.ranking import Ranking, ranking
from sayso.report.ranking import ranking_picture


@dataclass(frozen=True)
class Arena(Options):
    """Options of `sayso arena`."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    judged: bool = False
    """Also count the verdicts of sayso judge, each pair as a game."""
    anchor: str | None = None
    """Model whose rating is 1000. Default: the mean of all ratings is 1000."""
    store: str | None = None
    """Database of the choices, a path or an address. Default: that of the life."""
    seed: Seed = 0
    """Random seed of the intervals."""


def arena(options: Arena) -> dict[str, Any]:
    """Rank models by people's choices between their replies."""
    life = Life(options.life)
    folder = life.run("arena")
    check_work(folder)
    games = [*_choices(life, options.store), *(_verdicts(life) if options.judged else ())]
    if not games:
        raise UserError(
            "There are no choices between the replies of two models; collect some on the page of sayso serve, or add "
            "--judged after sayso judge."
        )
    players = sorted({name for game in games for name in (game.a, game.b)})
    if options.anchor is not None and options.anchor not in players:
        raise UserError(f"--anchor must be one of {', '.join(players)}; got '{options.anchor}'.")
    table = ranking(games, anchor=options.anchor, seed=options.seed)
    work_in(folder)
    scores = {"games": len(games), **table.as_dict()}
    write_json(folder / "scores.json", scores, sealed=True)
    write_atomic(folder / "ranking.svg", ranking_picture(table))
    _show(table, len(games))
    say(f"Wrote {folder / 'scores.json'} and ranking.svg.")
    return scores


def _choices(life: Life, where: str | None) -> list[Game]:
    """Return the games of people's choices."""
    if where is None and not life.store.exists():
        return []
    require("sqlalchemy", "serve")
    from sayso.feedback.games import games_of_choices
    from sayso.feedback.store import Store

    store = Store(where or life.store)
    try:
        return games_of_choices(store.ratings())
    finally:
        store.close()


def _verdicts(life: Life) -> Iterator[Game]:
    """Yield the games of all comparisons by `sayso judge`."""
    for path in sorted(life.root.glob("runs/judge-*/scores.json")):
        scores = read_object(path, "models")
        other, model = scores["models"]
        rows = list(read_jsonl(path.with_name("replies.jsonl")))
        verdicts = Verdicts(scores["judge"], path.with_name("verdicts.jsonl"))
        pairs = [ReplyPair(row["prompt"], row[model], row[other]) for row in rows]
        yield from games_of([_judged(pair, verdicts) for pair in pairs], *reversed(scores["players"]))


def _judged(pair: ReplyPair, verdicts: Verdicts) -> JudgedPair:
    """Return a pair with its verdicts; equal replies are a tie, which no judge was asked about."""
    if pair.a == pair.b:
        return JudgedPair(pair, "tie", "tie")
    orders = ((pair.a, pair.b), (pair.b, pair.a))
    keys = [verdicts.key(pair.prompt, *order) for order in orders]
    return JudgedPair(pair, *(verdicts.of(key) if verdicts.known(key) else None for key in keys))


def _show(found: Ranking, games: int) -> None:
    table = Table("rank", "model", "rating", "95 % interval", title=f"{games:,} games")
    for one in found.standings:
        interval = f"{one.low:.0f} to {one.high:.0f}" if one.bounded and one.low == one.low else "unknown"
        ranks = f"{one.best_rank}" if one.best_rank == one.worst_rank else f"{one.best_rank}-{one.worst_rank}"
        table.add_row(ranks, one.player, f"{one.rating:.0f}", interval)
    console().print(table)
