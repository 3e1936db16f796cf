"""Programs as a task of a suite: they run only if allowed, in the sandbox, and count if their tests pass."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.evaluations import KeptAnswers
from sayso.feedback.store import Store
from sayso.judge.answers.code import CodeProblem
from sayso.judge.answers.sandbox import require_isolation
from sayso.judge.endpoint import Endpoint
from sayso.judge.tasks.generated import EndpointResponder, cut_at, generate_answers, stops, text_scores
from sayso.judge.tasks.item import NumberedItem, Programming, item_of
from sayso.judge.tasks.own import own_tasks
from sayso.judge.tasks.read import read_items
from sayso.judge.tasks.suites import CODE
from sayso.judge.tasks.task import Task, groups_of

DATA = Path(os.environ.get("SAYSO_TEST_DATA", "no such folder")) / "eval" / "tasks" / "programming" / "human_eval.jsonl"
TASK = CODE[0]
ADD = {
    "task_id": "add",
    "prompt": "def add(a, b):\n",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
    "entry_point": "add",
}
ITEMS = [NumberedItem(item_of(ADD), str(number)) for number in range(6)]
WRITTEN = {
    "right": ("    return a + b", 1),
    "wrong": ("    return a - b", 0),
    "empty": ("", 0),
    "no end": ("    while True: pass", 0),
    "processes": ("    import os\n    while True: os.fork()", 0),
    "memory": ("    return sum(bytearray(2**34))", 0),
    "network": ("    import socket\n    socket.create_connection(('127.0.0.1', 9))\n    return a + b", 0),
    "early end": ("    import os\n    os._exit(0)", 0),
}


@pytest.fixture(scope="module")
def isolated() -> None:
    """Skip where generated code is refused."""
    try:
        require_isolation()
    except UserError as refused:
        pytest.skip(str(refused))


class Writes:
    """A responder that writes one text, and counts what it is asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, 0

    def respond(self, prompts: Sequence[str], task: Task) -> list[str | None]:
        """Return the text for each prompt."""
        self.asked += len(prompts)
        return [self.text] * len(prompts)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_program_counts_if_it_passes_its_tests(name: str, isolated: None) -> None:
    """Whatever else it does is wrong, and ends."""
    text, right = WRITTEN[name]
    (answer,) = generate_answers(Writes(text), TASK, ITEMS, [0], execute=True)
    assert (answer.right, answer.choice, answer.text) == (right, right - 1, text)


def test_programs_run_only_if_allowed(isolated: None, tmp_path: Path) -> None:
    """Nothing is even generated without it; answers that the store has need no run."""
    store, writes = Store(tmp_path / "store.sqlite"), Writes("    return a + b")
    with pytest.raises(UserError, match="execute=True"):
        generate_answers(writes, TASK, ITEMS, [0])
    assert writes.asked == 0
    first = generate_answers(writes, TASK, ITEMS, [0], KeptAnswers(store, "m", "t"), execute=True)
    assert generate_answers(writes, TASK, ITEMS, [0], KeptAnswers(store, "m", "t")) == first
    other = [NumberedItem(item_of({**ADD, "test": "def check(candidate): assert False\n"}), "0")]
    (failed,) = generate_answers(writes, TASK, other, [0], KeptAnswers(store, "m", "t"), execute=True)
    assert (failed.right, writes.asked) == (0, 2), "another test is another question"
    store.close()


def test_a_function_ends_at_the_next_unindented_line() -> None:
    """As on HumanEval; other answers end at their line."""
    assert stops(Task("t", "f", metric="f1")) == ("\n",)
    for end in ("\ndef g(): pass", "\nclass A: pass", "\nprint(1)", "\nif x: pass", "\n# more"):
        assert cut_at(f"    x = 1\n    return x\n{end}", stops(TASK)) == "    x = 1\n    return x\n"
    assert cut_at("    # note\n    return 1", stops(TASK)) == "    # note\n    return 1"


