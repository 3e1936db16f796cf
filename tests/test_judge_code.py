"""Generated code: right solutions pass, every way of doing harm fails and leaves nothing, and pass@k is unbiased."""

import json
import os
import socket
import statistics
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.judge.answers import sandbox
from sayso.judge.answers.code import CodeProblem, judge_code, pass_at_k
from sayso.judge.answers.sandbox import Limits, Ran, require_isolation, run_program

DATA = Path(os.environ.get("SAYSO_TEST_DATA", "no such folder")) / "eval" / "tasks" / "programming" / "human_eval.jsonl"
ADD = CodeProblem(
    "add",
    "def add(a, b):\n",
    "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0\n",
    "add",
)
FREE = Limits(seconds=20)
"""Ample time for Python to start on a busy machine."""


@pytest.fixture(scope="module")
def isolated() -> None:
    """Skip where generated code is refused."""
    try:
        require_isolation()
    except UserError as refused:
        pytest.skip(str(refused))


def children() -> set[int]:
    """Return the processes whose parent is this one, or that nobody waits for, by their command line."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"confine.py" in words or b"<program>" in words:
                found.add(int(entry.name))
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No process outlives its program."""
    before = children()
    yield
    assert children() <= before


def test_a_right_completion_passes_and_a_wrong_one_fails(isolated: None) -> None:
    """By the prompt, completion and test together."""
    scores = judge_code([ADD], [["    return a + b", "    return a - b", "    return a +"]], execute=True, limits=FREE)
    assert [ran.passed for ran in scores.ran[0]] == [True, False, False]
    assert [ran.reason.split(":")[0] for ran in scores.ran[0]] == ["", "AssertionError", "SyntaxError"]
    assert scores.pass_at(1).mean == pytest.approx(1 / 3)
    assert scores.pass_at(3).mean == 1


def test_code_runs_only_when_asked_for() -> None:
    """Nothing is started without it."""
    with pytest.raises(UserError, match="execute=True"):
        judge_code([ADD], [["    return a + b"]])


