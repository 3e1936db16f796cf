"""Generations in the store: traces of replies, replies of the API, and the kinds of ratings of both."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.feedback.branches import revise
from sayso.feedback.gather import gather
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.ratings import Opinion, Rater
from sayso.feedback.store import Generation, Store
from sayso.feedback.tables import conversations, generations, messages, turns
from sayso.feedback.traces import Trace

MADE = Generation("tuned", "0123456789ab", {"temperature": 0.8, "seed": 7}, "stop", 5, 3, 0.1)
SAID = [{"role": "user", "content": "Hello"}]


def recorded(
    content: str = "Hi", *, key: str | int = "k1", prompt: Sequence[dict[str, Any]] = SAID, **trace: Any
) -> RecordedReply:
    """A reply of the API."""
    known = {"route": "/v1/chat/completions", "prompt_ids": [1, 2], "completion_ids": [3], "logprobs": [-0.5]}
    return RecordedReply(
        conversation=key, user="ann", prompt=prompt, content=content, generation=MADE, trace=Trace(**known | trace)
    )


def count(store: Store, table: sql.Table) -> int:
    with store.engine.begin() as connection:
        return connection.scalar(sql.select(sql.func.count()).select_from(table)) or 0


IDS = st.lists(st.integers(0, 3), max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replies=st.lists(st.tuples(IDS, IDS, st.booleans()), max_size=8))
def test_traces_round_trip(store: Store, replies: list[tuple[list[int], list[int], bool]]) -> None:
    """Whatever part of an earlier prompt and reply a prompt repeats."""
    kept = Generations(store)
    talk, wanted = store.new_conversation().id, list[Trace]()
    for prompt, completion, continues in replies:
        before = [*wanted[-1].prompt_ids, *wanted[-1].completion_ids] if wanted and continues else []
        logprobs = [-float(one) for one in completion]
        known: dict[str, Any] = {"sample": 2, "alias": "stable", "request": "r", "template": "t", "first_seconds": 0.1}
        wanted.append(
            Trace(route="page", prompt_ids=before + prompt, completion_ids=completion, logprobs=logprobs, **known)
        )
        fields = {name: getattr(wanted[-1], name) for name in Trace.__dataclass_fields__}
        kept.record([recorded(key=talk, **fields)])
    with store.engine.begin() as connection:
        query = sql.select(messages.c.id).where(messages.c.conversation_id == talk).order_by(messages.c.id)
        ids = connection.scalars(query).all()
    assert [kept.trace(one) for one in ids] == wanted


def test_an_impossible_token_has_a_logprob_too(store: Store) -> None:
    """JSON has no infinity."""
    [reply] = Generations(store).record([recorded(logprobs=[float("-inf")])])
    trace = Generations(store).trace(reply)
    assert trace is not None
    assert trace.logprobs == [float("-inf")]
    assert Generations(store).trace(reply + 1) is None


def test_the_ids_of_a_long_conversation_are_stored_once(store: Store) -> None:
    """A conversation of n turns stores of the order of n ids, though its prompts have n²."""
    ids: list[int] = []
    for turn in range(30):
        ids += [turn] * 10
        Generations(store).record([recorded(prompt_ids=list(ids), completion_ids=[99] * 5, logprobs=[0.0] * 5)])
        ids += [99] * 5
    with store.engine.begin() as connection:
        stored = sum(len(row.prompt_ids) for row in connection.execute(generations.select()))
    assert stored == 300


def test_the_prompt_of_an_api_conversation_is_stored_once(store: Store) -> None:
    """Also the other fields of its turns, and turns that differ only in those are distinct."""
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "c1"}]}
    other = call | {"tool_calls": [{"id": "c2"}]}
    for last in (call, call, other):
        [reply] = Generations(store).record([recorded(prompt=[*SAID, last])])
        assert store.message(reply).prompt == [*SAID, last]
    assert (count(store, conversations), count(store, turns)) == (1, 3)


def test_replies_are_recorded_all_or_none(store: Store) -> None:
    """Of one call."""
    with pytest.raises(sql.exc.SQLAlchemyError):
        Generations(store).record([recorded(), recorded(route=None)])
    assert count(store, messages) == count(store, conversations) == 0


def test_a_stored_reply_is_found_by_its_request(store: Store) -> None:
    """By its number among the replies to the request, and the exact time that it took; another one is not."""
    kept, made = Generations(store), replace(MADE, seconds=0.1 + 0.2)
    replies = [replace(recorded(request="r", sample=sample), generation=made) for sample in range(2)]
    ids = kept.record(replies)
    assert [kept.find(made, reply.trace) for reply in replies] == ids
    assert kept.find(MADE, replies[0].trace) is None
    assert kept.find(made, recorded(request="other").trace) is None


def test_processes_share_the_conversation_of_a_key(store: Store) -> None:
    """Whoever comes first creates it."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: Generations(store).record([recorded(str(number))]), range(24)))
    assert (count(store, conversations), count(store, messages)) == (1, 24)
    assert store.conversations() == []


