"""Mirrors: the real trackers get the metrics of run.jsonl, locally, and never stop a run."""

import importlib.util
import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.train import mirrors as mirror
from sayso.train.mirrors import mirrored
from sayso.train.options import Training
from sayso.train.session import open_session

STEPS = {1: {"loss": 3.5, "lr": 0.1, "sample": "not a number"}, 2: {"loss": 3.25, "lr": 0.2}}


def test_tensorboard_has_the_metrics(tmp_path: Path) -> None:
    """TensorBoard's own reader finds each metric at its step; a resumed run adds to them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for step, fields in STEPS.items():
        with mirrored(["tensorboard"], tmp_path, {}) as mirrors:
            mirrors.write(step, fields)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "lr"]
    read = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in ("loss", "lr")}
    assert read["loss"] == [(1, 3.5), (2, 3.25)]
    assert read["lr"] == [(1, pytest.approx(0.1)), (2, pytest.approx(0.2))]


WRITE = """
import json, sys
from pathlib import Path
from sayso.train.mirrors import mirrored
with mirrored([sys.argv[1]], Path(sys.argv[2]), {"rows": 4}) as mirrors:
    assert mirrors.open, "the mirror did not open"
    for step, fields in json.loads(sys.argv[3]).items():
        mirrors.write(int(step), fields)
    assert mirrors.open, "the mirror was lost"
"""


def written(name: str, folder: Path, tmp_path: Path) -> None:
    """Write to a mirror in another process, because these packages leave threads, hooks and warnings behind."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "TRACKIO"))}
    environment["HOME"] = str(tmp_path)
    command = [sys.executable, "-c", WRITE, name, str(folder), json.dumps(STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_trackio_has_the_metrics(tmp_path: Path) -> None:
    """Its database in the run's folder has each step."""
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    folder = tmp_path / "pretrain-base"
    written("trackio", folder, tmp_path)
    (database,) = (folder / "trackio").glob("*.db")
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
    connection.close()
    assert [(name, step, json.loads(metrics)["loss"]) for name, step, metrics in rows] == [
        ("pretrain-base", 1, 3.5),
        ("pretrain-base", 2, 3.25),
    ]


def log_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a log in LevelDB's format: blocks of 32 KiB, with parts of records after a header."""
    place, record = 7, b""  # after the header of wandb
    while place + 7 <= len(data):
        if place % 2**15 > 2**15 - 7:
            place += -place % 2**15
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # the only part, or the last one
            yield record
            record = b""


def test_wandb_writes_offline(tmp_path: Path) -> None:
    """By default the run is stored in its folder, with the metrics of each step."""
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    folder = tmp_path / "pretrain-base"
    folder.mkdir()
    written("wandb", folder, tmp_path)
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = []
    for data in log_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            found.append((int(items["_step"]), float(items["loss"])))
    assert found == [(1, 3.5), (2, 3.25)]


def test_a_missing_package_names_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error before training starts."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'sayso\[wandb\]'"), mirrored(["wandb"], tmp_path, {}):
        pass


def test_an_unknown_mirror_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    """It is checked when the session is opened."""
    with pytest.raises(UserError, match="'tensorboard'"):
        open_session(Life(tmp_path), "pretrain", "base", Training(mirror=("tensorbord",)), {})


def test_a_mirror_that_fails_is_reported_once_and_disabled(tmp_path: Path, monkeypatch, capsys) -> None:
    """The other mirror and the run continue."""
    got: list[int] = []

    def failing(step: int, figures: dict[str, float]) -> None:
        if step > 1:
            raise ConnectionError("no route to host")

    opened = {
        "failing": lambda *_: (failing, lambda: None),
        "working": lambda *_: (lambda step, _: got.append(step), lambda: None),
    }
    monkeypatch.setattr(mirror, "MIRRORS", opened)
    with mirrored(["failing", "working"], tmp_path, {}) as mirrors:
        for step in range(1, 5):
            mirrors.write(step, {"loss": 1.0})
    assert got == [1, 2, 3, 4]
    output = capsys.readouterr().out
    assert output.count("'failing'") == 1
    assert "no route to host" in output
