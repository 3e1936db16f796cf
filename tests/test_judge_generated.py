"""Short answers: the formulas of SQuAD and CoQA on cases worked by hand, and the final numbers of GSM8K."""

import json
import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.judge.answers.number import NumberScore, flexible_number, gsm8k, last_number, strict_number
from sayso.judge.answers.text import TextScore, coqa, exact_match, f1, normalized, squad1, squad2

DATA = os.environ.get("SAYSO_TEST_DATA")
WORDS = st.lists(st.sampled_from(["the", "a", "fox", "Fox.", "red", "dog", "1,000", "—", ""]), max_size=5).map(" ".join)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" The  Cat's theatre,\n an A. and-so ", "cats theatre andso"),
        ("Den Haag's ‘Ridderzaal’", "den haags ‘ridderzaal’"),  # only ASCII punctuation is removed
        ("ÉCOLE\u00a0d’été", "école d’été"),  # a no-break space is whitespace
        ("the a an", ""),
        ("a.n", ""),  # the period goes first, and what is left is an article
        ("", ""),
    ],
)
def test_normalization_removes_what_does_not_count(text: str, plain: str) -> None:
    """Case, punctuation, articles and blanks go; letters of other scripts and an article inside a word stay."""
    assert normalized(text) == plain


@pytest.mark.parametrize(
    ("given", "right", "exact", "overlap"),
    [
        ("The red fox.", ["red fox"], 1, 1),
        ("a red fox ran", ["the red fox", "a dog"], 0, 0.8),
        ("fox fox", ["fox"], 0, 2 / 3),
        ("dog", ["fox"], 0, 0),
        ("", ["fox"], 0, 0),
        ("the", ["a"], 1, 1),
    ],
)
def test_exact_match_and_f1(given: str, right: list[str], exact: float, overlap: float) -> None:
    """Words count with multiplicity, and the closest reference counts."""
    assert exact_match(given, right) == exact
    assert f1(given, right) == pytest.approx(overlap)


@pytest.mark.parametrize(
    ("score", "answer", "references", "exact", "overlap"),
    [
        (squad1, "", ["the"], 1, 0),  # version 1.1 divides by shared words, of which there are none
        (squad2, "", ["the"], 1, 1),
        (squad2, "", [], 1, 1),  # a question without an answer
        (squad2, "fox", [], 0, 0),
        (squad2, "", ["fox", "the"], 0, 0),  # "the" does not count as a reference
        (squad1, "", ["fox", "the"], 1, 0),
        (squad1, "red fox", ["fox", "the red fox ran"], 0, 0.8),
        (coqa, "red fox", ["red fox"], 1, 1),
        (coqa, "red fox", ["red fox", "fox"], 0.5, (2 / 3 + 1) / 2),
        (coqa, "red fox", ["red fox", "dog", "fox"], 2 / 3, (2 / 3 + 1 + 1) / 3),
        (coqa, "", ["the", "fox"], 0.5, 0.5),
        (coqa, "fox", ["fox", "fox", "fox", "fox"], 1, 1),
    ],
)
def test_each_data_set_has_its_own_formula(
    score: Callable[[str, Sequence[str]], TextScore],
    answer: str,
    references: list[str],
    exact: float,
    overlap: float,
) -> None:
    """Empty texts, and several references, count as the official programs count them."""
    found = score(answer, references)
    assert found.exact_match == pytest.approx(exact)
    assert found.f1 == pytest.approx(overlap)


@settings(deadline=None)
@given(WORDS, st.lists(WORDS, min_size=1, max_size=4))
def test_scores_equal_precision_and_recall_counted_word_by_word(answer: str, references: list[str]) -> None:
    """F1 is 2 P R / (P + R), with shared words crossed off one at a time."""

    def shared_f1(one: str, other: str) -> float:
        ours, left = normalized(one).split(), normalized(other).split()
        size, shared = len(left), 0
        for word in ours:
            if word in left:
                left.remove(word)
                shared += 1
        if not shared:
            return 0.0
        precision, recall = shared / len(ours), shared / size
        return 2 * precision * recall / (precision + recall)

    best = max(shared_f1(answer, one) for one in references)
    assert squad1(answer, references).f1 == pytest.approx(best)
    assert squad1(answer, references).exact_match == float(normalized(answer) in map(normalized, references))
    if normalized(answer) and all(map(normalized, references)):
        assert squad2(answer, references) == squad1(answer, references)


