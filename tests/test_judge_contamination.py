"""Items are found in the training text by the n-grams that they share with it, as a brute-force search finds them."""

import json
from pathlib import Path
from shutil import copytree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.judge.tasks.contamination import seen, text_of, training_text
from sayso.judge.tasks.item import Choices, Completion, Instructed, Question, Schema

COUNT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def test_an_item_is_seen_if_thirteen_of_its_words_occur_in_a_row() -> None:
    """Whatever the case and the punctuation; twelve are not enough."""
    words = COUNT.split()
    assert seen([COUNT], ["Zero, " + " ".join(words[:13]).upper() + "!"]) == [True]
    assert seen([COUNT], [" ".join(words[:12]) + " and more"]) == [False]
    assert seen([COUNT, COUNT.replace("one", "uno")], [" ".join(words[1:])]) == [True, True]
    assert seen([COUNT, COUNT.replace("two", "dos")], [" ".join(words[:13])]) == [True, False]


def test_a_shorter_item_must_occur_whole_and_a_very_short_one_is_no_evidence() -> None:
    eight, seven = " ".join(COUNT.split()[:8]), " ".join(COUNT.split()[:7])
    assert seen([eight, seven], [COUNT]) == [True, False]
    assert seen([eight], [COUNT.replace("eight", "8")]) == [False]
    assert seen([], [COUNT]) == []
    assert seen([eight], []) == [False]


words = st.lists(st.sampled_from("abc"), min_size=0, max_size=12).map(" ".join)


@given(items=st.lists(words, max_size=5), training=st.lists(words, max_size=5))
def test_the_search_equals_brute_force(items: list[str], training: list[str]) -> None:
    """Of n-grams of three words, the least items being three words long."""

    def grams(text: str) -> set[tuple[str, ...]]:
        parts = text.split()
        return {tuple(parts[n : n + 3]) for n in range(len(parts) - 2)}

    known = {gram for text in training for gram in grams(text)}
    assert seen(items, training, 3) == [bool(grams(text) & known) for text in items]


def test_the_text_of_an_item_is_its_question_with_the_right_answer() -> None:
    assert text_of(Choices("Q", ("a", "b"), 1)) == "Q b"
    assert text_of(Schema(("x", "y"), "c", 0)) == "x c"
    assert text_of(Completion("c", "d")) == "c d"
    assert text_of(Question("Q", ("a",))) == "Q"
    assert text_of(Instructed("Do it.", {})) == "Do it."


def test_documents_and_conversations_are_training_text(tmp_path: Path) -> None:
    text, chat = tmp_path / "text", tmp_path / "chat"
    assert list(training_text(text, chat)) == []
    write_jsonl(text / "train-00000.jsonl", [{"text": "a document"}])
    write_jsonl(text / "val-00000.jsonl", [{"text": "held out"}])
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    write_jsonl(chat / "train.jsonl", [{"messages": turns}])
    assert list(training_text(text, chat)) == ["a document", "hi ho"]


def test_a_suite_is_scored_without_what_was_trained_on(
    lived: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A document of the life, as an item, is found; others are not."""
    life = Life(tmp_path / "life")
    copytree(lived.root, life.root)
    document = next(training_text(life.data("text"), life.data("chat")))
    rows = [{"context": document, "continuation": "the end"}]
    rows += [{"context": f"{COUNT} {n}", "continuation": "the end"} for n in range(3)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.toml").write_text('[[task]]\nname = "own"\nfile = "own.jsonl"\nmetric = "exact"\n')
    words = ["evaluate", "tuned", "--suite", str(tmp_path / "own.toml"), "--life", str(life.root)]
    words += ["--store", str(tmp_path / "answers.sqlite")]
    path = life.run("evaluate-tuned") / "own.json"
    assert run([*words, "--contamination"]) == 0
    assert json.loads(path.read_text())["tasks"]["own"]["unseen"]["n"] == 3
    assert "own: 1 of 4 items are in the training text; without them the score is" in capsys.readouterr().out
    assert run(words) == 0
    assert json.loads(path.read_text())["tasks"]["own"]["unseen"] is None
