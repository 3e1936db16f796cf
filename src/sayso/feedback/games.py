"""Games between models from people's choices in the store: takes ratings, returns what `judge.arena.ranking` ranks."""

from collections.abc import Sequence
from typing import Any

from sayso.feedback.ratings import Rating
from sayso.judge.arena.games import Game
from sayso.judge.arena.pairwise import prompt_key


def games_of_choices(ratings: Sequence[Rating]) -> list[Game]:
    """Return a game for each choice between replies of two models; no preference is a tie.

    A model is its name and the beginning of its fingerprint, since a name is used again after training. Of two choices
    between the same replies the latest counts. Choices between replies of one model are left out.
    """
    latest = {frozenset((one.message_id, one.rejected_id)): one for one in ratings if one.kind == "choice"}
    games = []
    for one in latest.values():
        chosen, rejected = _model(one.snapshot), _model(one.snapshot["rejected"])
        if chosen != rejected:
            games.append(Game(chosen, rejected, 1.0 if one.value else 0.5, prompt=prompt_key(one.snapshot["prompt"])))
    return games


def _model(made: dict[str, Any]) -> str:
    return f"{made['model']} {made['fingerprint'][:8]}"
