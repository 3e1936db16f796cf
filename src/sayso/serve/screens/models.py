"""The routes of the screen Models: models with their lineage, scores, aliases and gate; and roll-back."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from sayso.base.errors import FieldError, UserError
from sayso.base.life import Life
from sayso.feedback.aliases import Aliases
from sayso.feedback.store import MissingError, Store
from sayso.report.board import Board, Measure, read_board
from sayso.report.model_records import checkpoints, gate_findings, model_records
from sayso.serve.markdown import to_html
from sayso.serve.screens.runs import LifeRecords, RunName, present
from sayso.serve.turns import Body

CARD = 100_000  # characters of a model card that are shown


class RollBackBody(Body):
    """POST /api/admin/aliases/{alias}/rollback: why."""

    reason: Annotated[str, Field(min_length=1, max_length=2000)]


def model_routes(records: LifeRecords | None, store: Store) -> APIRouter:
    """Return the routes, which answer 404 without a life."""
    router, aliases = APIRouter(prefix="/api"), Aliases(store)

    @router.get("/models")
    def models() -> dict[str, Any]:
        life = present(records).runs.life
        board, problem = _board(life)
        return {
            "models": [asdict(one) for one in model_records(life)],
            "scores": board,
            "problem": problem,
            "aliases": [asdict(one) for one in aliases.history()],
            "checkpoints": checkpoints(life),
        }

    @router.get("/models/{name}")
    def model(name: RunName) -> dict[str, Any]:
        life = present(records).runs.life
        found = next((one for one in model_records(life) if one.name == name), None)
        if found is None:
            raise MissingError(f"There is no model '{name}' in this life.")
        card = life.model(name) / "README.md"
        text = card.read_text(encoding="utf-8", errors="replace")[:CARD] if card.is_file() else ""
        return {
            "model": asdict(found),
            "card_html": to_html(text.partition("\n---\n")[2] if text.startswith("---\n") else text),
            "aliases": [asdict(one) for one in aliases.history()],
            "gate": [one for one in gate_findings(life) if one["candidate"] == name],
            "checkpoints": [one for one in checkpoints(life) if one["run"] == found.run],
        }

    @router.post("/admin/aliases/{alias}/rollback", status_code=201)
    def roll_back(alias: RunName, body: RollBackBody) -> dict[str, Any]:
        if not body.reason.strip():
            raise FieldError("reason", "'reason' must not be empty.")
        return asdict(aliases.roll_back(alias, body.reason.strip()))

    return router


def _best(measure: Measure) -> str | None:
    """Return the name of the one best model, None if several are equal or there is nothing to choose from."""
    best, means = measure.best(), [one.mean for one in measure.scores.values()]
    return best if best is not None and means.count(measure.scores[best].mean) == 1 else None


def _board(life: Life) -> tuple[dict[str, Any], str | None]:
    """Return all scores with their intervals, JSON-ready, and what is wrong with a record of them."""
    try:
        board, problem = read_board(life), None
    except UserError as error:
        board, problem = Board((), ()), str(error)
    measures = [
        {
            "name": one.name,
            "group": one.group,
            "lower_is_better": one.lower_is_better,
            "best": _best(one),
            "scores": {name: value.as_dict() for name, value in one.scores.items()},
        }
        for one in board.measures
    ]
    return {"models": list(board.models), "measures": measures}, problem
