"""Numeric options: each declares its range once, and values outside are refused, wherever they come from."""

import inspect
import math
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pytest

from sayso.base.errors import UserError
from sayso.base.ranges import LARGEST, Count, Options, Positive, Range, Share, numbers_of
from sayso.cli.main import run
from sayso.run.acts import COMMANDS, Command
from sayso.sample.dry import penalties
from sayso.sample.history import History
from sayso.sample.sampling import Sampling

NAMES = [command.name for command in COMMANDS]


def options_of(command: Command) -> type:
    """Return the dataclass of a command's options."""
    act = command.load()
    return get_type_hints(act)[next(iter(inspect.signature(act).parameters))]


def required(kind: type) -> dict[str, str]:
    """Return arguments for the options without a default; none of these files exists."""
    return {field.name: "none.jsonl" for field in fields(kind) if field.default is MISSING}


def outside(kind: type, limits: Range) -> list[str]:
    """Return arguments with numbers outside a range, and with values that are not such numbers."""
    step = 1 if kind is int else 0.5
    low = limits.least if limits.above else limits.least - step
    high = limits.most if limits.below else limits.most + step if limits.most < 2**52 else limits.most * 2
    return [str(low), str(high), "nan", "1.5" if kind is int else "1e400"]


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_every_number_has_a_range_that_contains_its_default(command: Command) -> None:
    """A numeric option without a range fails here; so does one whose default is outside its range."""
    kind = options_of(command)
    assert issubclass(kind, Options)
    for name, _, limits in numbers_of(kind):
        assert limits is not None, f"{kind.__name__}.{name} needs a range, see base/ranges.py"
        default = next(field.default for field in fields(kind) if field.name == name)
        for value in default if isinstance(default, tuple) else (default,):
            assert value is None or value is MISSING or value in limits


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_no_command_accepts_a_number_out_of_range(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is reported in one sentence with its flag, with exit code 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    kind = options_of(command)
    given = [word for name, value in required(kind).items() for word in (f"--{name.replace('_', '-')}", value)]
    for name, number, limits in numbers_of(kind):
        assert limits is not None
        flag = f"--{name.replace('_', '-')}"
        for value in outside(number, limits):
            assert run([*command.words, *given, f"{flag}={value}"]) == 2, (flag, value)
            told = capsys.readouterr().err
            assert flag in told, told
            assert told.count("\n") == 1
            assert len(told) < 2100
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_python_accepts_no_number_out_of_range(command: Command) -> None:
    """Options created in Python are checked like those of the command line, integer types included."""
    kind = options_of(command)
    for name, number, limits in numbers_of(kind):
        assert limits is not None
        wrong: list[Any] = [limits.least - 1, limits.most * 2 + 1, math.nan, math.inf, True, "1"]
        wrong += [limits.least + 0.5] if number is int else []
        several = "sizes" in name
        for value in wrong:
            with pytest.raises(UserError, match=f"--{name.replace('_', '-')} must be"):
                kind(**{**required(kind), name: (value,) if several else value})


@dataclass(frozen=True)
class Example(Options):
    """Options of each type."""

    count: Count = 3
    rows: Positive | None = None
    share: Share = 0.5
    half: Annotated[float, Range(0, 0.5, above=True, below=True)] = 0.25
    sizes: tuple[Positive, ...] = (2,)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"count": -5}, "--count must be at least 0; got -5. The default is 3."),
        ({"count": LARGEST + 1}, f"--count must be from 0 to {LARGEST}; got {LARGEST + 1}. The default is 3."),
        ({"count": 1.5}, "--count must be an integer, at least 0; got 1.5. The default is 3."),
        ({"rows": 0}, "--rows must be at least 1; got 0. Omit --rows to have it chosen automatically."),
        ({"share": math.nan}, "--share must be from 0 to 1; got nan. The default is 0.5."),
        ({"half": 0.5}, "--half must be above 0 and below 0.5; got 0.5. The default is 0.25."),
        ({"sizes": (3, 0)}, "--sizes must be at least 1; got 0. The default is 2."),
    ],
    ids=str,
)
def test_the_message_has_flag_rule_value_and_default(given: dict[str, Any], told: str) -> None:
    """The message gives the rule, the value and the fix."""
    with pytest.raises(UserError) as error:
        Example(**given)
    assert str(error.value) == told


def test_a_file_and_the_environment_are_checked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TOML has nan and inf."""
    file = tmp_path / "config.toml"
    for text, flag in (
        ("minutes = nan", "--minutes"),
        ("[pretrain]\nrate = -inf", "--rate"),
        ("steps = -1", "--steps"),
    ):
        file.write_text(text)
        assert run(["pretrain", "--config", str(file)]) == 2
        assert flag in capsys.readouterr().err
    monkeypatch.setenv("SAYSO_SERVE_PORT", "99999")
    assert run(["serve"]) == 2
    assert "--port must be from 0 to 65535; got 99999" in capsys.readouterr().err


def test_help_shows_the_range(capsys: pytest.CaptureFixture[str]) -> None:
    """The help shows the allowed values."""
    assert run(["serve", "--help"]) == 0
    assert "from 0 to 65535" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_request_may_allow_repeats_of_any_length() -> None:
    """The largest number is as good as one above the text's length."""
    sampling = Sampling(dry_multiplier=1.0, dry_allowed_length=LARGEST)
    assert not penalties(History([5, 6, 5, 6, 5], False), sampling, frozenset())[0].size
