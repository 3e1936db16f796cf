"""The act that puts a model on a port."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.run.serve import Serve, serve
from sayso.serve.listen import listen
from sayso.serve.log import logged


def test_a_port_in_use_is_named_with_its_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 2 and one sentence that names the port and another one."""
    folder = Life(tmp_path).model("tuned")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        assert run(["serve", "--life", str(tmp_path), "--port", str(port)]) == 2
    told = capsys.readouterr().err
    assert f"Port {port} on 127.0.0.1 is in use" in told
    assert f"--port {port + 1}" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"host": "0.0.0.0"}, "API key is required"),
        ({"rows": 0}, "--rows must be from 1 to"),
        ({"cache_tokens": 0}, "--cache-tokens must be at least 1"),
        ({}, "has no models yet"),
        ({"canary": "candidate"}, "as in --model stable --canary candidate. Got --model aligned --canary candidate."),
        ({"shadow": "aligned"}, "as in --model stable --shadow candidate. Got --model aligned --shadow aligned."),
        ({"share": 0.0}, "--share must be from 0.001 to 0.999"),
        ({"model": "tunde"}, "There is no model 'tunde'"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    """An open door without a key, a life without a model, a model that is not there."""
    with pytest.raises(UserError, match=says):
        serve(Serve(life=tmp_path, **options))


def test_requests_are_logged_to_standard_error(app: FastAPI, capfd: pytest.CaptureFixture[str]) -> None:
    """One line with the id, method, path, status and seconds; none once the server has ended."""
    with TestClient(app, base_url="http://127.0.0.1") as client:
        with logged(requests=True):
            client.get("/version", headers={"x-request-id": "mine"})
        client.get("/version", headers={"x-request-id": "other"})
    told = capfd.readouterr()
    assert re.fullmatch(r"[-\d]+ [:,\d]+ Request mine: GET /version 200 in \d\.\d{3} s\n", told.err)
    assert told.out == ""


def test_what_a_client_sends_cannot_forge_a_line_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    """Controls are escaped, also in the text of an error whose traceback follows; without requests, warnings remain."""
    log = logging.getLogger("sayso.serve.errors")
    with logged(requests=False):
        log.warning("no '%s'", "a\r\n2026-01-01 b\x1b[2J\u2028\u202e\x9b")
        try:
            raise ValueError("c\n2026-01-01 d\x07")
        except ValueError:
            log.exception("failed")
        logging.getLogger("sayso.serve.envelope").info("Request")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].partition(" ")[2].partition(" ")[2] == r"no 'a\r\n2026-01-01 b\x1b[2J\u2028\u202e\x9b'"
    assert [bool(re.match(r"[-\d]+ [:,\d]+ ", line)) for line in lines[:2]] == [True, True]
    assert all(line.startswith("    ") for line in lines[2:])
    assert lines[-1] == r"    2026-01-01 d\x07"


def test_an_address_that_is_not_ours_is_said() -> None:
    """Listening on a name that does not exist is a person's mistake, not a traceback."""
    with pytest.raises(UserError, match="Cannot resolve"):
        listen("no.such.host.invalid", 8000)
    with pytest.raises(UserError, match="Cannot listen on"):
        listen("192.0.2.1", 8000)
