"""Files of comparisons and ratings: the forms that are read, and what is said of a row that teaches nothing."""

from pathlib import Path

import pytest

from sayso.align.comparisons import holds_ratings, ratings_of, read_pairs, read_ratings
from sayso.base.errors import UserError
from sayso.base.jsonl import write_jsonl

ASKED = [{"role": "user", "content": "What is red?"}]
YES, NO = [{"role": "assistant", "content": "A colour."}], [{"role": "assistant", "content": "No."}]
PAIR = {"prompt": ASKED, "chosen": "A colour.", "rejected": "No."}
RATING = {"prompt": ASKED, "reply": "A colour.", "good": True}


def file(folder: Path, *rows: object) -> Path:
    """A JSON Lines file of these rows."""
    path = folder / "rows.jsonl"
    write_jsonl(path, rows)
    return path


@pytest.mark.parametrize(
    "row",
    [
        PAIR,
        {"prompt": "What is red?", "chosen": "A colour.", "rejected": "No."},
        {"prompt": ASKED, "chosen": YES, "rejected": NO},
        {"chosen": ASKED + YES, "rejected": ASKED + NO},
        {"input": {"messages": ASKED, "tools": []}, "preferred_output": YES, "non_preferred_output": NO},
    ],
    ids=["own", "strings", "messages", "no prompt apart", "openai"],
)
def test_every_form_of_a_pair_becomes_one(tmp_path: Path, row: dict) -> None:
    """Own rows, TRL's of strings, of messages and with the prompt inside, and OpenAI's all say the same."""
    path = file(tmp_path, row)
    assert read_pairs(path) == [PAIR]
    assert not holds_ratings(path)


@pytest.mark.parametrize("row", [RATING, {"prompt": "What is red?", "completion": YES, "label": True}])
def test_every_form_of_a_rating_becomes_one(tmp_path: Path, row: dict) -> None:
    """Own rows and TRL's."""
    path = file(tmp_path, row)
    assert read_ratings(path) == [RATING]
    assert holds_ratings(path)


def test_a_source_is_kept(tmp_path: Path) -> None:
    """Where a pair comes from stays with it, and with both ratings that it makes."""
    pairs = read_pairs(file(tmp_path, {**PAIR, "source": "feedback"}))
    assert ratings_of(pairs) == [
        {**RATING, "source": "feedback"},
        {**RATING, "reply": "No.", "good": False, "source": "feedback"},
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rejected": " A colour."}, "two replies that are the same"),
        ({"chosen": " "}, 'an empty reply in "chosen"'),
        ({"rejected": None}, 'lacks the text of "rejected"'),
        ({"chosen": ASKED}, 'other messages than one of the assistant in "chosen"'),
        ({"prompt": ""}, "has no prompt"),
        ({"prompt": []}, "has no prompt"),
        ({"prompt": [{"content": "Hello"}]}, "a message without a role"),
        ({"prompt": [{"role": "human", "content": "Hello"}]}, "the role 'human', which is none of system, user"),
        ({"prompt": [{"role": "user"}]}, "a message of the user without text"),
        ({"prompt": ASKED + YES}, "ends with the assistant"),
    ],
)
def test_a_pair_that_cannot_teach_is_named_by_its_row(tmp_path: Path, changed: dict, said: str) -> None:
    """One sentence: the file, the row's number, what is wrong."""
    path = file(tmp_path, PAIR, {**PAIR, **changed})
    with pytest.raises(UserError, match=rf"^Row 2 of '.*rows\.jsonl' .*{said}.*; mend it or take it out\.$"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**RATING, "good": 1}, "is not rated"),
        ({**RATING, "reply": ""}, 'an empty reply in "reply"'),
        ({"prompt": "What?", "good": True}, 'lacks the text of "completion"'),
        (["What?"], "is not a JSON object"),
    ],
)
def test_a_rating_that_cannot_teach_is_named_by_its_row(tmp_path: Path, row: object, said: str) -> None:
    """One sentence: the file, the row's number, what is wrong."""
    with pytest.raises(UserError, match=rf"Row 1 of .*{said}"):
        read_ratings(file(tmp_path, row))


def test_conversations_that_part_early_have_no_prompt(tmp_path: Path) -> None:
    """Without a prompt of its own, a pair's conversations differ in their last message alone."""
    other = [{"role": "user", "content": "What is blue?"}]
    with pytest.raises(UserError, match=r"Row 1 of .*differ before their last message"):
        read_pairs(file(tmp_path, {"chosen": ASKED + YES, "rejected": other + NO}))
