"""The command line: its imports, commands, sources of settings, and exit codes."""

import errno
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

import cyclopts
import pytest

from sayso.base.errors import UserError
from sayso.cli.commands import FLAGS, as_command
from sayso.cli.failures import failure_sentence
from sayso.cli.main import run, trains
from sayso.cli.settings import sources, split_config
from sayso.run.acts import COMMANDS, Command
from sayso.train.options import Training


@dataclass(frozen=True)
class Options:
    """Options like those of an act."""

    sources: tuple[str, ...] = ("wiki",)
    """What to read."""
    life: Path = Path("life")
    """Folder of the life."""
    depth: int | None = None
    """Number of blocks."""
    held_out: float = 0.1
    """Share held out."""


def act(options: Options) -> Options:
    """Return the options."""
    return options


def parse(tokens: list[str], config: Path | None = None) -> Options:
    """Parse arguments as the command `sayso act` does."""
    app = cyclopts.App(name="sayso", config=sources(config), default_parameter=FLAGS)
    app.command(as_command(act, "sources"), name="act")
    return app(["act", *tokens], exit_on_error=False, print_error=False, result_action="return_value")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["tokenizer", "--help"]])
def test_help_and_version_load_no_torch(words: list[str]) -> None:
    """Help must not take the seconds that importing torch takes."""
    code = f"import sys; from sayso.cli.main import run; assert run({words!r}) == 0; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(command, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of the table has an act whose every flag has help."""
    assert run([*command.words, "--help"]) == 0
    assert "--life" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_that_trains_keeps_its_memory(command: Command) -> None:
    """Training acts are recognized before they are imported; `demo` and `cycle` train by calling such acts."""
    kind = get_type_hints(command.load())["options"]
    assert trains(command.words) == (issubclass(kind, Training) or command.name in ("demo", "cycle", "law sweep"))
    assert trains(["--config", "a.toml", *command.words, "--life", "here"]) == trains(command.words)


def test_a_config_flag_without_a_file_is_reported_by_the_command() -> None:
    """Whether a command trains is determined before its arguments are checked."""
    assert not trains(["pretrain", "--config"])
    assert run(["pretrain", "--config"]) == 2


def test_a_field_is_a_flag_and_one_may_be_positional() -> None:
    """The field in the table may be positional; all fields work by name, with dashes."""
    given = parse(["a", "b", "--held-out", "0.3", "--life", "tom"])
    assert given == Options(("a", "b"), life=Path("tom"), held_out=0.3)
    assert parse([]) == Options()
    assert parse(["--sources", "a", "b", "--life", "tom"]) == parse(
        ["--sources", "a", "--sources", "b", "--life", "tom"]
    )


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source of settings is used only if the one above does not set the value."""
    file = tmp_path / "config.toml"
    file.write_text('life = "from file"\ndepth = 2\nheld_out = 0.2\nsources = ["x", "y"]\n')
    monkeypatch.setenv("SAYSO_ACT_DEPTH", "3")
    monkeypatch.setenv("SAYSO_LIFE", "from environment")
    assert parse([], file) == Options(("x", "y"), life=Path("from environment"), depth=3, held_out=0.2)
    assert parse(["--depth", "4"], file).depth == 4


def test_a_file_may_have_one_table_per_command(tmp_path: Path) -> None:
    """One TOML file can configure a whole life; tables of other commands are ignored."""
    file = tmp_path / "life.toml"
    file.write_text("[act]\ndepth = 5\n[pretrain]\nsteps = 9\n")
    assert parse([], file).depth == 5


def test_the_config_flag_is_removed_from_the_arguments() -> None:
    """`--config` is accepted anywhere, in both spellings, but not after `--`."""
    assert split_config(["pretrain", "--config", "a.toml", "--depth", "4"]) == (
        ["pretrain", "--depth", "4"],
        Path("a.toml"),
    )
    assert split_config(["--config=b.toml", "chat"]) == (["chat"], Path("b.toml"))
    assert split_config(["generate", "--", "--config", "c"]) == (["generate", "--", "--config", "c"], None)
    with pytest.raises(UserError, match="must be followed by a TOML file"):
        split_config(["pretrain", "--config"])


def ends(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Run the real command line with one command, whose act fails."""

    def failing(options: Options) -> None:
        raise error

    module = ModuleType("sayso.run.fail")
    module.fail = failing
    monkeypatch.setitem(sys.modules, "sayso.run.fail", module)
    monkeypatch.setattr("sayso.cli.commands.COMMANDS", (Command("fail", "Fail."),))
    return run(["fail"])


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UserError("A depth is at least 1; got 0."), 2, "A depth is at least 1; got 0."),
        (KeyboardInterrupt(), 130, "Stopped."),
        (OSError(errno.ENOSPC, "No space left on device", "life/x"), 2, "disk is full while writing 'life/x'"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 2, "Out of memory"),
        (MemoryError(), 2, "Out of memory"),
        (PermissionError(errno.EACCES, "Permission denied", "life"), 2, "no permission to"),
    ],
)
def test_a_failure_is_reported_in_one_line(error, code: int, told: str, monkeypatch, capsys) -> None:
    """A failure that a user can fix is one line on standard error, with its exit code."""
    assert ends(monkeypatch, error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that no user can fix keeps its traceback."""
    with pytest.raises(ZeroDivisionError):
        ends(monkeypatch, ZeroDivisionError("ours"))
    assert failure_sentence(ValueError("ours")) is None


def test_a_closed_pipe_is_silent() -> None:
    """`sayso --help | head -1` ends silently."""
    command = f"{sys.executable} -m sayso --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_an_argument_that_no_option_takes_is_named_with_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["finetune", "chat.jsonl"]) == 2
    told = "sayso: 'sayso finetune' cannot use 'chat.jsonl', which follows no flag; 'sayso finetune --help' lists"
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize(
    "words", ["report --life=", "prepare a.txt --eval-texts=", "align --pairs=", "export base --to="]
)
def test_an_empty_path_is_not_the_current_folder(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words.split()) == 2
    assert "a path must not be empty" in capsys.readouterr().err


def test_an_empty_path_is_refused_in_the_environment_and_a_file(tmp_path: Path, monkeypatch, capsys) -> None:
    (config := tmp_path / "c.toml").write_text('[report]\nlife = ""\n')
    assert run(["report", "--config", str(config)]) == 2
    assert "a path must not be empty" in capsys.readouterr().err
    monkeypatch.setenv("SAYSO_LIFE", "")
    assert run(["report"]) == 2
    assert "a path must not be empty" in capsys.readouterr().err


def test_a_source_without_a_name_is_not_the_current_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("", "?column=text"):
        assert run(["prepare", source, "--life", str(tmp_path / "life")]) == 2
        assert "must not be empty" in capsys.readouterr().err
