"""Tasks: rows are read and refused, prompts are built, options are scored, and answers are kept."""

import bz2
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sayso.base.errors import UserError
from sayso.base.files import write_json
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.evaluations import KeptAnswers
from sayso.feedback.store import Store
from sayso.judge.likelihood.continuations import Continuation, ContinuationScore, ModelScorer
from sayso.judge.statistics.clusters import clustered
from sayso.judge.statistics.estimate import Estimate, estimate
from sayso.judge.tasks.answer import answer_items
from sayso.judge.tasks.asked import AskedSuite, asked_suite
from sayso.judge.tasks.item import (
    Choices,
    Completion,
    Item,
    NumberedItem,
    Question,
    Schema,
    has_equal_options,
    item_of,
)
from sayso.judge.tasks.kept import Answer
from sayso.judge.tasks.own import own_tasks
from sayso.judge.tasks.read import read_items
from sayso.judge.tasks.result import TaskResult, blimp_mean, core_mean, result_of
from sayso.judge.tasks.suites import CORE, suite
from sayso.judge.tasks.task import Task, chosen, examples, groups_of
from sayso.run.earlier import with_earlier
from sayso.run.suite import Judged, show_suite
from sayso.weights.folder import load_model

DATA = Path(os.environ.get("SAYSO_TEST_DATA", "no such folder")) / "eval"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="SAYSO_TEST_DATA names no folder with evaluation data")
COLORS = [Choices(f"The {noun} is", ("red", "blue", "green"), number % 3) for number, noun in enumerate("abcdefgh")]
ITEMS = [NumberedItem(item, str(number)) for number, item in enumerate(COLORS)]


class ByLength:
    """A scorer with known scores: each character costs a nat, each blank half a nat more; one token a word."""

    def __init__(self) -> None:
        self.asked = 0

    def score(
        self, groups: Sequence[Sequence[Continuation]], progress: Callable[[int], None] = lambda _: None
    ) -> list[list[ContinuationScore]]:
        """Return the scores of each group, and count the groups."""
        self.asked += len(groups)
        return [
            [
                ContinuationScore(-len(one.text) - one.text.count(" ") / 2, len(one.text) < 3, len(one.text.split()))
                for one in group
            ]
            for group in groups
        ]


