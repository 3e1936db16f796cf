"""Counts of requests by minute: each to a model counts once, by how it ended; without one nothing is written."""

import asyncio
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx2
import pytest
import sqlalchemy as sql
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sayso.feedback.database import StoreError
from sayso.feedback.store import Store
from sayso.feedback.tables import minutes
from sayso.feedback.traffic import MinuteCounts
from sayso.serve.server import Server
from sayso.serve.traffic import Progress, Traffic

HERE = "http://127.0.0.1"
HELLO = [{"role": "user", "content": "hello"}]


def counted(store: Store) -> dict[str, dict[str, float]]:
    """The counts by model."""
    names = ("requests", "invalid", "rejected", "failed", "begun", "waited")
    columns = [*(sql.func.sum(minutes.c[name]).label(name) for name in names), sql.func.max(minutes.c.waiting)]
    with store.engine.begin() as connection:
        rows = connection.execute(sql.select(minutes.c.model, *columns).group_by(minutes.c.model)).all()
    return {row[0]: dict(zip((*names, "waiting"), row[1:], strict=True)) for row in rows}


def test_each_request_counts_once_by_its_end(app: FastAPI, store: Store, hook: Callable[..., None]) -> None:
    """Whole, streamed, of the page, refused, and failed in a stream that had begun; not those that ask no model."""
    broken = threading.Event()

    def fail() -> None:
        if broken.is_set():
            raise RuntimeError("broken")

    hook(app.state.models.main.worker.engine, fail)
    body = {"messages": HELLO, "max_tokens": 3}
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        assert client.post("/v1/chat/completions", json=body | {"stream": True}).status_code == 200
        talk = client.post("/api/conversations").json()["id"]
        said = client.post("/api/messages", json={"conversation_id": talk, "content": "hello"}).json()
        assert "event: done" in client.post("/api/replies", json={"message_id": said["id"], "max_tokens": 2}).text
        assert client.post("/v1/embeddings", json={"input": "cat", "model": "tuned"}).status_code == 200
        assert client.post("/v1/chat/completions", json={"messages": 1}).status_code == 400
        assert client.post("/v1/chat/completions", json=body | {"model": "nobody"}).status_code == 404
        broken.set()
        assert client.post("/v1/chat/completions", json=body).status_code == 500
        assert client.post("/v1/chat/completions", json=body | {"stream": True}).status_code in (200, 500)
        for path in ("/health", "/v1/models", "/metrics", "/api/conversations", "/nothing"):
            client.get(path)
        client.post("/tokenize", json={"prompt": "cat"})
        client.post("/api/messages", json={"conversation_id": 99, "content": "hello"})
    found = counted(store)
    assert found.keys() == {"", "tuned"}
    ours = found["tuned"]
    assert (ours["requests"], ours["failed"], ours["invalid"], ours["rejected"]) == (6, 2, 0, 0)
    assert ours["begun"] >= 3
    assert ours["waiting"] == 0
    assert (found[""]["requests"], found[""]["invalid"]) == (2, 2)


def test_what_waits_and_what_finds_no_place_is_counted(
    address: str, servers: list[Server], store: Store, hook: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One speaks, one waits, the third is told 429; the wait is that of the second."""
    monkeypatch.setattr("sayso.serve.traffic.PERIOD", 0.01)
    free, spoken = threading.Event(), count()

    def hold() -> None:
        if next(spoken) >= 2:
            free.wait(30)

    hook(servers[0].config.app.state.models.main.worker.engine, hold)
    body: dict[str, Any] = {"messages": HELLO, "temperature": 0, "stream": True, "max_tokens": 5}
    with httpx2.Client(base_url=address, timeout=60) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as running:
            said = running.iter_lines()
            next(said)
            with client.stream("POST", "/v1/chat/completions", json=body) as second:
                assert client.post("/v1/chat/completions", json=body).status_code == 429
                time.sleep(0.05)  # the second is queued: the third found no place
                free.set()
                list(said)
                list(second.iter_lines())
        while counted(store).get("tuned", {}).get("requests") != 3:
            client.get("/health")
    ours = counted(store)["tuned"]
    assert (ours["rejected"], ours["failed"], ours["begun"], ours["waiting"]) == (1, 0, 2, 1)
    assert ours["waited"] >= 0.05


def test_a_server_without_requests_writes_nothing(app: FastAPI, store: Store) -> None:
    with TestClient(app, base_url=HERE) as client:
        client.get("/v1/models")
    assert counted(store) == {}


def test_counts_are_held_while_the_store_fails(caplog: pytest.LogCaptureFixture) -> None:
    """And written when it is back, each once, with those of the meantime."""
    written: list[MinuteCounts] = []
    fails, failing, free = True, threading.Event(), threading.Event()

    def write(counts: Any) -> None:
        if fails:
            failing.set()
            free.wait(30)
            raise StoreError("The store is not available.")
        written.extend(counts)

    async def serve() -> None:
        nonlocal fails
        traffic = Traffic(write)
        traffic.count("POST", "/v1/completions", 200, Progress("tuned", waiting=2))
        closing = asyncio.create_task(traffic.close())
        await asyncio.to_thread(failing.wait, 30)
        traffic.count("POST", "/v1/completions", 503, Progress("tuned", waiting=1))
        free.set()
        await closing
        fails = False
        await traffic.close()
        await traffic.close()

    asyncio.run(serve())
    assert sum(one.requests for one in written) == 2
    assert sum(one.failed for one in written) == 1
    assert max(one.waiting for one in written) == 2
    assert len(caplog.records) == 1