def test_a_server_gets_four_stops_and_its_text_ends_at_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's API takes no more."""
    sent = {}

    def post(endpoint: Endpoint, path: str, body: dict[str, object]) -> dict[str, object]:
        sent.update(body)
        return {"choices": [{"text": "    return 1\nprint(f())"}]}

    monkeypatch.setattr(Endpoint, "post", post)
    assert EndpointResponder(Endpoint("http://127.0.0.1:9/v1", "m")).respond(["def f():\n"], TASK) == ["    return 1"]
    assert sent["stop"] == list(stops(TASK)[:4])


@pytest.mark.parametrize(
    "answer", [{}, {"choices": []}, {"choices": [{}]}, {"choices": ["x"]}, {"choices": [{"text": None}]}]
)
def test_a_server_that_completes_nothing_is_named(answer: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Endpoint, "post", lambda *_: answer)
    with pytest.raises(UserError, match=r"does not have choices\[0\].text in its reply"):
        EndpointResponder(Endpoint("http://127.0.0.1:9/v1", "m")).respond(["def f():\n"], TASK)


def test_rows_and_tasks_of_programs_are_checked(tmp_path: Path) -> None:
    assert ITEMS[0].item == Programming(
        ADD["prompt"], CodeProblem(ADD["task_id"], ADD["prompt"], ADD["test"], ADD["entry_point"])
    )
    with pytest.raises(UserError, match='"test" must be a text that is not empty; got null'):
        item_of({name: value for name, value in ADD.items() if name != "test"})
    with pytest.raises(UserError, match="'humaneval' must be pass_at_1"):
        groups_of(TASK, ITEMS, 0)
    own = tmp_path / "own.toml"
    for more in ("chat = true", "shots = 1"):
        own.write_text(f'[[task]]\nname = "x"\nfile = "x.jsonl"\nmetric = "pass_at_1"\n{more}\n')
        with pytest.raises(UserError, match="has no chat and no shots"):
            own_tasks(own)


def test_the_suite_needs_a_word_and_scores_what_the_model_writes(
    isolated: None, lived: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --allow-code one sentence says so, and nothing is made."""
    (tmp_path / "human_eval.jsonl").write_text("".join(json.dumps(ADD) + "\n" for _ in range(3)))
    life = tmp_path / "life"
    words = ["evaluate", str(lived.model("tuned")), "--life", str(life), "--suite", "code", "--data", str(tmp_path)]
    assert run(words) == 2
    assert "in a sandbox; allow it with --allow-code" in " ".join(capsys.readouterr().err.split())
    assert not life.exists()
    assert run(["evaluate", str(lived.model("tuned")), "--life", str(life), "--allow-code"]) == 2
    assert "--allow-code requires --suite" in capsys.readouterr().err
    assert run([*words, "--allow-code", "--limit", "2"]) == 0
    (path,) = life.glob("runs/evaluate-tuned-*/code.json")
    found = json.loads(path.read_text())["tasks"]["humaneval"]
    assert (found["metric"], found["items"], found["source"]) == ("pass_at_1", 2, "human_eval.jsonl")
    assert found["scores"]["pass_at_1"]["mean"] == 0, "a tiny model writes no programs"


@pytest.mark.skipif(not DATA.exists(), reason="SAYSO_TEST_DATA names no folder with evaluation data")
def test_solutions_of_the_published_problems_pass(isolated: None) -> None:
    """A few of HumanEval's own solutions pass, and fail without their last line."""
    rows, items = list(read_jsonl(DATA)), read_items(DATA)
    assert len(items) == 164
    for number in range(0, 164, 41):
        solution = str(rows[number]["canonical_solution"])
        assert text_scores(TASK, items[number].item, cut_at(solution, stops(TASK))) == {"pass_at_1": 1.0}
        assert text_scores(TASK, items[number].item, "    pass\n") == {"pass_at_1": 0.0}