def test_replies_of_the_api_can_be_rated(store: Store) -> None:
    """And gathered like any others; a choice is between replies to the same prompt."""
    first, second = Generations(store).record([recorded("Hi"), recorded("Ho")])
    [other] = Generations(store).record([recorded("Hi", prompt=[{"role": "user", "content": "Bye"}])])
    [alien] = Generations(store).record([recorded("Hu", key="k2")])
    store.thumb(first, 1)
    store.choose(first, second, by=Rater("gpt", "model", 0.75))
    for wrong in (other, alien, first):
        with pytest.raises(UserError, match="same message"):
            store.choose(first, wrong)
    gathered = gather(store.ratings())
    assert [row["messages"][-1]["content"] for row in gathered.conversations] == ["Hi"]
    assert [(row["chosen"], row["rejected"]) for row in gathered.pairs] == [("Hi", "Ho")]
    assert store.conversations() == []  # a choice shows no reply on the page


def test_only_conversations_of_texts_become_training_data(store: Store) -> None:
    """A raw prompt is no conversation, and tools are no text; their ratings are counted."""
    raw = [{"role": "text", "content": "Once"}]
    tools = [{"role": "tools", "content": "[]"}, *SAID]
    called = [*SAID, {"role": "assistant", "content": "", "tool_calls": [{"id": "c1"}]}]
    for prompt in (raw, tools, called, SAID):
        [reply] = Generations(store).record([recorded("Fine.", prompt=prompt)])
        store.thumb(reply, 1)
    gathered = gather(store.ratings())
    assert [[turn["content"] for turn in row["messages"]] for row in gathered.conversations] == [["Hello", "Fine."]]
    assert gathered.left_out == {"reply to a raw prompt or one with tools": 3}


def test_a_hidden_reply_leaves_the_page_as_it_is(store: Store) -> None:
    """One that was made for a comparison is no sibling of the reply that is shown."""
    talk = store.new_conversation()
    said = store.say(talk.id, "Hello")
    shown = store.reply(said.id, "Hi", store.prompt(said.id), MADE)
    [hidden] = Generations(store).record([recorded("Ho", key=talk.id)])
    store.choose(hidden, shown.id, by=Rater("judge", "model"))
    assert [turn.content for turn in store.branch(talk.id)] == ["Hello", "Hi"]


def test_a_rating_has_its_rater(store: Store) -> None:
    """A person without a name, unless it says otherwise; every kind has its value and text."""
    [reply] = Generations(store).record([recorded()])
    given = [
        store.points(reply, 7, comment="fair"),
        store.tag(reply, "rude", by=Rater("ann")),
        store.comment(reply, "Hm.", by=Rater("grader", "program", 1.0)),
    ]
    assert store.ratings() == given
    assert [(one.kind, one.value, one.text, one.comment) for one in given] == [
        ("rating", 7, None, "fair"), ("tag", 1, "rude", None), ("comment", 1, None, "Hm."),
    ]  # fmt: skip
    assert [(one.annotator, one.source, one.confidence) for one in given] == [
        (None, "person", None), ("ann", "person", None), ("grader", "program", 1.0),
    ]  # fmt: skip
    assert store.opinions([reply]).get(reply, Opinion()) == Opinion()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda store, reply: store.points(reply, 11), "from 1 to 10 points"),
        (lambda store, reply: store.tag(reply, " "), "must not be empty"),
        (lambda store, reply: store.comment(reply, ""), "must not be empty"),
        (lambda store, reply: store.thumb(reply, 1, by=Rater(confidence=1.5)), "from 0 to 1"),
    ],
)
def test_invalid_ratings_are_refused(store: Store, act: Any, message: str) -> None:
    """Each is a one-sentence error, and nothing is stored."""
    [reply] = Generations(store).record([recorded()])
    with pytest.raises(UserError, match=message):
        act(store, reply)
    assert store.ratings() == []


def test_another_reply_is_a_signal_about_the_last_one(store: Store) -> None:
    """Each time that one is asked for; it is no rating."""
    said = store.say(store.new_conversation().id, "Hello")
    first, second, third = (store.reply(said.id, text, store.prompt(said.id), MADE).id for text in ("Hi", "Ho", "Hu"))
    found = store.signals([first, second, third])
    assert [(one.message_id, one.kind) for one in found] == [(first, "regenerated"), (second, "regenerated")]
    assert store.ratings() == []


