"""One setting for everything that acts print."""

import io
import sys

import pytest
from rich.table import Table

import sayso
from sayso.base.log import Progress, say, warn
from sayso.base.output import console
from sayso.base.terminal import Terminal


def print_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print in every way that acts use."""
    monkeypatch.setattr("sayso.base.log.PIPED_SECONDS", 0.0)
    say("said", style="bold")
    warn("warned")
    table = Table("column")
    table.add_row("cell")
    console().print(table)
    with Progress(2, "step") as line:
        line.update(1, loss=2.0)
    terminal = Terminal(io.StringIO())
    terminal.write("wri")
    terminal.write("tten\n")
    terminal.note("noted")


def test_quiet_prints_nothing_and_auto_returns(monkeypatch, capsys) -> None:
    """After the block, output goes where it went before."""
    with sayso.output("quiet"):
        print_all(monkeypatch)
        assert capsys.readouterr() == ("", "")
        with sayso.output("auto"):
            say("inside")
        say("silent")
    say("after")
    assert capsys.readouterr() == ("inside\nafter\n", "")


def test_a_function_gets_every_line(monkeypatch, capsys) -> None:
    """Lines are complete, plain and without line ends, even if written in pieces."""
    lines: list[str] = []
    with sayso.output(lines.append):
        print_all(monkeypatch)
    assert capsys.readouterr() == ("", "")
    assert [lines[0], lines[1], lines[-2], lines[-1]] == ["said", "warned", "written", "noted"]
    assert any("cell" in line for line in lines)
    assert any(line.startswith("step 1/2") and "loss 2.000" in line for line in lines)
    assert not any("\r" in line or "\x1b" in line or "\n" in line for line in lines)


def test_a_stream_that_is_not_a_terminal_gets_no_control_codes(monkeypatch, capsys) -> None:
    """As in a notebook or a file: complete lines, no carriage return."""
    print_all(monkeypatch)
    out, err = capsys.readouterr()
    assert "said\n" in out
    assert "step 1/2" in err
    assert "\r" not in out + err
    assert "\x1b" not in out + err


def test_the_choice_persists_without_a_block(capsys) -> None:
    """A script can choose once, at its top."""
    before = sayso.output("quiet")
    try:
        say("silent")
        assert capsys.readouterr().out == ""
    finally:
        with before:
            pass
    say("back")
    assert capsys.readouterr().out == "back\n"


@pytest.mark.parametrize("to", ["quite", 3, None])
def test_another_destination_is_a_user_error(to) -> None:
    """The nearest name is suggested, and nothing changes."""
    with pytest.raises(sayso.UserError, match=r"'auto', 'quiet' or a function"):
        sayso.output(to)
    assert console().file is sys.stdout


def test_brackets_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Also in tables: names and texts of users may have them."""
    table = Table("a", box=None)
    table.add_row("[/b] [red]hi")
    console().print(table)
    assert "[/b] [red]hi" in capsys.readouterr().out
