"""The routes of the screen Runs: the runs of the life with their curves, and the acts that the page starts as jobs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from sayso.base.errors import UserError
from sayso.base.lock import stop_holder
from sayso.feedback.store import MissingError
from sayso.report.model_records import model_marks
from sayso.report.run_curves import Across, RunCurves, RunRecord
from sayso.report.run_list import RunList
from sayso.serve.errors import ApiError
from sayso.serve.jobs import Acts, JobCommand, Jobs
from sayso.serve.recording import key_name
from sayso.serve.turns import Body

MOST_RUNS = 8  # laid over each other
SAMPLES = 12  # steps whose samples are shown, the newest
RunName = Annotated[str, Field(min_length=1, max_length=250)]


class JobBody(Body):
    """POST /api/admin/jobs: an act with the options that differ from their defaults."""

    act: Annotated[str, Field(max_length=40)]
    options: dict[Annotated[str, Field(max_length=40)], Any] = Field(default_factory=dict)


class LifeRecords:
    """What the screens Runs and Models show of a life: runs, their curves, and jobs."""

    def __init__(self, runs: RunList, curves: RunCurves, jobs: Jobs, acts: Acts) -> None:
        self.runs, self.curves, self.jobs, self.acts = runs, curves, jobs, acts

    def marks(self) -> Mapping[str, Any]:
        """Return the marks of the topics `runs` and `models`."""
        return {"runs": (self.runs.marks(), self.jobs.marks()), "models": model_marks(self.runs.life)}

    def start(self, command: JobCommand, request: Request) -> dict[str, Any]:
        """Start a job for the person of a request."""
        return self.jobs.start(command, key_name(request))


def present(records: LifeRecords | None) -> LifeRecords:
    """Return the records. Raises `ApiError` if the server has no life."""
    if records is None:
        text = "This server serves a model without its life; start it with 'sayso serve --life FOLDER'."
        raise ApiError(404, text, "no_life")
    return records


def run_routes(records: LifeRecords | None) -> APIRouter:
    """Return the routes, which answer 404 without a life."""
    router = APIRouter(prefix="/api")

    @router.get("/runs")
    def runs() -> dict[str, Any]:
        own = present(records)
        return {"runs": [asdict(one) for one in own.runs.every()], "jobs": own.jobs.listed()}

    @router.get("/runs/{name}")
    def run(name: RunName) -> dict[str, Any]:
        own = present(records)
        with _found(name):
            found = own.curves.look(name, _details)
        summary = next((asdict(one) for one in own.runs.every() if one.name == name), None)
        return {"summary": summary, **found}

    @router.get("/curves")
    def curves(
        run: Annotated[list[RunName], Query(max_length=MOST_RUNS)],
        across: Across = "step",
        smooth: Annotated[float, Query(ge=0, le=0.5)] = 0.0,
    ) -> dict[str, Any]:
        own, found = present(records), {}
        for name in dict.fromkeys(run):
            with _found(name):
                found[name] = own.curves.look(name, lambda record: _curves(record, across, smooth))
        return found

    @router.get("/jobs/{job}")
    def job(job: RunName) -> dict[str, Any]:
        return present(records).jobs.one(job)

    @router.get("/admin/acts")
    def acts() -> list[dict[str, Any]]:
        return present(records).acts.forms()

    @router.post("/admin/jobs", status_code=201)
    def start(body: JobBody, request: Request) -> dict[str, Any]:
        own = present(records)
        return own.start(own.acts.begin(body.act, body.options), request)

    @router.post("/admin/jobs/{job}/stop", status_code=202)
    def stop_job(job: RunName) -> dict[str, Any]:
        return present(records).jobs.stop(job)

    @router.post("/admin/runs/{name}/stop", status_code=202)
    def stop_run(name: RunName) -> dict[str, Any]:
        holder = stop_holder(present(records).runs.life.run(name))
        if holder is None:
            raise UserError(f"No process works on the run '{name}'.")
        return {"pid": holder.pid, "command": holder.command}

    @router.post("/admin/runs/{name}/resume", status_code=201)
    def resume(name: RunName, request: Request) -> dict[str, Any]:
        own = present(records)
        return own.start(own.acts.resume(name), request)

    return router


@contextmanager
def _found(name: str) -> Iterator[None]:
    """Turn a missing log into an error that names the run."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(f"There is no run '{name}'.") from error


def _details(record: RunRecord) -> dict[str, Any]:
    config = {name: value for name, value in record.config.items() if value not in (None, [], "")}
    speed = {name: record.speed[name] for name in ("device", "precision", "processes") if name in record.speed}
    return {
        "act": record.act,
        "config": {name: value for name, value in config.items() if name not in ("life", "store", "key")},
        "machine": speed,
        "seconds": record.end["seconds"] if record.end else None,
        "figures": record.names(),
        "held_out": sorted(record.held_out),
        "notes": [_note(one) for one in record.notes],
        "samples": record.samples[-SAMPLES:],
    }


def _note(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of a run in words."""
    kind, problem = event["event"], str(event.get("problem", ""))
    texts = {
        "diverged": f"{problem}; what was done: {event.get('then')}",
        "rewind": f"went back to step {event.get('step')} and skipped {event.get('skipped')} batches",
        "resume": "resumed from the checkpoint of this step",
    }
    return {"step": event.get("step"), "kind": kind, "text": texts.get(kind, problem)}


def _curves(record: RunRecord, across: Across, smooth: float) -> dict[str, Any]:
    found = {name: record.curve(name, across, smooth) for name in record.names()}
    return {name: points for name, points in found.items() if points}
