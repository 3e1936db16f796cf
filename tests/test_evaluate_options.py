"""Options of `sayso evaluate` and `sayso judge` that would be ignored are refused, each with one sentence."""

from pathlib import Path

import pytest

from sayso.cli.main import run

HERE = ["--endpoint", "http://127.0.0.1:1/v1"]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--samples", "4"], "--samples requires --suite knowledge."),
        (["--suite", "small", "--samples", "4"], "--samples requires --suite knowledge."),
        (["--suite", "behaviour", "--allow-code"], "--allow-code does not apply to --suite behaviour, which runs no"),
        (["--suite", "knowledge", "--allow-code"], "--allow-code does not apply to --suite knowledge, which runs no"),
        (["--suite", "small", "--device", "cpu", *HERE], "--device does not apply to a model behind --endpoint"),
        (["--suite", "own.toml", "--contamination"], "--contamination searches the text that the life trains on"),
        (["--text", "own.txt", "--suite", "small"], "--text and --suite are two evaluations"),
        (["--stride", "4"], "--stride requires --text"),
        (HERE, "--endpoint requires --suite"),
    ],
)
def test_an_option_without_effect_is_refused(
    words: list[str], rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text('[[task]]\nname = "own"\nfile = "own.jsonl"\n')
    Path("own.jsonl").write_text('{"context": "a", "continuation": "b"}\n')
    assert run(["evaluate", "base", *words]) == 2
    assert rule in capsys.readouterr().err
    assert not Path("life").exists()


@pytest.mark.parametrize("option", ["judge", "key"])
def test_a_reward_model_takes_no_server(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert run(["judge", "./a", "./b", "--reward", "r", f"--{option}", "x"]) == 2
    assert f"--{option} requires --endpoint" in capsys.readouterr().err