def test_what_a_client_changed_is_a_signal(store: Store) -> None:
    """It continues with another text than the reply; the reply without its reasoning is the same text."""
    kept = Generations(store)
    first, second = kept.record([recorded("<think>\nHm.\n</think>\nHi"), recorded("Ho")])

    def continued(text: str, **extra: Any) -> None:
        turn = {"role": "assistant", "content": text, **extra}
        for _ in range(2):  # the same prompt again says nothing new
            kept.record([recorded("And?", prompt=[*SAID, turn, {"role": "user", "content": "Go on"}])])

    continued("Hi")
    continued("Ho ")
    continued("", tool_calls=[{"id": "c1"}])
    assert store.signals([first, second]) == []
    continued("Hi, dear")
    assert [(one.message_id, one.kind) for one in store.signals([first, second])] == [(second, "edited on")]
    unknown = [*SAID, {"role": "assistant", "content": "y"}, {"role": "user", "content": "z"}]
    kept.record([recorded("x", key="k9", prompt=unknown)])  # whose reply was not recorded


def test_an_objection_of_the_next_message_is_a_signal(store: Store) -> None:
    """About the reply that it follows in the tree; an ordinary message, or one that follows no reply, is none."""
    talk, replies = store.new_conversation().id, list[int]()
    for text in (
        "You are wrong.",
        "No, that is wrong.",
        "Was the fox red?",
        "No, that is wrong. It was.",
        "Thank you!",
    ):
        said = store.say(talk, text)
        if replies or text.endswith("?"):
            replies.append(store.reply(said.id, "It was grey.", store.prompt(said.id), MADE).id)
    found = store.signals(range(1, 20))
    assert [(one.message_id, one.kind, one.detail) for one in found] == [(replies[0], "complained", "that is wrong")]
    store.say(talk, "You misunderstood the question.")
    for text in ("That is wrong.", "That is incorrect."):
        revise(store, said.id, text)  # "Thank you!"
    assert [one.message_id for one in store.signals(range(1, 20))] == [replies[0], replies[2], replies[1]]
    assert store.ratings() == []


def test_an_objection_in_a_later_request_of_the_api_is_a_signal(store: Store) -> None:
    """Once, about the shown reply whose text the request repeats; without it, or to another text, it is none."""
    kept = Generations(store)
    first, shown, _ = kept.record([recorded("Grey"), recorded("Blue"), recorded("Blue", route="shadow")])
    objecting: list[dict[str, Any]] = [{"role": "user", "content": "No, that’s wrong."}]

    def continued(*turns: dict[str, Any], key: str = "k1") -> None:
        kept.record([recorded("And?", key=key, prompt=[*SAID, *turns])])

    blue = {"role": "assistant", "content": "Blue"}
    for _ in range(2):  # the same prompt again says nothing new
        continued(blue, *objecting)
    later = [{"role": "assistant", "content": "And?"}, {"role": "user", "content": "Thanks"}]
    continued(blue, *objecting, *later)
    continued({"role": "assistant", "content": "Green"}, *objecting)
    continued(blue, *objecting, key="of another conversation")
    found = store.signals(range(1, 20))
    assert [(one.message_id, one.kind, one.detail) for one in found] == [
        (shown, "complained", "that's wrong"),
        (shown, "edited on", None),
    ]
    assert first != shown
    [calling] = kept.record([recorded("<tool_call>", key="with tools")])
    called = {"role": "assistant", "content": "", "tool_calls": [{"id": "c1"}]}
    continued(called, {"role": "tool", "content": "that is wrong"}, key="with tools")
    assert store.signals([calling]) == [], "a tool is no user"


def test_an_objection_before_the_last_turn_is_a_signal(store: Store) -> None:
    """The client asks to continue a reply that it has begun, so the last turn of its prompt is no user's."""
    [reply] = Generations(store).record([recorded("Blue")])
    turns = [{"role": "assistant", "content": "Blue"}, {"role": "user", "content": "Wrong."}]
    Generations(store).record([recorded("sorry", prompt=[*SAID, *turns, {"role": "assistant", "content": "I am "}])])
    assert [(one.message_id, one.kind) for one in store.signals([reply])] == [(reply, "complained")]


def test_signals_are_about_replies(store: Store) -> None:
    """A copied message of the user's own is none."""
    said = store.say(store.new_conversation().id, "Hello")
    reply = store.reply(said.id, "Hi", store.prompt(said.id), MADE)
    store.note(reply.id, "copied")
    for wrong in (said.id, 999):
        with pytest.raises(UserError):
            store.note(wrong, "copied")
    assert [(one.message_id, one.kind) for one in store.signals([said.id, reply.id])] == [(reply.id, "copied")]