@settings(deadline=None)
@given(WORDS, st.lists(WORDS, min_size=1, max_size=4))
def test_leaving_a_reference_out_never_raises_the_score(answer: str, references: list[str]) -> None:
    """CoQA's mean is at most the best match, and at least (n - 1) / n of it: one reference is missing at a time."""
    best, mean = f1(answer, references), coqa(answer, references).f1
    assert mean <= best + 1e-12
    assert mean >= best * max(len(references) - 1, 1) / len(references) * (len(references) > 1) - 1e-12


def test_a_question_without_references_is_an_error() -> None:
    """Only SQuAD 2.0 has questions without an answer."""
    for score in (squad1, coqa, exact_match, f1):
        with pytest.raises(UserError, match="one reference"):
            score("fox", [])


@pytest.mark.skipif(not DATA, reason="SAYSO_TEST_DATA names no folder")
def test_reference_answers_of_squad_score_one() -> None:
    """Each annotator's answer is an exact match with F1 1."""
    found = json.loads(next((Path(DATA or "") / "eval").glob("squad*.json")).read_text())
    answers = [
        [answer["text"] for answer in question["answers"]]
        for article in found["data"][:3]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
        if question["answers"]
    ]
    assert answers
    assert all(exact_match(one, them) == f1(one, them) == 1 for them in answers for one in them)


@pytest.mark.parametrize(
    ("reply", "strict", "flexible", "value"),
    [
        ("So 9 * 2 = 18.\n#### 18", True, True, True),
        ("#### 18.", True, True, True),
        ("#### $18", False, True, True),  # the strict form has no dollar sign
        ("#### 18\nThat is 18 dollars, for 2 days", True, False, False),
        ("#### 17 #### 18", False, True, True),  # the first mark counts
        ("####18", False, True, True),
        ("The answer is 18", False, True, True),
        ("She makes $18.", False, True, True),
        ("She makes $18.00", False, False, True),
        ("She makes 18.0", False, False, True),
        ("It is 18%", False, True, True),
        ("-18", False, False, False),
        ("18...", False, False, True),  # "18..." is a run of signs, with one final period
        ("18 ...", False, False, True),
        ("eighteen", False, False, False),
        ("", False, False, False),
    ],
)
def test_gsm8k_forgives_what_each_rule_forgives(reply: str, strict: bool, flexible: bool, value: bool) -> None:
    """The rules differ in the mark, in which number counts, and in whether its spelling does."""
    assert gsm8k(reply, "9 * 2 = <<9*2=18>>18 dollars.\n#### 18") == NumberScore(strict, flexible, value)


@pytest.mark.parametrize("written", ["1,234", "$1,234", "1234", "1234.", "$1,234."])
def test_thousands_commas_and_dollar_signs_do_not_count(written: str) -> None:
    """In the reply and in the reference."""
    assert gsm8k(f"It costs {written}", "#### 1,234") == NumberScore(False, True, True)
    assert gsm8k("It costs 1234", f"#### {written}") == NumberScore(False, True, True)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-3", -3), ("−3", -3), ("-$1,200.50", "-1200.5"), ("$-5", -5), ("16 - 3", 3), ("16-3", 3), ("--5", -5),
        ("50%", 50), (".5", "0.5"), ("0.5.", "0.5"), ("1,2,3", 3), ("12,345,678", 12345678), ("5kg", 5),
        ("in H2O", None), ("", None), ("...", None), ("x=7\nok", 7), ("٣", None), ("3/4", 4),
    ],
)  # fmt: skip
def test_the_last_number_is_read_with_its_sign(text: str, number: int | str | None) -> None:
    """A minus sign belongs to the number unless it subtracts."""
    assert last_number(text) == (None if number is None else Decimal(number))


def test_numbers_are_found_as_they_are_written() -> None:
    """The text filters return spellings, the flexible one even without a digit."""
    assert strict_number("#### -1,000.5 or #### 3") == "-1,000.5"
    assert strict_number("###### x") is None
    assert flexible_number("from $5 to -$6.50 ...") == "..."
    assert flexible_number("a 7 b") == "7"
    assert flexible_number("none") is None


def test_a_reference_without_a_number_is_an_error() -> None:
    """It is quoted."""
    with pytest.raises(UserError, match="'no idea'"):
        gsm8k("3", "no idea")


@pytest.mark.skipif(not DATA, reason="SAYSO_TEST_DATA names no folder")
def test_worked_solutions_of_gsm8k_are_right() -> None:
    """By all three rules, and wrong for the question that follows, unless it has the same answer."""
    lines = (Path(DATA or "") / "instruct" / "gsm8k_test.jsonl").read_text().splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    assert all(gsm8k(answer, answer) == NumberScore(True, True, True) for answer in answers)
    assert all(
        gsm8k(one, other).strict == gsm8k(one, other).value == (last_number(one) == last_number(other))
        for one, other in pairwise(answers)
    )
