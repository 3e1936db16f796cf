"""IFEval: what each of the 25 kinds of instructions accepts, strict and loose scoring, and mistakes in its rows."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from sayso.base.errors import UserError
from sayso.judge.answers.ifeval import judge_ifeval, judge_row, variants
from sayso.judge.answers.ifeval_rules import RULES, instruction
from sayso.judge.answers.language import LANGUAGES, language
from sayso.judge.answers.sentence import count_capital_words, count_sentences

DATA = os.environ.get("SAYSO_TEST_DATA")
MOST, LESS = "at least", "less than"
COUNT = "length_constraints:number_words"
GERMAN = "Das ist ein schöner Tag, und wir gehen zusammen an den See."

FOLLOWED: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["sun", "sea"]}, ["Sunday at the SEA"], ["sun", "sea"]),
    ("keywords:existence", {"keywords": ["c++"]}, ["C++ is fast"], ["ccc"]),
    ("keywords:frequency", {"keyword": "no", "frequency": 2, "relation": MOST}, ["No, not now"], ["no"]),
    ("keywords:frequency", {"keyword": "no", "frequency": 2, "relation": LESS}, ["no", "yes"], ["No, not now"]),
    ("keywords:forbidden_words", {"forbidden_words": ["run"]}, ["She runs to rerun"], ["They RUN.", "run-down"]),
    ("keywords:letter_frequency", {"letter": "A", "let_frequency": 2, "let_relation": MOST}, ["aA"], ["a"]),
    ("keywords:letter_frequency", {"letter": "!", "let_frequency": 1, "let_relation": LESS}, ["ok"], ["ok!"]),
    ("language:response_language", {"language": "de"}, [GERMAN, "123"], ["This is a nice day at the lake."]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": MOST}, ["One. Two."], ["One"]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": LESS}, ["Dr. Noe came."], ["A. No! B."]),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "*** a***b ***"],
        ["a\n***\n***\nb", "a"],
    ),
    (COUNT, {"num_words": 3, "relation": MOST}, ["it's 5", "don't-go"], ["a_b c"]),
    (COUNT, {"num_words": 3, "relation": LESS}, ["a_b c"], ["it's 5"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Elm"},
        ["a\n\nelm, tree", "a\n\n\"ELM's\"", "a\n\n'\"elm"],
        ["elm\n\na", "a\n\nelms", "a\n\nelm\n\nb", "a\n\n\n\nelm", "elm"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] [b] [c]"], ["[a]", "[a\n] [b]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Hi\np. s. bye"], ["PS bye", "P.P.S"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["P.P.S bye", "p. p. s"], ["P.S. bye"]),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, ["n.b. this"], ["nxbx this"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n  - b\n**c**"], ["* a", "* a\n* b\n* c"]),
    ("detectable_format:constrained_response", {}, ["So: My answer is no."], ["my answer is no.", "No."]),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b*", "*a* **b**", "***a***"],
        ["*a*", "**a**", "* *\n**"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Day", "num_sections": 2},
        ["Day 1 x Day 2"],
        ["Day one Day 2"],
    ),
    ("detectable_format:json_format", {}, ['{"a": [1]}', "```json\n[]\n```", "```\n1```"], ["{'a': 1}", "It is {}"]),
    ("detectable_format:title", {}, ["<<A day>>", "x <<<b>>>"], ["<< >>", "<<a\nb>>", "<a>"]),
    ("combination:two_responses", {}, ["a\n******\nb", "******a******b"], ["a", "a******A******c", "b ****** b"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, [" SAY IT. Yes."], ["Yes. Say it.", "Say"]),
    ("startend:end_checker", {"end_phrase": "Peace!"}, ['So. "peace!" ', "PEACE!"], ["Peace! Bye", "Peace"]),
    ("startend:quotation", {}, ['"a"', ' "a" b" '], ['"', '"a', "'a'", "“a”"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": MOST}, ["DON'T"], ["I'm A-b"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": LESS}, ["AS-IS"], ["A, B"]),
    ("change_case:english_capital", {}, ["THIS IS A NICE DAY AT THE LAKE."], ["This is a nice day.", GERMAN.upper()]),
    ("change_case:english_lowercase", {}, ["this is a nice day at the lake."], ["This is a nice day.", GERMAN.lower()]),
    ("punctuation:no_comma", {}, ["a; b、c"], ["a, b"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "right", "wrong"), FOLLOWED)
def test_an_instruction_tells_replies_apart(
    name: str, values: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    """Each kind accepts what the official program accepts, and no blank reply."""
    follows = instruction(name, values)
    assert [reply for reply in right if not follows(reply)] == []
    assert [reply for reply in wrong if follows(reply)] == []
    assert not follows("") and not follows(" \n")  # noqa: PT018


def test_every_kind_is_covered() -> None:
    """The paper has 25."""
    assert {name for name, *_ in FOLLOWED} == set(RULES)
    assert len(RULES) == 25


def test_loose_scoring_removes_lines_and_asterisks() -> None:
    """In each of the eight combinations."""
    assert variants("Sure!\n*Yes*\nBye") == [
        "Sure!\n*Yes*\nBye", "Sure!\nYes\nBye", "Sure!\n*Yes*", "Sure!\nYes",
        "*Yes*\nBye", "Yes\nBye", "*Yes*", "Yes",
    ]  # fmt: skip
    assert set(variants("one")) == {"one", ""}


def row(*kinds: tuple[str, dict[str, Any]], key: int = 1) -> dict[str, Any]:
    """Return a row of the data set."""
    return {"key": key, "prompt": "Do.", "instruction_id_list": [k for k, _ in kinds], "kwargs": [v for _, v in kinds]}


QUOTED, SPARE = ("startend:quotation", {}), ("punctuation:no_comma", {})


@pytest.mark.parametrize(
    ("reply", "strict", "loose"),
    [
        ('"yes"', (True, True), (True, True)),
        ('Sure, here it is:\n"yes"', (False, False), (True, True)),
        ('"yes"\nHope that helps, bye', (False, False), (True, True)),
        ('*"yes"*', (False, True), (True, True)),
        ('Sure:\n**"yes, no"**\nBye', (False, False), (True, False)),
        ("", (False, False), (False, False)),
    ],
)
def test_loose_scoring_accepts_one_form_for_each_instruction(
    reply: str, strict: tuple[bool, ...], loose: tuple[bool, ...]
) -> None:
    """Strict scoring takes the reply alone; loose scoring is never stricter."""
    found = judge_row(row(QUOTED, SPARE), reply)
    assert found.strict == strict
    assert found.loose == loose


def test_accuracies_are_over_prompts_and_over_instructions() -> None:
    """Half of the prompts, three of four instructions; each kind on its own."""
    rows = [row(QUOTED, key=7), row(QUOTED, SPARE, ("detectable_format:title", {}), key=8)]
    scores = judge_ifeval(rows, ['"x"', '"<<x>>, y"'])
    assert [(one.key, one.strict) for one in scores.answers] == [(7, (True,)), (8, (True, False, True))]
    assert scores.prompts().mean == 0.5
    assert scores.instructions().mean == 0.75
    assert scores.prompts(loose=True).mean == 0.5
    assert {name: one.mean for name, one in scores.kinds().items()} == {
        "detectable_format:title": 1.0, "punctuation:no_comma": 0.0, "startend:quotation": 1.0,
    }  # fmt: skip


def test_prompts_are_the_sampled_unit_of_instructions() -> None:
    """Ten instructions that stand or fall together in each of two prompts are no twenty draws."""
    rows = [row(*[QUOTED] * 10), row(*[QUOTED] * 10)]
    found = judge_ifeval(rows, ['"x"', "x"]).instructions()
    assert (found.mean, found.n) == (0.5, 2)
    assert found.se == pytest.approx(0.5 / math.sqrt(1))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("startend:quote", {}, "no instruction 'startend:quote'.* Did you mean 'startend:quotation'?"),
        (COUNT, {"num_word": 3, "relation": MOST}, "not 'num_word'. Did you mean 'num_words'?"),
        (COUNT, {"num_words": 3}, "needs 'relation', 'at least' or 'less than'"),
        (COUNT, {"num_words": 3, "relation": "least"}, "not 'least'. Did you mean 'at least'?"),
        (COUNT, {"num_words": "3", "relation": MOST}, "'num_words' .* not '3'"),
        (COUNT, {"num_words": True, "relation": MOST}, "'num_words' .* not True"),
        ("language:response_language", {"language": "zh"}, "not 'zh'"),
        ("keywords:existence", {"keywords": []}, "a list of texts, not"),
        ("keywords:existence", {"keywords": "sun"}, "a list of texts, not 'sun'"),
        (
            "keywords:letter_frequency",
            {"letter": "ab", "let_frequency": 1, "let_relation": MOST},
            "one character, not 'ab'",
        ),
        ("punctuation:no_comma", {"num_words": 3}, "takes no values, not 'num_words'"),
    ],
)  # fmt: skip
def test_a_wrong_instruction_is_named_with_the_nearest_known(name: str, values: dict[str, Any], message: str) -> None:
    """In one sentence."""
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        instruction(name, values)


def test_values_that_are_none_do_not_count() -> None:
    """Copies of the data set give every row the names of all values."""
    assert instruction("punctuation:no_comma", {"num_words": None, "relation": None})("yes")


def test_rows_that_do_not_fit_are_errors() -> None:
    """Their number, their columns, and the values of each instruction."""
    with pytest.raises(UserError, match="1 replies for 2 rows"):
        judge_ifeval([row(QUOTED)] * 2, ["x"])
    with pytest.raises(UserError, match="lacks kwargs"):
        judge_row({"key": 1, "prompt": "x", "instruction_id_list": []}, "x")
    with pytest.raises(UserError, match=r"Row 1 .* 2 instructions, not 1"):
        judge_row(row(QUOTED, SPARE) | {"kwargs": [{}]}, "x")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0), (" \n", 0), ("One", 1), ("One. Two! Three?", 3), ("What?! No.", 2), ('He said "Go." Then he left.', 2),
        ("Dr. Smith of the U.S. Army came at 5 p.m. on Jan. 5.", 1), ("It was 5 p.m. Then it rained.", 2),
        ("It rose 3.5 percent", 1), ("It rose by 3. percent", 1),
        ("1. Buy milk.\n2. Go.", 4), ("Wait... what", 1), ("Wait... What", 2),
        ("See J. Smith", 1), ("Plan B. The end", 2), ("e.g. this", 2), ("P.S. Bye", 2), ("**It is so.**", 2),
        ("(See below.) Then", 2), ("a.b.c", 1), ("今日は。明日", 1),
    ],
)  # fmt: skip
def test_sentences_end_where_punkt_ends_them(text: str, count: int) -> None:
    """Also where a reader would not: after a number in a list, e.g. and P.S., and before closing asterisks."""
    assert count_sentences(text) == count


def test_counting_takes_linear_time() -> None:
    """Long runs of one sign are no trap: each of these takes minutes if every sign is compared with every other."""
    for text in ("." * 10**5, "a" * 10**5 + ". B", "a. " * 10**4, ". " + " " * 10**5 + "x", ".)" * 10**5):
        count_sentences(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("DON'T I'm NASA's", 4), ("AS-IS", 1), ("CANNOT", 2), ("A,B 3D 42 U.S.", 4), ("(OK)", 1), ("É", 1), ("", 0)],
)
def test_capital_words_are_counted_by_treebank_rules(text: str, count: int) -> None:
    """A contraction is two words, a hyphenated word one; digits alone are none."""
    assert count_capital_words(text) == count


def test_the_language_is_the_same_every_time() -> None:
    """Also of a text too short to be sure of; None where there are no words."""
    assert len({language("so la di") for _ in range(5)}) == 1
    assert language(GERMAN) == "de"
    assert language("123 ...") is None
    assert language("no en el") in LANGUAGES


@pytest.mark.skipif(not DATA, reason="SAYSO_TEST_DATA names no folder")
def test_the_published_prompts_are_read() -> None:
    """All 541, all 25 kinds; an echo of the prompt follows some, a blank reply nothing."""
    rows = [json.loads(line) for line in (Path(DATA or "") / "eval" / "ifeval.jsonl").read_text().splitlines()]
    assert {name for one in rows for name in one["instruction_id_list"]} == set(RULES)
    blank = judge_ifeval(rows, [""] * len(rows))
    assert (len(rows), blank.prompts(loose=True).mean, blank.instructions(loose=True).mean) == (541, 0, 0)
    some = [one for one in rows if not any("language" in k or "english" in k for k in one["instruction_id_list"])]
    echo = judge_ifeval(some, [one["prompt"] for one in some])
    assert 0 < echo.prompts().mean <= echo.prompts(loose=True).mean < 0.4
