"""Files of comparisons and ratings: the forms that are read, and what is said of a row that teaches nothing."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sayso.align.pairs.comparisons import holds_ratings, ratings_of, read_pairs, read_ratings
from sayso.align.pairs.reward_data import questions
from sayso.align.rl.prompts import _prompt as prompt_of
from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows, write_jsonl

ASKED = [{"role": "user", "content": "What is red?"}]
YES, NO = [{"role": "assistant", "content": "A colour."}], [{"role": "assistant", "content": "No."}]
PAIR = {"prompt": ASKED, "chosen": "A colour.", "rejected": "No."}
RATING = {"prompt": ASKED, "reply": "A colour.", "good": True}


def file(folder: Path, *rows: object) -> Path:
    """A JSON Lines file of these rows."""
    path = folder / "rows.jsonl"
    write_jsonl(path, rows)
    return path


def read(reader: Any, path: Path) -> list[dict]:
    """The rows of a file, all of which must be good."""
    bad = BadRows()
    found = reader(path, bad)
    bad.check()
    return found


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
    assert read(read_pairs, path) == [PAIR]
    assert not holds_ratings(path)


@pytest.mark.parametrize("row", [RATING, {"prompt": "What is red?", "completion": YES, "label": True}])
def test_every_form_of_a_rating_becomes_one(tmp_path: Path, row: dict) -> None:
    """Own rows and TRL's."""
    path = file(tmp_path, row)
    assert read(read_ratings, path) == [RATING]
    assert holds_ratings(path)


def test_a_source_is_kept(tmp_path: Path) -> None:
    """Where a pair comes from stays with it, and with both ratings that it makes."""
    pairs = read(read_pairs, file(tmp_path, {**PAIR, "source": "feedback"}))
    assert ratings_of(pairs) == [
        {**RATING, "source": "feedback"},
        {**RATING, "reply": "No.", "good": False, "source": "feedback"},
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rejected": " A colour."}, "The two replies are the same"),
        ({"chosen": " "}, 'The reply in "chosen" is empty'),
        ({"rejected": None}, 'The text of "rejected" is missing'),
        ({"chosen": ASKED}, '"chosen" must be a single message of the assistant'),
        ({"prompt": ""}, "There is no prompt"),
        ({"prompt": []}, "There is no prompt"),
        ({"prompt": [{"content": "Hello"}]}, "A message has no role"),
        ({"prompt": [{"role": "human", "content": "Hello"}]}, "A role must be one of system, user.*'human'"),
        ({"prompt": [{"role": "user"}]}, "A message of the user has no text"),
        ({"prompt": ASKED + YES}, "must not end with a message of the assistant"),
    ],
)
def test_a_pair_that_cannot_teach_is_named_by_its_row(tmp_path: Path, changed: dict, said: str) -> None:
    """One sentence: the file, the row's number, what is wrong."""
    path = file(tmp_path, PAIR, {**PAIR, **changed})
    with pytest.raises(UserError, match=rf"^1 of 2 rows cannot be used: .*rows\.jsonl:2: .*{said}"):
        read(read_pairs, path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**RATING, "good": 1}, "has no such rating"),
        ({**RATING, "reply": ""}, 'The reply in "reply" is empty'),
        ({"prompt": "What?", "good": True}, 'The text of "completion" is missing'),
        (["What?"], "this is a list"),
    ],
)
def test_a_rating_that_cannot_teach_is_named_by_its_row(tmp_path: Path, row: object, said: str) -> None:
    """One sentence: the file, the row's number, what is wrong."""
    with pytest.raises(UserError, match=rf"rows\.jsonl:1: .*{said}"):
        read(read_ratings, file(tmp_path, row))


def test_conversations_that_part_early_have_no_prompt(tmp_path: Path) -> None:
    """Without a prompt of its own, a pair's conversations differ in their last message alone."""
    other = [{"role": "user", "content": "What is blue?"}]
    with pytest.raises(UserError, match=r"rows\.jsonl:1: .*differ before their last message"):
        read(read_pairs, file(tmp_path, {"chosen": ASKED + YES, "rejected": other + NO}))


KEYS = st.sampled_from(
    [
        *("prompt", "chosen", "rejected", "reply", "completion", "good", "label", "rating", "margin", "tie", "input"),
        *(
            "messages",
            "preferred_output",
            "non_preferred_output",
            "role",
            "content",
            "tool_calls",
            "tool_call_id",
            "name",
        ),
        *("function", "arguments", "id", "group", "source"),
    ]
)
VALUES = st.recursive(
    st.sampled_from(["user", "assistant", "tool", "system", "x", "", " ", None, 0, 1, True, False, 2.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=16,
)
TURN = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "add", "arguments": {}}}]}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example({"prompt": "Why?", "chosen": [TURN], "rejected": [TURN]})
@example({"prompt": [TURN], "chosen": "a", "rejected": "b"})
@example({"chosen": [], "rejected": []})
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_row_is_read_or_counted(tmp_path: Path, row: dict) -> None:
    """Whatever stands where, nothing is raised: a row teaches, or it is bad."""
    path = file(tmp_path, row)
    for reader in (read_pairs, partial(read_pairs, ties=True), read_ratings, partial(read_ratings, numbers=True)):
        bad = BadRows("skip")
        assert len(reader(path, bad)) + bad.count == 1
        questions(reader(path, bad))
    bad = BadRows("skip")
    assert all(tried is None or tried.messages for tried in [bad.attempt(path, prompt_of, 1, row)])
    holds_ratings(path)
