"""Failures of the environment: what cannot be written or read is one sentence, and no stream or terminal crashes it."""

import errno
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.base.terminal import Terminal
from sayso.cli.failures import ON_A_PATH, failure_sentence
from sayso.cli.main import run
from sayso.cli.streams import NARROWEST, WIDEST
from sayso.feedback.database import open_engine


def sayso(words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a shell, whose redirections may close streams."""
    command = f"{sys.executable} -m sayso {words}"
    return subprocess.run(["bash", "-c", command], capture_output=True, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize("code", ON_A_PATH, ids=lambda code: errno.errorcode[code])
def test_a_system_error_is_one_sentence_with_the_file(code: int) -> None:
    """The error names the file as the user knows it, not its temporary name."""
    told = failure_sentence(OSError(code, os.strerror(code), "life/.config.toml.ab12cd_9"))
    assert told is not None
    assert "life/config.toml" in told
    assert "ab12cd_9" not in told


def test_an_error_without_a_file_stays_a_bug() -> None:
    """A failed lookup in our own code keeps its traceback; known library messages without a file do not."""
    assert failure_sentence(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert "read-only" in str(failure_sentence(RuntimeError("I/O error: Read-only file system (os error 30)")))


def test_a_read_only_life(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not apply to root, so the system call itself is made to fail."""

    def refuse(*given: object, **named: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / "life"))

    monkeypatch.setattr(os, "mkdir", refuse)
    for words in ("puzzles addition", "prepare smallworld --workers 1", "report"):
        assert run([*words.split(), "--life", str(tmp_path / "life")]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("words", ["generate Hi", "pretrain", "prepare smallworld", "report", "serve", "gather"])
def test_a_life_that_is_a_file(words: str, tmp_path: Path, capsys) -> None:
    """Every command requires the life to be a folder; a path below a file is refused, too."""
    (tmp_path / "life").write_text("not a folder")
    assert run([*words.split(), "--life", str(tmp_path / "life")]) == 2
    assert "--life must be a folder" in capsys.readouterr().err
    assert run([*words.split(), "--life", str(tmp_path / "life" / "below")]) == 2
    assert "--life must be a folder" in capsys.readouterr().err
    assert (tmp_path / "life").read_text() == "not a folder"


@pytest.mark.parametrize("name", ["folder", "pipe"])
def test_a_file_replaces_only_a_file(name: str, tmp_path: Path) -> None:
    """A folder, a pipe or a device such as the null device is not replaced by a regular file."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        write_atomic(tmp_path / name, "text")
    assert not (tmp_path / name).is_file()


@pytest.mark.parametrize(
    "address", ["foo://x", "://", "mysql://root:secret@h/x", "postgresql://h:abc/x", "sqlite+aiosqlite:///x"]
)
def test_a_store_of_an_unknown_kind(address: str) -> None:
    """An invalid address, or one of an unsupported database, is one sentence without its password."""
    with pytest.raises(UserError, match="like sqlite:///") as error:
        open_engine(address)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("given", "width"), [("1", NARROWEST), ("30", 30), ("99999999", WIDEST), ("many", 80)])
def test_help_fits_any_width(given: str, width: int, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """At one column, rich did not terminate and took all memory; so it does at a hundred million columns."""
    monkeypatch.setenv("COLUMNS", given)
    assert run(["demo", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width


def test_output_that_is_not_utf8(tmp_path: Path) -> None:
    """A character that the encoding lacks becomes a question mark; the file keeps its name."""
    done = sayso(f"puzzles addition --count 1 --out {tmp_path}/café.jsonl", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf?.jsonl" in done.stdout
    assert (tmp_path / "café.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("demo --help >&-", 0),
        ("generate Hi --life none 2>&-", 2),
        ("generate --life none <&- >&- 2>&-", 2),
        ("--help > /dev/full", 2),
    ],
)
def test_streams_that_are_closed_or_full(words: str, code: int) -> None:
    """There is no traceback, and the exit code is the usual one."""
    done = sayso(words)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


def test_arguments_that_are_not_text(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not UTF-8 are refused before anything is written under an unprintable name."""
    assert run(["prepare", "caf\udce9", "--life", "none"]) == 2
    assert "valid UTF-8" in capsys.readouterr().err
    monkeypatch.setenv("SAYSO_API_KEY", "secret\udce9")
    assert run(["serve"]) == 2
    told = capsys.readouterr().err
    assert "SAYSO_API_KEY" in told
    assert "secret" not in told


def test_a_line_that_is_not_text_is_refused_and_the_next_is_read() -> None:
    """A conversation continues after a line in another encoding."""
    terminal = Terminal(StringIO("caf\udce9\nhello\n"), StringIO())
    with pytest.raises(UserError, match="after 'caf' are not"):
        terminal.read()
    assert terminal.read() == "hello"


@pytest.mark.parametrize("given", ["many", "", "-3", "4,2", "99999999999999"])
def test_an_invalid_number_of_threads(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OMP_NUM_THREADS may be a list, or invalid."""
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    before = pick_device("cpu").threads
    assert before >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert pick_device("cpu").threads == 1
