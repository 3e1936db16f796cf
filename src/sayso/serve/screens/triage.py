"""The routes for the triage of flags: what detectors found, and whether a person confirms it."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from sayso.feedback.flags import Flags, State
from sayso.feedback.store import Store
from sayso.serve.recording import key_name
from sayso.serve.turns import Body

Number = Annotated[int, Field(ge=1, lt=2**31)]


class FlagQuery(BaseModel):
    """GET /api/flags: the newest of a state, and of a detector if it is given."""

    model_config = ConfigDict(extra="forbid")
    state: Literal["open", "real", "false", "fixed", "all"] = "open"
    detector: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class TriageBody(Body):
    """POST /api/flags: a flag is real, false, fixed, or open again."""

    flag_id: Number
    state: State
    reason: Annotated[str, Field(max_length=2000)] | None = None


def triage_routes(store: Store) -> APIRouter:
    """Return the routes over a store."""
    router = APIRouter(prefix="/api")

    @router.get("/flags")
    def listed(asked: Annotated[FlagQuery, Query()]) -> dict[str, Any]:
        state = None if asked.state == "all" else asked.state
        found = Flags(store).listed(state, asked.detector, asked.limit)
        return {"flags": [asdict(flag) for flag in found], "counts": Flags(store).counts()}

    @router.post("/flags", status_code=201)
    def mark(said: TriageBody, request: Request) -> dict[str, Any]:
        [flag] = Flags(store).mark([said.flag_id], said.state, said.reason, key_name(request))
        return asdict(flag)

    return router
