"""Atomic writes, configs that round-trip, and logs that survive a kill."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from sayso.base.config import plain, save_config
from sayso.base.errors import UserError, nearest, require
from sayso.base.files import atomic_folder, read_json, sha256, write_atomic
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.base.log import Progress, RunLog, act_log, duration, read_log
from sayso.cli.settings import ConfigFile


@dataclass(frozen=True)
class Options:
    """A config with a field of each type."""

    life: Path = Path("life")
    steps: int | None = None
    rate: float = 0.5
    name: str = 'quoted "name"'
    sources: tuple[str, ...] = ("a", "b")
    fast: bool = True


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """If writing fails midway, the old content remains and no temporary file is left."""
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": 1}])

    def rows() -> object:
        yield {"a": 2}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_jsonl(path, rows())  # type: ignore[arg-type]
    assert list(read_jsonl(path)) == [{"a": 1}]
    assert [child.name for child in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_folder_is_replaced_atomically(tmp_path: Path) -> None:
    """A folder is replaced if the block succeeds, and unchanged if it fails."""
    folder = tmp_path / "model"
    with atomic_folder(folder) as part:
        (part / "x").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(folder) as part:  # noqa: PT012
        (part / "x").write_text("half")
        raise RuntimeError
    assert (folder / "x").read_text() == "old"
    with atomic_folder(folder) as part:
        (part / "y").write_text("new")
    assert [child.name for child in folder.iterdir()] == ["y"]
    assert [child.name for child in tmp_path.iterdir()] == ["model"]


def test_a_config_round_trips_through_toml(tmp_path: Path) -> None:
    """A saved config reads back equal; None is omitted."""
    options = Options(life=Path("a b"), steps=None, sources=("x", "y z"))
    save_config(options, tmp_path / "config.toml")
    known = {name: value for name, value in plain(options).items() if name != "steps"}
    assert known["sources"] == ["x", "y z"]
    assert ConfigFile(tmp_path / "config.toml").values == known


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    """Editors on Windows write one: configs and JSON are read all the same."""
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbfsteps = 3\n")
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert ConfigFile(tmp_path / "c.toml").values == {"steps": 3}
    assert read_json(tmp_path / "x.json") == {"a": 1}


def test_a_bad_line_is_reported_with_its_number(tmp_path: Path) -> None:
    """The error for invalid JSON names the file and the line."""
    write_atomic(tmp_path / "rows.jsonl", '{"a": 1}\n{"a": \n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2: .*Expecting value, column 8"):
        list(read_jsonl(tmp_path / "rows.jsonl"))
    with pytest.raises(UserError, match="no file"):
        read_json(tmp_path / "none.json")


def test_a_log_is_continued_after_an_incomplete_last_line(tmp_path: Path) -> None:
    """An incomplete last line is removed before the next one is written, so that no line mixes two."""
    path = tmp_path / "run.jsonl"
    RunLog(path).write("step", step=1)
    with path.open("a") as file:
        file.write('{"event": "st')
    RunLog(path).write("step", step=2)
    assert [event["step"] for event in read_log(path)] == [1, 2]


def test_an_incomplete_last_line_of_a_log_is_skipped(tmp_path: Path) -> None:
    """An incomplete last line is skipped; a bad line before it is reported."""
    log = RunLog(tmp_path / "run.jsonl")
    log.write("step", step=1)
    with log.path.open("a") as file:
        file.write('{"event": "st')
    assert read_log(log.path) == [{"event": "step", "step": 1}]
    with log.path.open("a") as file:
        file.write('\n{"event": "step"}\n')
    with pytest.raises(UserError, match=r"Line 2 of .*run\.jsonl"):
        read_log(log.path)


@pytest.mark.parametrize("line", [1, 2])
def test_a_line_of_a_log_that_has_lost_its_checksum_is_damaged(tmp_path: Path, line: int) -> None:
    """A changed bit may rename the checksum itself; a log without any, of another program, is read."""
    log = RunLog(tmp_path / "run.jsonl")
    for step in (1, 2, 3):
        log.write("step", step=step)
    lines = log.path.read_text().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace("crc32", "brc32")
    log.path.write_text("".join(lines))
    with pytest.raises(UserError, match=rf"Line {line} of .*run\.jsonl' is damaged: it has no checksum"):
        read_log(log.path)
    log.path.write_text("".join(line.replace("crc32", "brc32") for line in lines))
    assert len(read_log(log.path)) == 3


def test_an_act_logs_its_config_time_and_memory(tmp_path: Path) -> None:
    """The run's folder contains the resolved config; the log has start and end lines."""
    with act_log(Life(tmp_path), "try", "it", Options()) as log:
        log.write("step", step=1)
    start, step, end = read_log(tmp_path / "runs" / "try-it" / "run.jsonl")
    assert (start["event"], start["config"]["rate"], step["step"]) == ("start", 0.5, 1)
    assert end["seconds"] >= 0
    assert end["peak_memory_mb"] > 1
    assert ConfigFile(tmp_path / "runs" / "try-it" / "config.toml").values["rate"] == 0.5


def test_progress_is_quiet_when_piped_and_short(capsys: pytest.CaptureFixture[str]) -> None:
    """Work that ends before the first line is due prints nothing to a pipe."""
    with Progress(10, "step") as line:
        for step in range(10):
            line.update(step, loss=1.0)
    assert capsys.readouterr() == ("", "")


def test_durations_are_formatted_with_units() -> None:
    """Seconds, minutes and hours."""
    assert [duration(s) for s in (8.2, 200, 7500)] == ["8 s", "3 min 20 s", "2 h 05 min"]


def test_a_missing_extra_names_the_install_command() -> None:
    """The error names the command that installs the extra."""
    with pytest.raises(UserError, match=r"pip install 'sayso\[data\]'"):
        require("a_module_that_is_not_there", "data")


def test_the_nearest_name_is_suggested_if_close() -> None:
    """A near miss is suggested, a distant name is not."""
    assert nearest("wikki", ["wiki", "chitchat"]) == " Did you mean 'wiki'?"
    assert nearest("zzz", ["wiki"]) == ""


def test_sha256_equals_a_test_vector(tmp_path: Path) -> None:
    """The hash of a file is the standard one (FIPS 180 test vector)."""
    write_atomic(tmp_path / "abc", b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
