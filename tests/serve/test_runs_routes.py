"""The routes of the screen Runs: runs with their curves, and acts as processes of their own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.feedback.keys import Keys
from sayso.feedback.store import MissingError, Store
from sayso.reply import Replier
from sayso.run.serve import acts_of
from sayso.serve.app import make_app
from sayso.serve.jobs import MOST_RUNNING, JobCommand, Jobs

HERE = "http://127.0.0.1"


@pytest.fixture(autouse=True)
def _read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server read its keys before every request."""
    monkeypatch.setattr("sayso.serve.keyring.FRESH", 0.0)


@pytest.fixture
def living(replier: Replier, store: Store, trained_life: Life) -> Iterator[TestClient]:
    """A client of a server with the life of a trained model."""
    app = make_app(replier, store, "base", life=trained_life, acts=acts_of(trained_life, None))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(Life(tmp_path / "life"), os.environ)


def ended(job: dict[str, Any], jobs: Jobs) -> dict[str, Any]:
    """Wait until a job has ended, and return it."""
    next(one for one in threading.enumerate() if one.name == job["id"]).join()
    return jobs.one(job["id"])


def test_runs_are_listed_and_drawn(living: TestClient) -> None:
    """Each with its state; the curves of one, of several, and across what was asked for."""
    listed = living.get("/api/runs").json()
    [base] = [one for one in listed["runs"] if one["name"] == "pretrain-base"]
    assert (base["state"], base["step"], base["steps"]) == ("finished", 30, 30)
    assert listed["jobs"] == []
    found = living.get("/api/runs/pretrain-base").json()
    assert found["summary"] == base
    assert found["config"]["depth"] == 1
    assert "life" not in found["config"]
    assert {"loss", "val_bpb", "memory_mb", "learning_rate matrix"} <= {*found["figures"]}
    assert found["samples"]
    asked = {"run": ["pretrain-base", "prepare"], "across": "tokens", "smooth": 0.1}
    curves = living.get("/api/curves", params=asked).json()
    assert curves["prepare"] == {}
    assert len(curves["pretrain-base"]["loss"]) == 30
    assert curves["pretrain-base"]["loss"][-1][0] == 30 * 2 * 64
    assert {len(point) for point in curves["pretrain-base"]["loss"]} == {4}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/runs/none", 404),
        ("/api/runs/..%2fmodels", 404),
        ("/api/runs/a%00b", 400),
        (f"/api/runs/{'x' * 300}", 400),
        ("/api/curves", 400),
        ("/api/curves?run=none", 404),
        ("/api/curves?run=..", 400),
        ("/api/curves?run=pretrain-base&across=price", 400),
        ("/api/curves?run=pretrain-base&smooth=2", 400),
        ("/api/curves?" + "&".join(["run=pretrain-base"] * 9), 400),
        ("/api/jobs/..", 404),
        ("/api/jobs/20260101-000000-report-000000", 404),
    ],
)
def test_what_does_not_exist_is_refused_in_a_sentence(living: TestClient, path: str, status: int) -> None:
    answer = living.get(path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].endswith(".")