def test_rows_of_public_formats_become_items() -> None:
    assert item_of({"query": "Q", "choices": ["a", "b"], "gold": 1}) == Choices("Q", ("a", "b"), 1)
    assert item_of({"context_options": ["a", "b"], "continuation": "c", "gold": 0}) == Schema(("a", "b"), "c", 0)
    assert item_of({"context": "a", "continuation": "b"}) == Completion("a", "b")
    assert item_of({"sentence_good": "He is.", "sentence_bad": "He are."}) == Choices("", ("He is.", "He are."), 0)
    assert item_of({"context": "Q", "answer": "a", "aliases": ["b", "a"]}) == Question("Q", ("a", "b"))
    assert item_of({"question": "Q", "answer": "#### 4"}) == Question("Q", ("#### 4",))


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"query": "Q", "choices": ["a", "b"]}, '"gold", the index of the right one of 2 options; this one has none'),
        ({"query": "Q", "choices": ["a", "b"], "gold": 2}, '"gold" must be an index from 0 to 1; got 2'),
        ({"query": "Q", "choices": ["a", "b"], "gold": -1}, "got -1"),
        ({"query": "Q", "choices": ["a", "b"], "gold": True}, "got true"),
        ({"query": "Q", "choices": ["a"], "gold": 0}, '"choices" must be a list of two or more texts'),
        ({"query": "Q", "choices": ["a", " "], "gold": 0}, "none of them empty"),
        ({"query": "", "choices": ["a", "b"], "gold": 0}, '"query" must be a text that is not empty; got ""'),
        ({"context": "a", "continuation": None}, '"continuation" must be a text that is not empty; got null'),
        ({"prompt": "a", "answers": []}, '"answers" must have at least one answer'),
        ({"text": "a"}, "A row of a task must have choices and gold.*got text"),
    ],
)
def test_a_bad_row_is_refused_with_its_file_and_line(row: dict[str, object], rule: str, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    good = json.dumps({"context": "a", "continuation": "b"})
    path.write_text(f"{good}\n\n{json.dumps(row)}\n")
    with pytest.raises(UserError, match=f"own.jsonl:3: .*{rule}"):
        read_items(path)


def test_an_item_is_named_by_its_row_whatever_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    good = json.dumps({"context": "a", "continuation": "b"})
    path.write_text(f'{good}\n{{"context": "a"}}\n\n{good}\n')
    assert [one.name for one in read_items(path, BadRows("skip"))] == ["0", "2"]


def test_options_with_the_same_text_are_kept_and_known() -> None:
    assert has_equal_options(item_of({"query": "Q", "choices": ["a", "b", "a"], "gold": 1}))
    assert not has_equal_options(item_of({"query": "Q", "choices": ["a", "b"], "gold": 1}))
    assert has_equal_options(item_of({"context_options": ["a", "a"], "continuation": "c", "gold": 0}))


def test_hellaswag_is_read_from_its_text_compressed_or_not(tmp_path: Path) -> None:
    text = "Roof: A man sits. he\n3\none\ntwo\nthree\nfour\nGym: A lady\n0\na\nb\nc\nd\n"
    (tmp_path / "plain.txt").write_text(text)
    (tmp_path / "packed.txt.bz2").write_bytes(bz2.compress(text.encode()))
    items = read_items(tmp_path / "plain.txt")
    assert items == read_items(tmp_path / "packed.txt.bz2")
    assert items[0] == NumberedItem(Choices("Roof: A man sits. he", ("one", "two", "three", "four"), 3), "0")
    assert len(items) == 2
    (tmp_path / "cut.txt").write_text(text + "More\n")
    with pytest.raises(UserError, match=r"cut.txt:13: HellaSwag has 6 lines for each item; the last one has 1"):
        read_items(tmp_path / "cut.txt")
    (tmp_path / "wrong.txt").write_text(text.replace("\n3\n", "\nx\n"))
    with pytest.raises(UserError, match=r'wrong.txt:1: "gold" must be an index from 0 to 3; got "x"'):
        read_items(tmp_path / "wrong.txt")
    (tmp_path / "long.txt").write_text(text.replace("\n3\n", f"\n{'3' * 5000}\n"))
    with pytest.raises(UserError, match=r'long.txt:1: "gold" must be an index from 0 to 3'):
        read_items(tmp_path / "long.txt")


def test_questions_about_a_passage_share_a_cluster(tmp_path: Path) -> None:
    """SQuAD's by paragraph, CoQA's by story, where each question follows those before it."""
    asked = [
        {"id": str(n), "question": f"Q{n}?", "answers": [{"text": "x"}, {"text": "x"}, {"text": "y"}]} for n in (1, 2)
    ]
    unanswered = {"id": "3", "question": "Q3?", "answers": []}
    squad = {"data": [{"title": "T", "paragraphs": [{"context": "C.", "qas": [*asked, unanswered]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    first, second = read_items(tmp_path / "squad.json")
    assert first.item == Question("Context: C.\nQuestion: Q1?\nAnswer:", ("x", "y"))
    assert first.cluster == second.cluster == "T:0"
    story = {
        "id": "s",
        "story": "Tom ran.",
        "questions": [{"input_text": "Who?", "turn_id": 1}, {"input_text": "How?", "turn_id": 2}],
        "answers": [{"input_text": "Tom"}, {"input_text": "fast"}],
        "additional_answers": {"0": [{"input_text": "Tom"}, {"input_text": "quickly"}]},
    }
    (tmp_path / "coqa.json").write_text(json.dumps({"data": [story]}))
    one, two = read_items(tmp_path / "coqa.json")
    assert one.item == Question("Story: Tom ran.\nQuestion: Who?\nAnswer:", ("Tom",))
    assert two.item == Question(
        "Story: Tom ran.\nQuestion: Who?\nAnswer: Tom\nQuestion: How?\nAnswer:", ("fast", "quickly")
    )
    assert (one.name, two.name, two.cluster) == ("s:1", "s:2", "s")


def test_a_file_that_is_none_of_the_formats_is_refused(tmp_path: Path) -> None:
    for name, content, rule in (
        ("a.json", "{}", "must be SQuAD"),
        ("a.json", "[1", "must be SQuAD"),
        ("a.csv", "x", "must end in .jsonl, .txt or .json"),
        ("a.txt.bz2", "not compressed", "it is damaged|Invalid data"),
        ("a.jsonl", "\n", "at least one item"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=rule):
            read_items(tmp_path / name)
    with pytest.raises(UserError, match="No such file"):
        read_items(tmp_path / "none.jsonl")


def test_prompts_have_examples_then_the_item() -> None:
    """The golden text of each kind, with the blank before an answer moved to it when it is encoded."""
    task = Task("t", "f", shots=1, delimiter="\nAnswer: ", separator="\n")
    (other,) = examples(task, len(ITEMS), 2)
    shown = f"{COLORS[other].query}\nAnswer: {COLORS[other].choices[COLORS[other].gold]}\n"
    assert groups_of(task, ITEMS, 2) == [
        Continuation(f"{shown}The c is\nAnswer: ", choice) for choice in ("red", "blue", "green")
    ]
    schema = NumberedItem(Schema(("Ann fell because Ann", "Ann fell because Bob"), "pushed.", 1), "0")
    assert groups_of(Task("t", "f"), [schema], 0) == [
        Continuation("Ann fell because Ann ", "pushed."),
        Continuation("Ann fell because Bob ", "pushed."),
    ]
    two = [NumberedItem(Completion(context, answer), "0") for context, answer in (("A ", "b"), ("C", "d"))]
    assert groups_of(Task("t", "f", shots=1), two, 0) == [Continuation("C d\nA ", "b")]
    assert groups_of(Task("t", "f"), [NumberedItem(Choices("", ("x y", "x z"), 0), "0")], 0) == [
        Continuation("", "x y"),
        Continuation("", "x z"),
    ]
    asked = [NumberedItem(Question(prompt, ("a", "b")), "0") for prompt in ("Q1", "Q2")]
    assert groups_of(Task("t", "f", shots=1), asked, 1) == [Continuation("Q1 a\nQ2 ", "a")]


def test_examples_are_other_items_and_the_same_for_every_model() -> None:
    task = Task("t", "f", shots=7)
    for index in range(8):
        drawn = examples(task, 8, index)
        assert sorted([*drawn, index]) == list(range(8))
        assert drawn == examples(task, 8, index)
    assert len({tuple(examples(task, 8, index)) for index in range(8)}) == 8
    with pytest.raises(UserError, match="needs more than 8 items"):
        examples(Task("t", "f", shots=8), 8, 0)


def test_a_limit_chooses_the_same_items_at_random() -> None:
    assert chosen(10, 0) == chosen(10, 10) == chosen(10, 11) == list(range(10))
    assert chosen(1000, 50) == chosen(1000, 50)
    assert len({*chosen(1000, 50)}) == 50
    assert max(chosen(1000, 50)) > 500, "not the first ones"


@pytest.mark.parametrize(("metric", "choice"), [("acc", 0), ("acc_norm", 1), ("acc_token", 2)])
def test_each_metric_prefers_by_its_own_rule(metric: str, choice: int) -> None:
    """Sums -4.5, -8, -9; by byte -1.125, -1, -1, of which the first counts; by token -2.25, -1, -0.5."""
    item = NumberedItem(Choices("Q", ("ab c", "abcdefgh", "a b c d e"), choice), "0")
    scores = {"ab c": (-4.5, 2), "abcdefgh": (-8.0, 8), "a b c d e": (-9.0, 9)}

    class Known(ByLength):
        def score(
            self, groups: Sequence[Sequence[Continuation]], progress: Callable[[int], None] = lambda _: None
        ) -> list[list[ContinuationScore]]:
            return [[ContinuationScore(scores[one.text][0], False, tokens[one.text]) for one in g] for g in groups]

    tokens = {"ab c": 2, "abcdefgh": 8, "a b c d e": 18}
    task = Task("t", "f", metric=metric)  # type: ignore[arg-type]
    (answer,) = answer_items(Known(), task, [item], [0])
    assert answer.choice == choice
    assert answer.scores[metric] == answer.right == 1
    assert sum(answer.scores[name] for name in ("acc", "acc_norm", "acc_token")) == 1
    gold = item.item.choices[choice]  # type: ignore[union-attr]
    assert answer.scores["bits_per_byte"] == pytest.approx(-scores[gold][0] / 0.6931471805599453 / len(gold))


def test_a_completion_is_right_if_every_token_is_the_likeliest() -> None:
    items = [NumberedItem(Completion("A", answer), answer) for answer in ("b", "long")]
    right, wrong = answer_items(ByLength(), Task("t", "f", metric="exact"), items, [0, 1])
    assert (right.scores["exact"], right.choice) == (1, 0)
    assert (wrong.scores["exact"], wrong.choice) == (0, -1)


@pytest.mark.parametrize(
    ("metric", "item", "rule"),
    [
        ("acc", Completion("A", "b"), "rows with a single continuation must be exact; that of 't' is acc"),
        ("exact", Choices("Q", ("a", "b"), 0), "rows with options must be acc, acc_norm or acc_token; that of 't' is"),
    ],
)
def test_a_metric_that_does_not_fit_the_rows_is_refused(metric: str, item: Item, rule: str) -> None:
    task = Task("t", "f", metric=metric)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rule):
        answer_items(ByLength(), task, [NumberedItem(item, "0")], [0])


def test_kept_answers_are_not_asked_for_again(tmp_path: Path) -> None:
    """Unless the prompt, the rule, the model or the task is another."""
    store = Store(tmp_path / "store.sqlite")
    task, scorer = Task("colors", "f", shots=2), ByLength()
    first = answer_items(scorer, task, ITEMS, [5, 1], KeptAnswers(store, "m", "colors"))
    assert scorer.asked == 2
    again = answer_items(scorer, task, ITEMS, [1, 2, 5], KeptAnswers(store, "m", "colors"))
    assert scorer.asked == 3
    assert [again[2], again[0]] == first
    for model, other in (
        ("m2", task),
        ("m", Task("colors", "f", shots=1)),
        ("m", Task("colors", "f", shots=2, delimiter=": ")),
        ("m", Task("colors", "f", shots=2, metric="acc_norm")),
    ):
        before = scorer.asked
        answer_items(scorer, other, ITEMS, [1], KeptAnswers(store, model, "colors"))
        assert scorer.asked == before + 1, (model, other)
    keeper = KeptAnswers(store, "m", "colors")
    keeper.keep(first)  # another process was faster
    assert keeper.known("5", "another prompt") is None
    assert KeptAnswers(store, "m", "another task").known(first[0].item, first[0].prompt) is None
    store.close()


def test_a_corrected_item_is_asked_again(tmp_path: Path) -> None:
    """Without examples the prompt is the same, but another option is right; the item was a Schema or had Choices."""
    store, task, scorer = Store(tmp_path / "store.sqlite"), Task("t", "f"), ByLength()
    for name, (before, after) in {
        "choices": (Choices("A", ("b", "long"), 1), Choices("A", ("b", "long"), 0)),
        "schema": (Schema(("Long a", "a"), "b", 1), Schema(("Long a", "a"), "b", 0)),
    }.items():
        memory = KeptAnswers(store, "m", name)
        (wrong,) = answer_items(scorer, task, [NumberedItem(before, "0")], [0], memory)
        (right,) = answer_items(scorer, task, [NumberedItem(after, "0")], [0], KeptAnswers(store, "m", name))
        assert {wrong.right, right.right} == {0.0, 1.0}
    store.close()


def test_an_interrupted_task_keeps_what_is_scored(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    items = [NumberedItem(Completion(str(number), "b"), str(number)) for number in range(200)]

    class Stopped(ByLength):
        def score(
            self, groups: Sequence[Sequence[Continuation]], progress: Callable[[int], None] = lambda _: None
        ) -> list[list[ContinuationScore]]:
            if self.asked > 100:
                raise KeyboardInterrupt
            return super().score(groups)

    stopped, task = Stopped(), Task("t", "f", metric="exact")
    with pytest.raises(KeyboardInterrupt):
        answer_items(stopped, task, items, range(200), KeptAnswers(store, "m", "t"))
    scorer = ByLength()
    seen: list[int] = []
    answers = answer_items(scorer, task, items, range(200), KeptAnswers(store, "m", "t"), seen.append)
    assert scorer.asked + stopped.asked == 200
    assert [answer.item for answer in answers] == [str(number) for number in range(200)]
    assert (seen[0], sum(seen)) == (stopped.asked, 200)
    store.close()


def answered(values: Sequence[float], **more: object) -> list[Answer]:
    return [
        Answer(str(n), "", "", v, {"acc": v, "bits_per_byte": 1.0}, (0.0,), 0, n, n == 1) for n, v in enumerate(values)
    ]


def test_a_result_counts_what_was_cut_merged_and_equal() -> None:
    same = NumberedItem(Choices("Q", ("a", "a"), 0), "0")
    task = Task("t", "f", baseline=0.25, older_baseline=0.5)
    found = result_of(task, [same, *ITEMS], [0, 1, 2, 3], answered([1, 1, 1, 0]))
    assert (found.items, found.cut, found.merged, found.equal) == (4, 3, 1, 1)
    assert found.main == estimate([1, 1, 1, 0])
    assert found.centered() == pytest.approx((0.75 - 0.25) / 0.75)
    assert found.centered(older=True) == pytest.approx(0.5)


def test_items_that_share_a_passage_have_an_error_by_passage() -> None:
    """Four answers to one passage count for less than four independent ones."""
    right, task = [1.0] * 4 + [0.0] * 4 + [1.0] * 4, Task("t", "f")
    passages = [replace(one, cluster=f"p{n // 4}") for n, one in enumerate(answered(right))]
    items = ITEMS + ITEMS[:4]
    found = result_of(task, items, range(12), passages).main
    assert found == clustered(right, [n // 4 for n in range(12)], 0, 1)
    assert found.se > 1.5 * result_of(task, items, range(12), answered(right)).main.se


GPT2 = (
    *(0.30880, 0.00331, 0.28261, 0.41835, 0.22270, 0.62, 0.23751, 0.62078, 0.276, 0.32408, 0.30701, 0.59341, 0.51618),
    *(0.155, 0.23043, 0.42348, 0.09048, 0.03125, 0.05790, 0.13278, 0.55443, 0.2592),
)
"""Accuracies of GPT-2 124M in the order of `CORE`, as an independent run published them, with CORE 0.12165."""


def test_an_interval_stays_in_the_range_of_its_score() -> None:
    """F1 is at most 1, also where all replies about a passage have the same; bits per byte are only at least 0."""

    def scored(f1: Sequence[float], clusters: Sequence[str] = ("", "", "")) -> TaskResult:
        answers = [
            Answer(str(n), own, "p", value, {"f1": value, "bits_per_byte": 9 * value}, (), 0, 0, False)
            for n, (value, own) in enumerate(zip(f1, clusters, strict=True))
        ]
        items = [NumberedItem(Question("Q", ("A",)), str(n)) for n in range(3)]
        return result_of(Task("t", "f", metric="f1"), items, range(3), answers, [False] * 3)

    for found in (scored([0.1, 0.9, 0.8]), scored([0.1, 0.9, 0.8], ["x", "y", "y"])):
        assert (found.main.low, found.main.high) == (0, 1)
        assert found.unseen == found.main
        assert found.scores["bits_per_byte"].low == 0
        assert found.scores["bits_per_byte"].high > 9
    assert 0 < scored([1.0, 1.0, 1.0], ["x", "y", "y"]).main.low < 1, "two passages say little"


def test_core_is_the_mean_of_22_centered_accuracies() -> None:
    """A published set of accuracies gives the published CORE, and 0.09615 with the baselines of 2025."""
    assert len(CORE) == 22
    results = [
        TaskResult(task, {task.metric: Estimate(value, 0.01, 100, 0, 1)}, 100, 0, 0, 0)
        for task, value in zip(CORE, GPT2, strict=True)
    ]
    assert core_mean(results, older=True).mean == pytest.approx(0.12165, abs=5e-5)
    assert core_mean(results).mean == pytest.approx(0.09615, abs=5e-5)
    error = sum((0.01 / (1 - task.baseline)) ** 2 for task in CORE) ** 0.5 / 22
    assert core_mean(results).se == pytest.approx(error)


@needs_data
def test_the_public_files_have_the_published_numbers_of_items() -> None:
    """Those that DCLM lists, and 1,000 pairs in each file of BLiMP."""
    sizes = {"arc_challenge": 1172, "copa": 100, "piqa": 1838, "winograd_wsc": 273, "lambada_openai": 5153}
    for name, size in sizes.items():
        assert len(read_items(next(DATA.rglob(f"{name}.jsonl")))) == size
    assert len(read_items(next(DATA.rglob("hellaswag_val_full.txt.bz2")))) == 10_042
    pairs = suite("blimp", DATA)
    assert len(pairs) >= 30
    assert len(read_items(next(DATA.rglob(pairs[0].file)))) == 1000


TOML = '[[task]]\nname = "hours"\nfile = "hours.jsonl"\n'


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", r"needs at least one \[\[task\]\]"),
        ("task = 1", r"needs at least one \[\[task\]\]"),
        ("[[task]", "must be readable TOML"),
        (TOML + f"shots = 1{'0' * 5000}", "must be readable TOML"),
        (TOML + "shot = 1", "no setting 'shot'.*Did you mean 'shots'"),
        (TOML + 'shots = "1"', "'shots' of a task must be a number; got '1'"),
        (TOML + "shots = -1", "'shots' must be at least 0"),
        (TOML + "baseline = 1.0", "a baseline below 1"),
        (TOML + 'metric = "f2"', "'metric' must be one of acc, acc_norm"),
        (TOML + "max_tokens = 0", "'max_tokens' must be at least 1; got 0"),
        (TOML + "max_tokens = true", "'max_tokens' of a task must be a number; got True"),
        (TOML + "chat = 1", "'chat' of a task must be true or false; got 1"),
        ('[[task]]\nname = "x"', "needs a file"),
        (TOML + TOML, "different names; 'hours' occurs twice"),
    ],
)
def test_a_bad_file_of_tasks_is_refused(text: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UserError, match=rule):
        own_tasks(tmp_path / "own.toml")


def test_a_life_is_judged_on_tasks_of_ones_own(lived: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores are those of the model's own log-probabilities; another task is added to the file."""
    (tmp_path / "own.toml").write_text(TOML + '[[task]]\nname = "other"\nfile = "hours.jsonl"\nshots = 1\n')
    rows = [{"query": f"Is it {n}?", "choices": ["yes", "no"], "gold": n % 2} for n in range(6)]
    (tmp_path / "hours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    life = Life(tmp_path / "life")
    tuned = ["evaluate", str(lived.model("tuned")), "--life", str(life.root)]
    words = [*tuned, "--suite", str(tmp_path / "own.toml"), "--store", str(tmp_path / "answers.sqlite")]
    assert run([*words, "--tasks", "hours", "--limit", "4"]) == 0
    (path,) = life.root.glob("runs/evaluate-tuned-*/own.json")
    found = json.loads(path.read_text())
    model = ModelScorer(*load_model(lived.model("tuned")))
    items = read_items(tmp_path / "hours.jsonl")
    asked = chosen(6, 4)
    expected = answer_items(model, Task("hours", "hours.jsonl"), items, asked)
    assert found["tasks"]["hours"]["scores"]["acc"]["mean"] == sum(one.scores["acc"] for one in expected) / 4
    assert "hours" in capsys.readouterr().out
    assert run([*words, "--tasks", "other", "--limit", "4"]) == 0
    assert {*json.loads(path.read_text())["tasks"]} == {"hours", "other"}
    assert "replaces" not in capsys.readouterr().out
    assert run([*words, "--tasks", "other"]) == 0
    assert {*json.loads(path.read_text())["tasks"]} == {"other"}, "another limit is another evaluation"
    assert "own.json', which had --limit 4." in capsys.readouterr().out.replace("\n", " ")
    (tmp_path / "hours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:5]))
    assert run([*words, "--tasks", "other"]) == 0
    assert "replaces the earlier result of other, which was asked on items of" in capsys.readouterr().out.replace(
        "\n", " "
    )
    for wrong in (["--suite", "own"], ["--suite", "small", "--data", str(tmp_path)]):
        assert run([*tuned, *wrong]) == 2
    assert run([*words, "--tasks", "hour"]) == 2
    assert run([*tuned, "--limit", "3"]) == 2
    told = capsys.readouterr().err
    for rule in (
        "must be one of core, small, generated, code, blimp",
        "found none of arc_easy.jsonl",
        "Did you mean 'hours'",
    ):
        assert rule in told
    assert "--limit requires --suite" in told


def test_a_mean_is_over_the_tasks_of_the_record(tmp_path: Path) -> None:
    """One task asked again leaves the mean of all; a further one leaves none, until all are asked together."""
    path = tmp_path / "core.json"

    def record(mean: float, *tasks: str) -> dict[str, Any]:
        results = {name: {"mean": mean} for name in tasks}
        found = with_earlier(path, {"fingerprint": "m", "limit": 0, "tasks": results, "core": mean})
        write_json(path, found, sealed=True)
        return found

    assert record(1, "a", "b")["core"] == 1
    one, two, three = ({"mean": mean} for mean in (1, 2, 3))
    assert record(2, "a") == {"fingerprint": "m", "limit": 0, "tasks": {"a": two, "b": one}, "core": 1}
    assert record(3, "c") == {"fingerprint": "m", "limit": 0, "tasks": {"a": two, "b": one, "c": three}}
    assert record(4, "a", "b", "c")["core"] == 4


def test_a_file_of_tasks_has_a_record_of_its_own(tmp_path: Path) -> None:
    """Not that of a suite, nor that of the life's own evaluation."""
    (tmp_path / "hours.jsonl").write_text('{"query": "Is it 1?", "choices": ["yes", "no"], "gold": 0}\n')
    for name in ("small", "scores", "knowledge"):
        (tmp_path / f"{name}.toml").write_text(TOML)
        with pytest.raises(UserError, match=f"another name than '{name}'"):
            asked_suite(str(tmp_path / f"{name}.toml"), (), None, 0)


def test_a_score_without_an_interval_is_shown_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One reply with an F1 of a half, or two questions about one passage."""
    name = "core"
    scores = {"f1": estimate([0.5]), "bits_per_byte": estimate([0.5])}
    result = TaskResult(Task("squad", "squad.json", metric="f1"), scores, 1, 0, 0, 0)
    judged = Judged("m", "f", ByLength(), None)  # type: ignore[arg-type]
    show_suite(judged, AskedSuite(name, (), tmp_path, (), 1), [result])
    told = capsys.readouterr().out
    assert "0.500" in told
    assert "nan" not in told


def test_blimp_s_mean_has_an_interval_over_paradigms() -> None:
    """A paradigm is one observation, however many pairs it has."""
    means = [0.5, 0.9, 0.7, 0.8]
    results = [
        TaskResult(Task(str(mean), "f", baseline=0.5), {"acc": Estimate(mean, 0.01, 1000, 0, 1)}, 1000, 0, 0, 0)
        for mean in means
    ]
    assert blimp_mean(results) == estimate(means, low=0, high=1)
    assert blimp_mean(results).n == 4