def test_code_does_not_run_without_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thing that lacks is named: the package, the system, or what the test program could do."""
    require_isolation.cache_clear()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "sandlock", None)
        with pytest.raises(UserError, match=r"pip install 'sayso\[judge\]'"):
            run_program("")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", "darwin")
        with pytest.raises(UserError, match="not on darwin"):
            run_program("")
    monkeypatch.setattr(sandbox, "PROBE", "raise OSError('files can be read')")
    with pytest.raises(UserError, match="files can be read"):
        run_program("")
    require_isolation.cache_clear()


def test_the_numbers_of_problems_and_completions_agree() -> None:
    """One list for each."""
    with pytest.raises(UserError, match="1 problems"):
        judge_code([ADD], [], execute=True)


HARM = {
    "exits early": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "exits at once": ("import os; os._exit(0)", "ended before its tests"),
    "forks": ("import os\nwhile True:\n    os.fork()", "BlockingIOError"),
    "starts a program": ("import subprocess; subprocess.run(['/bin/true'])", "BlockingIOError"),
    "becomes a program": ("import os; os.execv('/bin/true', ['true'])", "PermissionError"),
    "takes memory": ("x = bytearray(2**30)", "MemoryError"),
    "takes memory by threads": (
        "import threading, time\nfor _ in range(2000): threading.Thread(target=time.sleep, args=(99,)).start()",
        "can't start new thread",
    ),
    "reads a file": ("open('/etc/passwd').read()", "PermissionError"),
    "lists a folder": ("import os; os.listdir('/')", "PermissionError"),
    "connects": ("import socket; socket.create_connection(('127.0.0.1', PORT))", "PermissionError"),
    "listens": ("import socket; socket.socket().bind(('127.0.0.1', 0))", "PermissionError"),
    "sends a datagram": ("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "PermissionError"),
    "writes a file": ("open('FOLDER/new', 'w').write('x')", "PermissionError"),
    "changes a file": ("open('FOLDER/mine', 'a').write('x')", "PermissionError"),
    "removes a file": ("import os; os.remove('FOLDER/mine')", "PermissionError"),
    "hides a file": ("import os; os.chmod('FOLDER/mine', 0)", "PermissionError"),
    "dates a file": ("import os; os.utime('FOLDER/mine', (1, 1))", "PermissionError"),
    "makes a folder": ("import os; os.mkdir('FOLDER/new')", "PermissionError"),
    "kills its parent": ("import os; os.kill(os.getppid(), 9)", "PermissionError"),
    "limits its parent": (
        "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))",
        "PermissionError",
    ),
    "raises its limits": (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (999, 999))",
        "Error",
    ),
    "prints megabytes": ("print('x' * 5_000_000)", "more than 65536 bytes"),
    "prints forever": ("while True: print('x' * 1000)", "more than 65536 bytes"),
}


@pytest.mark.parametrize("name", HARM)
def test_harm_fails_and_leaves_nothing(name: str, isolated: None, tmp_path: Path) -> None:
    """The reason names what was refused; files and their dates are as before."""
    source, reason = HARM[name]
    mine = tmp_path / "mine"
    mine.write_text("mine")
    before = (mine.stat().st_mode, mine.stat().st_mtime_ns, mine.read_text())
    with socket.create_server(("127.0.0.1", 0)) as server:
        written = source.replace("FOLDER", str(tmp_path)).replace("PORT", str(server.getsockname()[1]))
        ran = run_program(f"{written}\n", FREE)
    assert not ran.passed
    assert reason in ran.reason
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (mine.stat().st_mode, mine.stat().st_mtime_ns, mine.read_text()) == before


def test_a_program_that_does_not_end_is_stopped(isolated: None) -> None:
    """Also one that ignores signals, or sleeps."""
    endless = "import signal\nfor one in (15, 2, 24): signal.signal(one, signal.SIG_IGN)\nwhile True: pass"
    assert run_program(endless, Limits(seconds=1)) == Ran(False, "It ran longer than 1 seconds.")
    assert run_program("import time; time.sleep(99)", Limits(seconds=1)) == Ran(False, "It ran longer than 1 seconds.")


def test_what_a_calculation_needs_is_there(isolated: None) -> None:
    """The standard library, some output, memory, threads, and text of any script."""
    source = (
        "import math, re, hashlib, collections, itertools, heapq, decimal, json, random, threading, typing\n"
        "t = threading.Thread(target=print, args=('é',)); t.start(); t.join()\n"
        "assert len(bytearray(2**27)) == 2**27 and hashlib.md5(b'').hexdigest() and '\\u4f60' == '你'\n"
        "assert __name__ == '__main__'\n"
    )
    assert run_program(source, FREE) == Ran(True, "")


@pytest.mark.parametrize(("n", "passed", "k"), [(5, 0, 2), (5, 5, 2), (5, 1, 1), (6, 2, 3), (7, 3, 5), (4, 1, 4)])
def test_pass_at_k_is_the_mean_over_all_choices(n: int, passed: int, k: int) -> None:
    """Of k completions out of n, one that passed is among them."""
    chosen = [float(any(one < passed for one in some)) for some in combinations(range(n), k)]
    assert pass_at_k(n, passed, k) == pytest.approx(statistics.mean(chosen))


def test_pass_at_k_needs_k_completions() -> None:
    """More draws than completions are no estimate."""
    for k in (0, 3):
        with pytest.raises(UserError, match=f"k is {k}, and one has 2"):
            pass_at_k(2, 1, k)


def test_a_row_without_its_columns_is_an_error() -> None:
    """By their names."""
    with pytest.raises(UserError, match="lacks test, entry_point"):
        CodeProblem.from_row({"task_id": "x", "prompt": "y"})


@pytest.mark.skipif(not DATA.exists(), reason="SAYSO_TEST_DATA names no folder with HumanEval")
def test_published_solutions_pass(isolated: None) -> None:
    """Every eighth problem; and none passes with an empty body."""
    rows = [json.loads(line) for line in DATA.read_text().splitlines()][::8]
    problems = [CodeProblem.from_row(row) for row in rows]
    tried = [[row["canonical_solution"], "    pass\n"] for row in rows]
    scores = judge_code(problems, tried, execute=True, limits=FREE, workers=2)
    assert [name.passed for name, _ in scores.ran] == [True] * len(rows)
    assert [name.passed for _, name in scores.ran] == [False] * len(rows)
    assert scores.pass_at(1).mean == 0.5
