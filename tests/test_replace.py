"""A folder is replaced atomically: after a kill at any call, or with concurrent readers and writers, one exists."""

import json
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from sayso.base import replace
from sayso.base.errors import UserError
from sayso.base.files import atomic_folder, read_together, write_json
from sayso.base.life import Life
from sayso.base.made import work_in
from sayso.base.replace import put_back, sweep
from sayso.model import ModelConfig, Transformer
from sayso.train.best import Best
from sayso.train.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint
from sayso.train.loop import State
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.session import Session

SYSTEM = {"posix", "fcntl"}
READS = {"stat", "lstat", "fstat", "fspath", "scandir", "listdir", "close", "getpid", "urandom", "set_inheritable"}
CONFIG = ModelConfig(vocab_size=8, layers=1, width=8, heads=1, kv_heads=1, head_size=8, mlp_width=8, context=8)


def killed_at(moment: int, act: Callable[[], object]) -> bool:
    """Run `act` in a process that ends before the n-th system call that changes something; return whether it did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: this child only writes files
        child = os.fork()
    if not child:
        left = moment

        def count(frame: FrameType, event: str, called: Any) -> None:
            nonlocal left
            module = getattr(called, "__module__", None) if event == "c_call" else ""
            changes = module in SYSTEM and called.__name__ not in READS
            if changes or (frame.f_code is replace.exchange.__code__ and event in ("call", "return")):
                left -= 1
                if left < 0:
                    os._exit(9)

        try:
            sys.setprofile(count)
            act()
            sys.setprofile(None)
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 9


def write(folder: Path, number: int) -> None:
    """Create or replace a folder of two files and a folder that all contain the same number."""
    with atomic_folder(folder) as part:
        write_json(part / "config.json", number)
        (part / "adapter").mkdir()
        write_json(part / "adapter" / "weights.json", number)


def content(folder: Path) -> set[int]:
    """Return the numbers in a folder as a reader finds them."""
    return {json.loads((put_back(folder) / name).read_text()) for name in ("config.json", "adapter/weights.json")}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip real syncs, but count them as calls."""
    monkeypatch.setattr(os, "fsync", lambda handle: os.set_blocking(handle, True))


