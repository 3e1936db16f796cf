"""Questions which sentence comes next: made from documents, the same everywhere, and right by the document's order."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sayso.base.files import write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.judge.answers.sentence import sentences
from sayso.judge.likelihood.continuations import Continuation, ContinuationScore
from sayso.judge.statistics.estimate import estimate
from sayso.judge.tasks.item import Choices
from sayso.judge.tasks.next_sentence import OPTIONS, next_sentence_items, next_sentence_scores
from sayso.judge.tuning import kept_verdict
from sayso.reply.conversation import Replier
from sayso.report.board import _own
from sayso.run.evaluate import Evaluate, _next_sentence
from sayso.weights.folder import load_model

LINES = [f"This is sentence number {word} of it." for word in ("one", "two", "three", "four", "five", "six", "seven")]


class InOrder:
    """A scorer that prefers the sentence that comes first in `LINES`."""

    def score(
        self, groups: Sequence[Sequence[Continuation]], progress: Callable[[int], None] = lambda _: None
    ) -> list[list[ContinuationScore]]:
        """Return higher scores for earlier sentences."""
        return [[ContinuationScore(-LINES.index(one.text) - 1.0, False, 1) for one in group] for group in groups]


def test_a_text_is_cut_into_its_sentences() -> None:
    text = 'Dr. Noe came at 5 p.m. on Monday. "Who?" she said! It was late.  Then'
    assert sentences(text) == ["Dr. Noe came at 5 p.m. on Monday.", '"Who?"', "she said!", "It was late.", "Then"]
    assert sentences(" \n ") == []


@pytest.mark.parametrize("count", [5, 6, 7])
def test_the_right_sentence_is_the_first_of_four_in_a_row(count: int) -> None:
    """At least one sentence comes before them, at most three are shown."""
    (made,) = next_sentence_items([" ".join(LINES[:count])], 9)
    assert isinstance(made.item, Choices)
    places = [LINES.index(choice) for choice in made.item.choices]
    right = places[made.item.gold]
    assert sorted(places) == list(range(right, right + OPTIONS))
    assert made.item.query == " ".join(LINES[max(0, right - 3) : right])
    assert right >= 1


def test_documents_with_too_few_or_equal_sentences_are_left_out() -> None:
    short, equal = " ".join(LINES[:4]), " ".join([LINES[0], *[LINES[1]] * 4])
    headings = " ".join([*LINES[:4], "Yes!", "No!"])
    assert next_sentence_items([short, equal, headings], 9) == []
    texts = [f"{word} {' '.join(LINES)}" for word in ("Once.", "Then.", "Now.")]
    assert [item.name for item in next_sentence_items(texts, 2)] == ["0", "1"]
    assert next_sentence_items(texts, 0) == []


def test_the_place_of_the_right_answer_tells_nothing() -> None:
    """Over many documents each place is right about as often."""
    texts = [" ".join(f"{line[:-1]}, document {n}." for line in LINES) for n in range(400)]
    golds = [made.item.gold for made in next_sentence_items(texts, 400) if isinstance(made.item, Choices)]
    assert len(golds) == 400
    assert all(70 < golds.count(place) < 130 for place in range(OPTIONS))


def test_a_model_that_knows_the_order_is_always_right() -> None:
    items = next_sentence_items([" ".join(LINES[n:]) for n in range(3)], 9)
    assert next_sentence_scores(InOrder(), items) == [1.0] * 3


@pytest.mark.parametrize(
    ("after", "says"),
    [
        ([0.0] * 12, "answers 0%, the base model 100% (−100, −100 to −100 points; a guess 25%)"),
        ([0.0] * 12, "at 1.250 bits per byte of ordinary text for 1.000: some of it was forgotten."),
        ([1.0] * 11 + [0.0], "no loss can be seen."),
    ],
)
def test_a_person_is_told_what_was_forgotten(after: list[float], says: str) -> None:
    before = scores([1.0] * 12, 1.0)
    assert says in kept_verdict(before, scores(after, 1.25), ("base", "tuned"))


def test_growth_is_told_and_other_questions_are_not_compared() -> None:
    low, high = scores([0.0] * 12, 1.0), scores([1.0] * 12, 1.0)
    assert kept_verdict(low, high, ("base", "tuned")).endswith("it has grown.")
    assert kept_verdict(low, scores([1.0], 1.0), ("base", "tuned")) == ""
    assert kept_verdict(low, {"bpb": {}, "next_sentence": None}, ("base", "tuned")) == ""
    assert kept_verdict(low, scores([1.0] * 12, 1.0, "of other documents"), ("base", "tuned")) == ""


def test_a_single_question_tells_nothing() -> None:
    told = kept_verdict(scores([1.0], 1.0), scores([0.0], 1.0), ("base", "tuned"))
    assert told.endswith("one question is too few to say what was forgotten.")


def scores(right: list[float], bits: float, items: str = "the items") -> dict[str, object]:
    """Return scores as `evaluate` makes them."""
    asked = {**estimate(right).as_dict(), "values": right, "items": items}
    return {"next_sentence": asked, "bpb": {"real": {"mean": bits}}}


def test_evaluate_asks_about_documents_that_are_not_of_the_small_world(lived: Life, tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    rows = [{"text": f"Of {word}. {' '.join(LINES)}", "source": "own"} for word in ("a", "b", "c")]
    write_jsonl(life.data("text") / "val-00000.jsonl", [*rows, {"text": " ".join(LINES), "source": "smallworld"}])
    write_json(life.data("text") / "manifest.json", {"sources": []})
    replier = Replier(*load_model(lived.model("tuned")))
    found = _next_sentence(replier, life, Evaluate(life=life.root, next_sentences=9))
    assert found is not None
    assert found["n"] == len(found["values"]) == 3
    assert {*found["values"]} <= {0.0, 1.0}
    fewer = _next_sentence(replier, life, Evaluate(life=life.root, next_sentences=2))
    assert fewer is not None
    assert fewer["values"] == found["values"][:2]
    again = _next_sentence(replier, life, Evaluate(life=life.root, next_sentences=9))
    assert again == found
    assert fewer["items"] != found["items"]
    assert _next_sentence(replier, life, Evaluate(life=life.root)) is None
    assert _next_sentence(replier, lived, Evaluate(life=lived.root, next_sentences=9)) is None


def test_a_negative_number_of_questions_is_refused(lived: Life, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "tuned", "--life", str(lived.root), "--next-sentences", "-1"]) == 2
    assert "--next-sentences" in capsys.readouterr().err


def test_the_leaderboard_has_the_share_of_right_sentences() -> None:
    """With the score of a guess; not for a model that was not asked."""
    asked = {**scores([1.0, 0.0], 1.0), "families": {}}
    found = {measure.name: (measure.baseline, value.mean) for measure, value in _own({**asked, "bpb": {}})}
    assert found == {"next sentence": (0.25, 0.5)}
    assert list(_own({**asked, "bpb": {}, "next_sentence": None})) == []
