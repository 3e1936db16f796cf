"""Conversations: joined turns, complete windows, and rules for chat between strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.text.conversations import as_messages, as_text, decency_rule, join_texts, too_few_turns, windows, within
from sayso.text.document import Message

messages = st.lists(
    st.tuples(st.sampled_from(["user", "assistant"]), st.text("ab .", min_size=1, max_size=30)), max_size=24
).map(as_messages)


def talk(*contents: str) -> tuple[Message, ...]:
    """Return a conversation that the user opens."""
    return as_messages(zip(["user", "assistant"] * len(contents), contents, strict=False))


@given(messages, st.integers(4, 9), st.integers(20, 90))
def test_windows_are_whole_ordered_and_within_their_limits(found: tuple[Message, ...], turns: int, size: int) -> None:
    """Each starts with the user, alternates, ends with the assistant, and is a contiguous part of the conversation."""
    for window in windows(found, within(turns, size), 2):
        assert [message["role"] for message in window] == ["user", "assistant"] * (len(window) // 2)
        assert 4 <= len(window) <= turns
        assert sum(len(message["content"]) for message in window) <= size
        assert any(list(found[place : place + len(window)]) == window for place in range(len(found)))


def test_without_limits_a_conversation_is_one_window() -> None:
    """0 = no limit; a last question without an answer is left out."""
    found = talk("a", "b", "c", "d", "e")
    assert windows(found, within(0, 0)) == [list(found[:4])]
    assert windows(found[:2], within(0, 0)) == [list(found[:2])], "one question and its answer are a conversation"


def test_every_window_keeps_the_system_message() -> None:
    """The system message applies to each window."""
    system = {"role": "system", "content": "Be brief."}
    cut = windows((system, *talk(*"abcdefgh")), within(5, 0))
    assert [window[0] for window in cut] == [system, system]


def test_one_overlong_turn_ends_a_window_and_is_left_out() -> None:
    """The turns before and after it are in separate windows."""
    cut = windows(talk("a", "b", "c", "d", "e", "x" * 99, "f", "g", "h", "i"), within(0, 50))
    assert [as_text(window) for window in cut] == ["a\nb\nc\nd", "f\ng\nh\ni"]


def test_texts_of_one_turn_are_joined_with_the_stop_that_is_missing() -> None:
    """A full stop is added only between a bare end and a capital letter."""
    assert join_texts(["True", "Earth is nice", "and big!", "You?", ""]) == "True. Earth is nice and big! You?"
    assert as_messages([("user", "Hi"), ("user", "You there"), ("assistant", " \n"), ("user", "Hm")]) == (
        {"role": "user", "content": "Hi. You there. Hm"},
    )


def test_too_few_turns_are_detected() -> None:
    """Two turns of each side are the minimum."""
    assert too_few_turns(talk("a", "b", "c"), 2)
    assert not too_few_turns(talk("a", "b", "c", "d"), 2)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("What the FUCK", "profane"),
        ("you dick", "profane"),
        ("Mail me at jo.doe@mail.example.com", "personal"),
        ("call (801) 555-1234 now", "personal"),
        ("Dickens wrote in Sussex about a class of assassins and a cockpit", None),
        ("In 1984 it cost 1000-2000 and @ noon we left", None),
    ],
)
def test_decency(text: str, rule: str | None) -> None:
    """Profane words and personal details are found; harmless words that contain them are not."""
    assert decency_rule(talk("Hello", text)) == rule
