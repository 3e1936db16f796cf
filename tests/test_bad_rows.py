"""Every command that reads rows of a user lists the bad ones or skips them; unusual characters are allowed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sayso.base.files import read_json
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.weights.folder import save_model

WORDS = ["David put the bell in the garden. Where is the bell? The bell is in the garden. I do not know."]
TRAINING = ["--parent", "base", "--rows", "2", "--device", "cpu", "--processes", "1"]
PRACTICE = ["--parent", "base", "--device", "cpu", "--processes", "1", "--max-tokens", "2", "--replies", "2"]
COUNT = 12
BAD = [b'{"prompt": ', b'["no object"]', b'{"text": "\xff"}', b'{"other": 1}', b'{"a": NaN}', b'{"a": 1, "a": 2}', b"7"]
REASONS = ["not valid JSON", "this is a list", "not UTF-8", "", "NaN is not valid JSON"]


def question(number: int, mark: str) -> str:
    """The prompt of a row."""
    return f"David put the bell in the garden.{mark} Where is the bell? ({number})"


def rows(command: str, mark: str = "") -> list[dict[str, Any]]:
    """Return good rows for a command, each with a marker."""
    asked = [question(number, mark) for number in range(COUNT)]
    said, other = f"In the garden.{mark}", f"I do not know.{mark}"
    return {
        "finetune": [
            {"messages": [{"role": "user", "content": one}, {"role": "assistant", "content": said}]} for one in asked
        ],
        "pairs": [{"prompt": one, "chosen": said, "rejected": other} for one in asked],
        "ratings": [
            {"prompt": one, "reply": said if number % 2 else other, "good": bool(number % 2)}
            for number, one in enumerate(asked)
        ],
        "prompts": [{"prompt": one, "answer": said} for one in asked],
        "text": [{"text": f"{one} {said} {number}. " * 3} for number, one in enumerate(asked)],
    }[command]


COMMANDS = {
    "prepare": ("text", ["--sources", "FILE", "--workers", "1", "--no-quality", "--near-duplicates", "0"]),
    "finetune": ("finetune", ["--data", "FILE", "--steps", "1", "--row-tokens", "64", *TRAINING]),
    "align": ("pairs", ["--pairs", "FILE", *TRAINING]),
    "align --loss kto": ("ratings", ["--pairs", "FILE", *TRAINING]),
    "reward": ("pairs", ["--pairs", "FILE", "--samples", "0", *TRAINING]),
    "reward --name other": ("ratings", ["--ratings", "FILE", "--samples", "0", *TRAINING]),
    "reinforce": (
        "prompts",
        ["FILE", "--reward", "REWARD", "--groups", "2", "--iterations", "1", "--judged", "1", *PRACTICE],
    ),
    "improve": (
        "prompts",
        ["--prompts", "FILE", "--held-out", "FILE", "--reward", "REWARD", "--rounds", "1", "--rows", "2", *PRACTICE],
    ),
    "quantize": ("text", ["base", "--text", "FILE", "--tokens", "64", "--n", "0", "--method", "gptq"]),
    "tokenizer compare": ("text", ["FILE", "--vocab-size", "300"]),
}

WHOLE = [name for name in COMMANDS if name != "improve"]  # of which this model has no reply that is kept


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with only a small model."""
    life = Life(tmp_path / "life")
    tokenizer = train("bpe", WORDS * 9, 300)
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 64, context=128)
    save_model(
        Transformer(config).initialize(torch.Generator().manual_seed(0)),
        tokenizer,
        life.model("base"),
        {"stage": "base"},
    )
    (tmp_path / "own.py").write_text("def reward(prompt, reply, info):\n    return float(len(reply))\n")
    return life


def command(life: Life, name: str, path: Path, *more: str) -> int:
    """Run one of the commands on a file."""
    flags = COMMANDS[name][1]
    given = {"FILE": str(path), "REWARD": f"{life.root.parent / 'own.py'}:reward"}
    return run([*name.split(), *(given.get(flag, flag) for flag in flags), "--life", str(life.root), *more])


