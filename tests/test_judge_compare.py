"""Models are compared on the items that all of them answered, one by one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.evaluations import KeptAnswers, answers_of, tasks_answered
from sayso.feedback.store import Store
from sayso.judge.statistics.seeds import compare_crossed
from sayso.judge.statistics.significance import compare_items
from sayso.judge.tasks.kept import Answer
from sayso.model import ModelConfig, Transformer
from sayso.run.compare import Compare, compare
from sayso.run.suite import fingerprint_of
from sayso.token.train import train
from sayso.weights.folder import save_model

RIGHT = {"a": [1, 1, 1, 1, 1, 1, 0, 1], "b": [0, 0, 1, 0, 0, 0, 1, 0], "c": [1, 1, 1, 1, 1, 1, 0, 0]}


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with three models, whose answers to a task are in its store."""
    found, tokenizer = Life(tmp_path / "life"), train("bpe", ["the cat sat on the mat. " * 9], 300)
    for number, name in enumerate(RIGHT):
        made = Transformer(ModelConfig(tokenizer.vocab_size, 1, 16, 1, 1, 16, 16, context=32))
        made.initialize(torch.Generator().manual_seed(number))
        save_model(made, tokenizer, found.model(name), {"stage": name})
        keep(found, name, "colors", RIGHT[name])
    return found


def keep(life: Life, name: str, task: str, right: Sequence[float], cluster: str = "", first: int = 0) -> None:
    """Store the answers of a model to the items numbered from `first`."""
    store = Store(life.store)
    made = [
        Answer(
            str(n), f"{cluster}{n // 4}" if cluster else "", f"prompt {n}", value, {"acc": value}, (-1.0,), 0, 0, False
        )
        for n, value in enumerate(right, first)
    ]
    KeptAnswers(store, fingerprint_of(life.model(name)), task).keep(made)
    store.close()


