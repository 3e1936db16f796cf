"""Very little data: something is always trained on, and judging is left out where there is nothing to judge by."""

import json
from pathlib import Path
from typing import Any

import pytest

from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.cli.main import run

TEXT = "Clara carried the red boat to the harbour before noon, and Farid mended the map with string. "
TALK = {"messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "In the harbour."}]}
SMALL = ["--depth", "1", "--context", "32", "--rows", "1", "--steps", "2", "--device", "cpu", "--processes", "1"]
TUNE = ["--steps", "1", "--rows", "1", "--row-tokens", "32", "--device", "cpu", "--processes", "1"]


def prepared(folder: Path, rows: list[dict[str, Any]], *flags: str) -> Life:
    """A life of these rows alone."""
    path, life = folder / "rows.jsonl", Life(folder / "life")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["prepare", "--sources", str(path), "--life", str(life.root), "--no-quality", "--workers", "1"]
    assert run([*words, "--near-duplicates", "0", *flags]) == 0
    return life


def split(life: Life, name: str, kind: str) -> list[dict[str, Any]]:
    """The rows of one split."""
    return [row for path in sorted(life.data(kind).glob(f"{name}*.jsonl")) for row in read_jsonl(path)]


@pytest.mark.parametrize("number", range(0, 40, 4))
def test_one_text_and_one_conversation_are_trained_on(number: int, tmp_path: Path) -> None:
    """Whatever their hashes are: text and conversations each have a row in train."""
    talk = {"messages": [TALK["messages"][0], {"role": "assistant", "content": f"In harbour {number}."}]}
    rows = [{"text": f"{TEXT} {number}"}, talk]
    life = prepared(tmp_path, rows, "--val", "0.4", "--test", "0.4", "--no-chat-documents")
    assert len(split(life, "train", "text")) == len(split(life, "train", "chat")) == 1


@pytest.mark.parametrize(("rows", "flags"), [(1, []), (4, ["--val", "0"]), (4, ["--val", "0", "--test", "0"])])
def test_a_life_without_held_out_text_is_lived(rows: int, flags: list[str], tmp_path: Path, capsys: Any) -> None:
    """Tokenizer, base model and tuned model are trained without judgements, and one sentence says so."""
    texts = [{"text": f"{TEXT * 3} {number}"} for number in range(rows)]
    life = prepared(tmp_path, texts, *flags)
    at = ["--life", str(life.root)]
    assert run(["tokenizer", "train", *at, "--vocab-size", "300"]) == 0
    assert run(["pretrain", *at, *SMALL]) == 0
    assert "no held-out text" in capsys.readouterr().out
    assert not [event for event in read_log(life.run("pretrain-base") / "run.jsonl") if event["event"] == "val"]
    (tmp_path / "talk.jsonl").write_text(json.dumps(TALK) + "\n")
    assert run(["finetune", *at, *TUNE, "--data", str(tmp_path / "talk.jsonl")]) == 0
    assert "no held-out conversations" in capsys.readouterr().out
    assert run(["evaluate", *at, "--model", "base"]) == 2
    assert "--val above 0" in capsys.readouterr().err


def test_tokenizers_are_compared_on_a_part_of_the_training_text(tmp_path: Path) -> None:
    """Where nothing was held out."""
    life = prepared(tmp_path, [{"text": f"{TEXT * 3} {number}"} for number in range(4)], "--val", "0")
    assert run(["tokenizer", "compare", "--life", str(life.root), "--vocab-size", "300"]) == 0