def write(path: Path, good: list[dict[str, Any]], bad: list[bytes]) -> Path:
    """Write rows, with the bad ones between the good ones."""
    lines = [json.dumps(row).encode() for row in good]
    for number, line in enumerate(bad):
        lines.insert(2 * number + 1, line)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_five_bad_rows_are_listed(name: str, life: Life, tmp_path: Path, capsys: Any) -> None:
    """The first five are listed with file, line and reason, and all are counted; nothing is started."""
    path = write(tmp_path / "rows.jsonl", rows(COMMANDS[name][0]), BAD)
    assert command(life, name, path) == 2
    told = capsys.readouterr().err
    of = 2 * (COUNT + len(BAD)) if name == "improve" else COUNT + len(BAD)
    bad = 2 * len(BAD) if name == "improve" else len(BAD)
    assert f"{bad} of {of} rows cannot be used:\n" in told
    for number, reason in enumerate(REASONS):
        assert f"  {path}:{2 * number + 2}: " in told
        assert reason in told
    assert f"and {bad - 5} more" in told
    assert "--bad-rows skip" in told
    assert not any(life.root.glob("runs/*/plan.json"))


@pytest.mark.parametrize(
    "name", ["prepare", "finetune", "align", "reward", "reinforce", "quantize", "tokenizer compare"]
)
def test_bad_rows_are_skipped_and_counted(name: str, life: Life, tmp_path: Path, capsys: Any) -> None:
    """With --bad-rows skip, the command continues; the count is printed, and recorded in the plan or the manifest."""
    path = write(tmp_path / "rows.jsonl", rows(COMMANDS[name][0]), BAD)
    assert command(life, name, path, "--bad-rows", "skip") == 0
    assert f"{len(BAD)} of {COUNT + len(BAD)} rows skipped:\n  {path}:2: " in capsys.readouterr().out
    for plan in life.root.glob("runs/*/plan.json"):
        assert read_json(plan)["derived"]["bad_rows"]["skipped"] == len(BAD)
    if name == "prepare":
        manifest = read_json(life.data("text") / "manifest.json")
        assert manifest["bad_rows"]["skipped"] == len(BAD) == manifest["totals"]["dropped"]["bad_row"]


@pytest.mark.parametrize("name", ["reinforce", "improve"])
def test_a_prompt_that_leaves_no_room_is_a_bad_row(name: str, life: Life, tmp_path: Path, capsys: Any) -> None:
    """It is reported before sampling, not at the iteration that reaches it."""
    path = tmp_path / "rows.jsonl"
    write(path, [{"prompt": question(0, " word" * 200)}, *rows("prompts")], [])
    assert command(life, name, path) == 2
    assert f"{path}:1: A prompt must leave room for a reply in the context of 128 tokens" in capsys.readouterr().err
    assert not any(life.root.glob("runs/*/plan.json"))


@pytest.mark.parametrize("name", ["align", "reward"])
def test_a_prompt_that_cannot_be_rendered_is_a_bad_row(name: str, life: Life, tmp_path: Path, capsys: Any) -> None:
    """A tool result without its call is reported by row, and skipped on request."""
    lost = {"role": "tool", "content": "2", "tool_call_id": "none"}
    bad = {"prompt": [{"role": "user", "content": "Why?"}, lost], "chosen": "a", "rejected": "b"}
    path = write(tmp_path / "rows.jsonl", rows("pairs"), [json.dumps(bad).encode()])
    assert command(life, name, path) == 2
    assert f"{path}:2: A tool's result must answer a call" in capsys.readouterr().err
    assert command(life, name, path, "--bad-rows", "skip") == 0


@pytest.mark.parametrize("name", WHOLE)
def test_unusual_characters_are_data(name: str, life: Life, tmp_path: Path, capsys: Any) -> None:
    """A byte order mark, line separators and half an emoji pass through every command, and its log is readable."""
    text = "\ufeff" + "".join(json.dumps(row) + "\r\n" for row in rows(COMMANDS[name][0], "\u2028\u2029\x85\ud83d"))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(text.replace("\\u2028", "\u2028").replace("\\u0085", "\x85").encode())
    assert command(life, name, path) == 0
    assert f"{COUNT} rows contained a lone surrogate" in capsys.readouterr().out
    for log in life.root.glob("runs/*/run.jsonl"):
        assert read_log(log)[-1]["event"] == "end"
    assert command(life, name, path) == 0
    for file in life.root.glob("data/*/*.jsonl"):
        assert all("\ufffd" in str(row) for row in read_jsonl(file))