def test_a_comparison_is_paired_by_item(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures are those of the statistics, and the printed sentence is that of the result."""
    found = compare(Compare(("b", "a"), life=life.root))["a"]
    expected = compare_items(RIGHT["a"], RIGHT["b"])
    assert found["tasks"]["colors"]["difference"] == expected.difference.as_dict()
    assert found["tasks"]["colors"]["p"] == found["tasks"]["colors"]["p_holm"] == expected.p
    assert (found["tasks"]["colors"]["wins"], found["tasks"]["colors"]["losses"]) == (6, 1)
    told = capsys.readouterr().out
    assert found["verdict"] in told
    assert "0.250" in told
    assert "0.875" in told


def test_only_items_that_all_answered_in_the_same_words_count(life: Life) -> None:
    keep(life, "a", "colors", [1, 1, 1], first=8)
    store = Store(life.store)
    mark = fingerprint_of(life.model("b"))
    other = replace(answers_of(store, mark, "colors")[("0", "prompt 0")], prompt="another prompt", item="8")
    KeptAnswers(store, mark, "colors").keep([other])
    store.close()
    assert compare(Compare(("b", "a"), life=life.root))["a"]["tasks"]["colors"]["n"] == 8


def test_several_tasks_are_corrected_and_several_models_compared_with_the_first(life: Life) -> None:
    keep(life, "a", "sums", [1, 0])
    keep(life, "b", "sums", [0, 1])
    found = compare(Compare(("b", "a", "c"), life=life.root))
    assert {*found} == {"a", "c"}
    assert {*found["a"]["tasks"]} == {"colors"}, "the third model has no answers to the other task"
    both = compare(Compare(("b", "a"), life=life.root))["a"]["tasks"]
    assert both["colors"]["p_holm"] == pytest.approx(2 * both["colors"]["p"])
    assert "Holm" in compare(Compare(("b", "a"), life=life.root))["a"]["verdict"]
    assert {*compare(Compare(("b", "a"), life=life.root, tasks=("sums",)))["a"]["tasks"]} == {"sums"}


def test_recipes_are_compared_by_their_seeds(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """On the items that all seeds answered; `a` and `c` are seeds of one recipe, `b` and `d` of another."""
    tokenizer = train("bpe", ["the cat sat on the mat. " * 9], 300)
    made = Transformer(ModelConfig(tokenizer.vocab_size, 1, 16, 1, 1, 16, 16, context=32))
    made.initialize(torch.Generator().manual_seed(9))
    save_model(made, tokenizer, life.model("d"), {"stage": "d"})
    worse = [0, 1, 0, 0, 0, 0, 1, 0]
    keep(life, "d", "colors", worse)
    options = Compare(("a", "c"), against=("b", "d"), life=life.root)
    found = compare(options)
    expected = compare_crossed([RIGHT["a"], RIGHT["c"]], [RIGHT["b"], worse])
    assert found["tasks"]["colors"]["difference"] == expected.difference.as_dict()
    assert found["tasks"]["colors"]["p_holm"] == expected.p
    assert [*found["recipes"].values()] == [["a", "c"], ["b", "d"]]
    told = capsys.readouterr().out
    assert "2 and 2 seeds, 8 items" in told
    keep(life, "d", "sums", [1, 0])
    for name in ("a", "b", "c"):
        keep(life, name, "sums", [1, 1])
    said = compare(options)["verdict"]
    assert "2 tasks" in said
    assert "so few items cannot show any" in said, "two items would show a difference of 499.7 points"
    for name in ("a", "b", "c", "d"):
        keep(life, name, "one", [1])
        keep(life, name, "passage", [1, 0], cluster="the same ")
    assert {*compare(options)["tasks"]} == {"colors", "sums"}, "one item or passage is too few to compare recipes on"
    for words, rule in (
        (["a", "c", "--against", "b", "d", "--tasks", "one"], "two or more items of different passages; one has fewer"),
        (["a", "c", "--against", "b"], "--against needs two or more seeds of a recipe; got b"),
        (["a", "--against", "b", "d"], "two or more different models; got a, b, d"),
        (["a", "c", "--against", "a", "d"], "two or more different models; got a, c, a, d"),
    ):
        assert run(["compare", *words, "--life", str(life.root)]) == 2
        assert rule in capsys.readouterr().err


def test_items_about_one_passage_are_a_cluster(life: Life) -> None:
    for name in ("a", "b"):
        keep(life, name, "reading", RIGHT[name], cluster="passage ")
    found = compare(Compare(("b", "a"), life=life.root, tasks=("reading",)))["a"]["tasks"]["reading"]
    expected = compare_items(RIGHT["a"], RIGHT["b"], [n // 4 for n in range(8)])
    assert found["method"] == expected.method == "paired t by cluster"
    assert found["p"] == expected.p


def test_what_cannot_be_compared_is_refused(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    keep(life, "c", "sums", [1])
    for words, rule in (
        (["a"], "two or more different models; got a"),
        (["a", "a"], "two or more different models; got a, a"),
        (["a", "d"], "must be one of a, b, c"),
        (["a", "b", "--tasks", "color"], "that all models answered: colors; got 'color'"),
    ):
        assert run(["compare", *words, "--life", str(life.root)]) == 2
        assert rule in capsys.readouterr().err
    with pytest.raises(UserError, match="have not answered the same items; run sayso evaluate on each"):
        compare(Compare(("a", "b"), life=life.root, store=str(life.root / "other.sqlite")))


def test_the_store_lists_the_tasks_that_all_models_answered(life: Life) -> None:
    keep(life, "c", "sums", [1])
    store = Store(life.store)
    marks = [fingerprint_of(life.model(name)) for name in RIGHT]
    assert tasks_answered(store, marks) == ["colors"]
    assert tasks_answered(store, marks[2:]) == ["colors", "sums"]
    assert tasks_answered(store, ["unknown"]) == []
    store.close()