def test_a_server_without_a_life_says_so(client: TestClient) -> None:
    """Every route of the screen does."""
    for method, path in (
        ("GET", "/api/runs"), ("GET", "/api/runs/a"), ("GET", "/api/curves?run=a"), ("GET", "/api/jobs/a"),
        ("GET", "/api/admin/acts"), ("POST", "/api/admin/jobs/a/stop"), ("POST", "/api/admin/runs/a/stop"),
        ("POST", "/api/admin/runs/a/resume"),
    ):  # fmt: skip
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_life"), path
    answer = client.post("/api/admin/jobs", json={"act": "report"})
    assert answer.json()["error"]["code"] == "no_life"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"act": "serve"}, "An act must be one of"),
        ({"act": "pretrain", "options": {"depth": 0}}, "--depth must be from 1 to 1024; got 0."),
        ({"act": "pretrain", "options": {"name": "../x"}}, "A name must consist of"),
        ({"act": "pretrain", "options": {"life": "/"}}, "has no option 'life'"),
        ({"act": "pretrain", "words": ["x"]}, "'words'"),
        ({"act": "x" * 41}, "'act'"),
        ({"act": ["pretrain"]}, "'act'"),
    ],
)
def test_an_invalid_act_is_not_started(living: TestClient, body: dict[str, Any], told: str) -> None:
    """Nothing is left of it, either."""
    answer = living.post("/api/admin/jobs", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
    assert living.get("/api/runs").json()["jobs"] == []


def test_only_an_admin_starts_and_stops(living: TestClient, store: Store) -> None:
    """A rater sees the runs; the message says which role is needed."""
    _, rater = Keys(store).add("rita", "rater")
    Keys(store).add("adam", "admin")
    headers = {"authorization": f"Bearer {rater}"}
    assert living.get("/api/runs", headers=headers).status_code == 200
    for path in ("/api/admin/jobs", "/api/admin/runs/pretrain-base/resume", "/api/admin/jobs/x/stop"):
        answer = living.post(path, json={"act": "report"}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_role")


def test_nothing_is_resumed_or_stopped_that_has_ended(living: TestClient) -> None:
    resumed = living.post("/api/admin/runs/pretrain-base/resume")
    assert (resumed.status_code, "has ended" in resumed.text) == (400, True)
    stopped = living.post("/api/admin/runs/pretrain-base/stop")
    assert (stopped.status_code, "No process works on" in stopped.text) == (400, True)


def test_a_job_is_a_process_of_its_own_whose_output_is_kept(jobs: Jobs) -> None:
    """With the words as arguments, not by a shell; a failure is one; another server finds it again."""
    before = jobs.marks()
    good = ended(jobs.start(JobCommand("version", ("--version",)), "anna"), jobs)
    assert (good["state"], good["by"], good["words"]) == ("finished", "anna", ["--version"])
    assert good["output"].strip()[0].isdigit()
    assert jobs.marks() != before
    bad = ended(jobs.start(JobCommand("report", ("report", "$(exit 0)", "; true"))), jobs)
    assert bad["state"] == "failed"
    assert "$(exit 0)" in bad["output"]
    later = Jobs(Life(jobs.folder.parent.parent), {})
    assert [(one["id"], one["state"]) for one in later.listed()] == [(bad["id"], "failed"), (good["id"], "finished")]
    for name in ("..", "../jobs", good["id"] + "/..", "x"):
        with pytest.raises(MissingError):
            jobs.one(name)


def test_a_job_that_outlives_its_server_is_found_again(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs while its process does, not another one with its number; it is stopped by SIGTERM; not too many run."""
    sleeping = "import time; print('\\x1b[31mred\\x1b[0m', flush=True); time.sleep(600)"
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda words, **more: start([sys.executable, "-c", sleeping], **more))
    begun = [jobs.start(JobCommand("sleep", ())) for _ in range(MOST_RUNNING)]
    with pytest.raises(UserError, match=f"At most {MOST_RUNNING} jobs run at a time"):
        jobs.start(JobCommand("sleep", ()))
    later = Jobs(Life(jobs.folder.parent.parent), {})
    assert {one["state"] for one in later.listed()} == {"running"}
    later.stop(begun[0]["id"])
    assert ended(begun[0], jobs)["state"] == "stopped"
    path = jobs.folder / begun[1]["id"] / "job.json"
    path.write_text(path.read_text().replace('"born": "', '"born": "9'))
    assert later.one(begun[1]["id"])["state"] == "unknown"
    later.stop(begun[1]["id"])
    assert os.waitid(os.P_PID, begun[1]["pid"], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    for one in begun[1:]:
        os.kill(one["pid"], signal.SIGKILL)
        assert ended(one, jobs)["state"] == "failed"