@pytest.fixture(params=["exchanged", "two renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to replace a folder; the second is for file systems that cannot exchange names."""
    if request.param == "two renames":

        def exchange(one: Path, other: Path) -> bool:
            return False

        monkeypatch.setattr(replace, "exchange", exchange)
    return str(request.param)


def test_a_kill_at_any_system_call_leaves_the_old_folder_or_the_new(way: str, tmp_path: Path) -> None:
    """For a replacement or creation killed at each call; the next writer leaves only its folder."""
    folder, found = tmp_path / "models" / "tuned", set()
    write(folder, 0)
    moment = number = 0
    while killed_at(moment, partial(write, folder, number + 1)):
        (there,) = content(folder)
        found.add(there - number)
        moment, number = moment + 1, there
        sweep(folder.parent)
    assert moment > 30
    assert found == {0, 1}
    for moment in range(0, 30, 4):
        shutil.rmtree(folder.parent, ignore_errors=True)
        killed_at(moment, lambda: write(folder, 3))
        assert not folder.exists() or content(folder) == {3}
    write(folder, 4)
    assert [path.name for path in folder.parent.iterdir()] == ["tuned"]


def test_a_kill_while_the_old_folder_is_put_back_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder moved aside by a kill between two renames is restored when it is opened, repeatedly."""
    folder = tmp_path / "best"
    write(folder, 1)
    folder.rename(tmp_path / f".best{replace.OLD}")
    for moment in range(10):
        killed_at(moment, lambda: put_back(folder))
        assert content(folder) == {1}


def fresh() -> State:
    """A training state with only a few weights."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    return State(model, make_optimizers(model, Rates()))


def test_no_kill_loses_the_best_weights_of_a_run(way: str, tmp_path: Path) -> None:
    """At every call of saving better weights, the old or the new ones are complete."""
    state, best = fresh(), Best(tmp_path, "score")
    best.offer(state, {"score": 0})
    moment = score = 0
    found = set()
    while killed_at(moment, partial(best.offer, state, {"score": score + 1})):
        there = int(best.restore(state)["value"])
        found.add(there - score)
        moment, score = moment + 5, there
        sweep(tmp_path)
    assert found == {0, 1}


def test_no_kill_loses_a_run_that_is_set_aside(tmp_path: Path) -> None:
    """At every call of starting another run in its place, the finished one is there or under its number."""
    for moment in range(100):
        life = Life(tmp_path / str(moment))
        stage = Session(life, "align", "aligned", {"seed": 1}, {})
        work_in(stage.folder)
        write_json(stage.folder / "plan.json", {"options": {"seed": 0}, "inputs": {}, "derived": {}})
        (stage.folder / "best").mkdir()
        killed = killed_at(moment, lambda stage=stage: stage.plan(dict, restart=False))
        (best,) = (life.root / "runs").glob("*/best")
        assert json.loads((best.parent / "plan.json").read_text())["options"] == {"seed": 0}
        if not killed:
            break
        assert stage.plan(dict, restart=False) == {}
        assert len(list((life.root / "runs").glob("*/best"))) == 1
    assert best.parent.name == "align-aligned.1"


def test_checkpoints_without_a_plan_are_set_aside(tmp_path: Path) -> None:
    """A run without its plan is not resumed."""
    stage = Session(Life(tmp_path), "align", "aligned", {}, {})
    work_in(stage.folder)
    (stage.folder / "checkpoints" / "step-000001").mkdir(parents=True)
    stage.plan(dict, restart=False)
    assert not (stage.folder / "checkpoints").exists()
    assert (tmp_path / "runs" / "align-aligned.1" / "checkpoints" / "step-000001").exists()


def test_no_kill_loses_a_checkpoint(way: str, tmp_path: Path) -> None:
    """A checkpoint of a step that already has one, as after resuming, is replaced atomically."""
    state = fresh()
    save_checkpoint(state, tmp_path)
    moment = 0
    while killed_at(moment, lambda: save_checkpoint(state, tmp_path)):
        assert load_checkpoint(state, tmp_path)
        moment += 9
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-000000"]
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000"]


@pytest.mark.parametrize("missing", ["when opened", "when compared"])
def test_what_is_read_between_two_renames_is_read_again(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is not there at a moment may have been replaced in the meantime."""
    folder, away = tmp_path / "tuned", tmp_path / "away"
    write(folder, 0)
    tries = []

    def open_nothing(*_given: Any) -> int:
        monkeypatch.undo()
        raise FileNotFoundError

    def read() -> set[int]:
        tries.append(1)
        if away.exists():
            away.rename(folder)
        found = content(folder)
        if len(tries) == 1:  # the folder is replaced while it is read
            write(folder, 1)
            found |= content(folder)
            if missing == "when compared":
                folder.rename(away)
        return found

    if missing == "when opened":
        monkeypatch.setattr(os, "open", open_nothing)
    assert read_together(folder, read) == {1}


def test_readers_always_find_the_folder(way: str, tmp_path: Path) -> None:
    """While one process keeps replacing a folder, a reader never misses it or reads a mixture."""
    folder = tmp_path / "tuned"
    write(folder, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        number = 0
        while True:
            write(folder, number := number + 1)
    try:
        seen, end = set(), time.monotonic() + 0.7
        while time.monotonic() < end:
            seen |= (found := read_together(folder, lambda: content(folder)))
            assert len(found) == 1
            assert way == "two renames" or folder.exists()
        assert len(seen) > 3
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert len(content(folder)) == 1


def test_concurrent_writers_leave_one_complete_folder(way: str, tmp_path: Path) -> None:
    """The last one wins, none fails, and nothing is left over."""
    failed: list[BaseException] = []

    def again(number: int) -> None:
        try:
            for _ in range(8):
                write(tmp_path / "tuned", number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=again, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(content(tmp_path / "tuned")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]


def test_a_writer_whose_old_folder_another_removed_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without exchange, both move the old folder aside; the second finds it missing, even after seeing it."""
    monkeypatch.setattr(replace, "exchange", lambda one, other: False)
    write(tmp_path / "tuned", 0)
    seen = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: str(path).endswith(replace.OLD) or seen(path))
    write(tmp_path / "tuned", 1)
    assert content(tmp_path / "tuned") == {1}
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]


def test_only_leftovers_of_dead_writers_are_removed(tmp_path: Path) -> None:
    """A folder being written is kept, and so are all files of the user."""
    left = tmp_path / f".tuned{replace.NEW}abcdefgh"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    for name in (".tuned.swp", ".tuned.old", ".hidden"):
        (tmp_path / name).write_text("mine")
    with atomic_folder(tmp_path / "other") as part:
        sweep(tmp_path)
        assert part.exists()
        assert not left.exists()
        assert {path.name for path in tmp_path.iterdir()} == {part.name, ".tuned.swp", ".tuned.old", ".hidden"}


def test_without_locks_only_old_leftovers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may not show who still writes: leftovers older than a day are removed."""

    def unsupported(handle: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(replace.fcntl, "flock", unsupported)
    new, old = (tmp_path / f".x{replace.NEW}{name}" for name in ("new", "old"))
    new.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert new.exists()
    assert not old.exists()


def test_a_file_or_a_link_in_place_of_a_folder(tmp_path: Path) -> None:
    """A file is not replaced by a folder; a link is, and its target is kept."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"), atomic_folder(tmp_path / "file"):
        pass
    write(tmp_path / "far", 1)
    (tmp_path / "link").symlink_to("far")
    (tmp_path / "nowhere").symlink_to("nothing")
    for name in ("link", "nowhere"):
        write(tmp_path / name, 2)
        assert content(tmp_path / name) == {2}
    assert content(tmp_path / "far") == {1}
    assert {path.name for path in tmp_path.iterdir()} == {"file", "far", "link", "nowhere"}
