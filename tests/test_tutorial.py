"""The tutorial runs: its commands, in its order, on a small folder of text and a few conversations."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.cli.main import run
from sayso.world.make import conversation, story

PAGE = (Path(__file__).parent.parent / "docs" / "tutorial.md").read_text()
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
CALLS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
ONE = "--rows 2 --processes 1"
SMALL = {
    "sayso prepare": "--workers 1",
    "--vocab-size 4096": "--vocab-size 400",
    "--minutes 30": f"--depth 1 --steps 6 --context 256 --row-tokens 64 {ONE}",
    "--epochs 3": f"--steps 6 --row-tokens 256 {ONE}",
    "sayso evaluate": "--text-bytes 2000 --baseline-bytes 4000",
    "sayso serve": "--port 0",
    "sayso align": ONE,
}
"""What is run instead of a flag of the page, or added to a command, to take seconds."""
HOST = "http://127.0.0.1:8000"


def shrunk(line: str) -> list[str]:
    """Return the words of a command of the page, with small sizes."""
    for words, small in SMALL.items():
        if words.startswith("--"):
            line = line.replace(words, small)
        elif line.startswith(words):
            line += f" {small}"
    return shlex.split(line)[1:]


@contextmanager
def serving(words: list[str]) -> Iterator[str]:
    """Serve in a process of its own until the block ends; yield the address."""
    command = [sys.executable, "-m", "sayso", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        try:
            lines: list[str] = []
            for line in server.stdout:
                lines.append(line)
                if found := re.search(r"http://[\d.]+:\d+", line):
                    yield found[0]
                    break
            else:
                pytest.fail("".join(lines))
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=30)


def call(line: str, address: str) -> None:
    """Do what a line of `curl` does."""
    words = shlex.split(line)
    url = next(word for word in words if word.startswith(HOST)).replace(HOST, address)
    body = words[words.index("--json") + 1].encode() if "--json" in words else b""
    with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
        assert answer.status in (200, 201)
        answer.read()


def test_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten commands lead from text and conversations to an assistant that was trained on a rating."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    for number in range(60):
        (tmp_path / "notes" / f"{number}.txt").write_text(story(0, number, "train"))
    write_jsonl(tmp_path / "chats.jsonl", [conversation(0, number, "train") for number in range(40)])
    for words in SMALL:
        assert words in PAGE, f"the page no longer has {words}"
    for line in COMMANDS:
        words = shrunk(line)
        if words[0] == "serve":
            with serving(words) as address:
                for one in CALLS:
                    call(one, address)
        else:
            assert run(words) == 0, line
    (pair,) = read_jsonl(tmp_path / "life" / "data" / "feedback" / "pairs.jsonl")
    assert pair["chosen"] == "We open at nine."
    assert json.loads((tmp_path / "life" / "report.json").read_text())
    assert (tmp_path / "assistant.gguf").exists()


def test_tutorial_has_ten_steps() -> None:
    """The headings count up to ten, as the title says."""
    assert [int(number) for number in re.findall(r"^## (\d+)\.", PAGE, re.MULTILINE)] == list(range(1, 11))
