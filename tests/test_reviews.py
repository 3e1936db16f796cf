"""The queue of reviews: what gets into it, who gets what when, and that every verdict reaches the training data."""

import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.feedback import reviews as module
from sayso.feedback.candidates import Candidate, Candidates
from sayso.feedback.forget import forget_user
from sayso.feedback.gather import gather
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.guidelines import Guidelines, read_guidelines, write_guidelines
from sayso.feedback.queue import GivenReply, add_pairs, add_prompts, fill_queue
from sayso.feedback.review_results import agreement, model_results, people, queue_counts, review_rows
from sayso.feedback.reviews import Remarks, Reviews, Task
from sayso.feedback.store import Generation, Store
from sayso.feedback.tables import messages, queue, ratings, reviews
from sayso.feedback.traces import Trace
from sayso.run.store import AddPrompts
from sayso.run.store import add_prompts as add_prompts_of

ASKED = [{"role": "user", "content": "Why is the sky blue?"}]
MADE = Generation("tuned", "0" * 12, {}, "stop", 3, 2, 0.1)


def rows(store: Store, table: sql.Table) -> list[Any]:
    with store.engine.begin() as connection:
        return list(connection.execute(table.select().order_by(table.c.id)).mappings())


def listed(store: Store, count: int, name: str = "list") -> None:
    """Add pairs of replies by two models, `good` and `bad`."""
    pairs = [
        ([{"role": "user", "content": f"{name} {i}"}], GivenReply("good", f"yes {i}"), GivenReply("bad", f"no {i}"))
        for i in range(count)
    ]
    assert add_pairs(store, name, pairs) == count


def took(task: Task | None) -> Task:
    assert task is not None
    return task


def side_of(task: Task, word: str) -> Any:
    """The side on which the reply that begins with a word is shown."""
    return "left" if task.replies[0].startswith(word) else "right"


def choose(store: Store, who: str, word: str | None = "yes", origin: str | None = None) -> Task | None:
    """Take the next pair and choose the reply that begins with a word."""
    task = Reviews(store).take(who, "compare", origin)
    if task is not None:
        Reviews(store).compare(who, task.review, word and side_of(task, word))
    return task


def regenerated(store: Store, *replies: str) -> list[int]:
    """Ask a question of the page and get several replies to it."""
    said = store.say(store.new_conversation().id, "Hello")
    return [store.reply(said.id, text, store.prompt(said.id), MADE).id for text in replies]


def test_regenerated_replies_and_candidate_sets_get_into_the_queue(store: Store) -> None:
    """Each pair once, whenever it came; equal replies, raw prompts and prompts with tools do not."""
    first, second, third = regenerated(store, "Hi", "Ho", "Hey")
    regenerated(store, "So", "So")
    trace = Trace(route="/v1/chat/completions", prompt_ids=[], completion_ids=[], logprobs=[])
    for key, turns in (
        ("x", [{"role": "text", "content": "Once"}]),
        ("y", [{"role": "tools", "content": "[]"}, *ASKED]),
    ):
        record = [
            RecordedReply(conversation=key, prompt=turns, content=text, generation=MADE, trace=trace) for text in "ab"
        ]
        Candidates(store).add("shadow", [*map(Candidate, "ab", Generations(store).record(record))])
    Candidates(store).add("shadow", [Candidate("stable", first), Candidate("next", third)])
    marks = fill_queue(store)
    wanted = [("shadow", first, third), ("regenerated", first, second), ("regenerated", second, third)]
    assert [(row["origin"], row["first_id"], row["second_id"]) for row in rows(store, queue)] == wanted
    last, later = regenerated(store, "A", "B")
    for after in (marks, None, marks):
        fill_queue(store, after)
    assert [(row["first_id"], row["second_id"]) for row in rows(store, queue)[3:]] == [(last, later)]


def test_two_people_never_hold_the_same_pair(store: Store) -> None:
    """At once, from several threads; and each gets the own one again, on the same sides."""
    listed(store, 6)
    held: dict[str, Task] = {}

    def take(who: str) -> None:
        held[who] = took(Reviews(store).take(who, "compare"))

    threads = [threading.Thread(target=take, args=(f"person {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({task.prompt[0]["content"] for task in held.values()}) == 6
    assert Reviews(store).take("late", "compare") is None
    assert {who: Reviews(store).take(who, "compare") for who in held} == held
    for who, task in held.items():
        Reviews(store).compare(who, task.review, None)
    assert len(store.ratings()) == 6


def test_an_expired_hold_passes_an_item_on_and_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next person gets it, and the verdict of the slow one counts, too."""
    listed(store, 1)
    monkeypatch.setattr(module, "HOLD", -module.HOLD)
    slow = took(Reviews(store).take("ann", "compare"))
    quick = took(Reviews(store).take("bob", "compare"))
    assert quick.prompt == slow.prompt
    Reviews(store).compare("bob", quick.review, side_of(quick, "yes"))
    assert took(Reviews(store).take("ann", "compare")) == slow
    Reviews(store).compare("ann", slow.review, side_of(slow, "yes"))
    assert [(one.annotator, one.snapshot["reply"]) for one in store.ratings()] == [("bob", "yes 0"), ("ann", "yes 0")]
    with pytest.raises(UserError, match="finished this item already"):
        Reviews(store).compare("ann", slow.review, None)
    with pytest.raises(UserError, match="not yours"):
        Reviews(store).compare("bob", slow.review, None)


def test_sides_are_shuffled(store: Store) -> None:
    """Both replies of a pair are shown on the left about equally often."""
    listed(store, 60)
    left = sum(side_of(took(choose(store, "ann")), "yes") == "left" for _ in range(60))
    assert 15 < left < 45  # by chance once in 50,000 times not
    chosen = [(one.snapshot["model"], one.snapshot["position"]) for one in store.ratings()]
    assert chosen.count(("good", "left")) == left
    assert chosen.count(("good", "right")) == 60 - left


def test_each_pair_gets_as_many_reviews_as_it_needs(store: Store) -> None:
    """Two by default; by different people; a pair without a majority gets up to two more."""
    listed(store, 2)
    assert [bool(choose(store, who)) for who in ("ann", "ann", "ann")] == [True, True, False]
    disputed = took(Reviews(store).take("bob", "compare"))
    Reviews(store).compare("bob", disputed.review, side_of(disputed, "no"))
    assert took(choose(store, "cat")).prompt == disputed.prompt  # before the other one, which was begun
    assert took(choose(store, "cat")).prompt != disputed.prompt
    assert choose(store, "dan") is None
    write_guidelines(store, Guidelines(reviews=3))
    assert choose(store, "dan") is not None
    assert choose(store, "dan") is None
    assert [row["finished"] for row in queue_counts(store)] == [2]


def test_a_choice_is_gathered_with_its_annotator(store: Store) -> None:
    """With the person's name; without changing which reply the conversation goes on with."""
    regenerated(store, "yes", "no")
    fill_queue(store)
    head = store.branch(1)[-1].content
    task = took(Reviews(store).take("ann", "compare"))
    left, right = task.replies
    tags: Any = {f"{side_of(task, 'no')}_tags": ["rude", "off <topic>"]}
    remarks = Remarks(("clearer", "safer"), comment="so", **tags)
    made = Reviews(store).compare("ann", task.review, side_of(task, "yes"), remarks)
    assert made == {"left": "tuned", "right": "tuned"}
    [choice, *marks] = store.ratings()
    assert (choice.kind, choice.value, choice.annotator, choice.source) == ("choice", 1, "ann", "person")
    assert (choice.text, choice.comment) == ("clearer\nsafer", "so")
    assert [(one.kind, one.text, one.snapshot["reply"]) for one in marks] == [
        ("tag", "rude", "no"), ("tag", "off <topic>", "no"),
    ]  # fmt: skip
    [pair] = gather(store.ratings()).pairs
    assert (pair["chosen"], pair["rejected"]) == ("yes", "no")
    assert store.branch(1)[-1].content == head == "no"
    [row] = review_rows(store)
    assert (row["chosen"], row["chosen_side"], row["annotator"]) == ("yes", side_of(task, "yes"), "ann")
    assert (row["reasons"], row["rejected_tags"], row["chosen_tags"]) == (
        ["clearer", "safer"],
        ["rude", "off <topic>"],
        [],
    )
    assert {left, right} == {"yes", "no"}


def test_undo_withdraws_step_by_step(store: Store) -> None:
    """The choice with its tags; then the skip before it; what was held goes back to the queue."""
    listed(store, 3)
    own = Reviews(store)
    skipped = took(own.take("ann", "compare"))
    own.skip("ann", skipped.review)
    chosen = took(own.take("ann", "compare"))
    own.compare("ann", chosen.review, "left", Remarks((), ["rude"]))
    own.take("ann", "compare")
    assert own.undo("ann", "compare") == chosen
    assert store.ratings() == []
    assert [row["state"] for row in rows(store, reviews)] == ["skipped", "held"]
    assert own.undo("ann", "compare") == skipped
    assert own.undo("ann", "compare") is None
    own.compare("ann", skipped.review, None)
    [tie] = store.ratings()
    assert (tie.kind, tie.value) == ("choice", 0)
    assert own.undo("bob", "compare") is None


def test_a_list_is_added_once_and_can_be_worked_on_alone(store: Store) -> None:
    """The same file again adds nothing; changing the list passes on what was held."""
    listed(store, 2, "one")
    before = len(rows(store, messages))
    pair = ([{"role": "user", "content": "one 0"}], GivenReply("good", "yes 0"), GivenReply("bad", "no 0"))
    assert add_pairs(store, "one", [pair, (ASKED, GivenReply("good", "same"), GivenReply("bad", " same"))]) == 0
    assert len(rows(store, messages)) == before
    listed(store, 1, "two")
    first = took(Reviews(store).take("ann", "compare"))
    assert first.origin == "one"
    second = took(Reviews(store).take("ann", "compare", "two"))
    assert second.origin == "two"
    assert took(Reviews(store).take("bob", "compare")).prompt == first.prompt
    for name in ("", " ", "shadow", "x" * 61, "a\0"):
        with pytest.raises(UserError, match="A list has a name"):
            add_prompts(store, name, [ASKED])


def test_a_file_of_prompts_is_a_list_to_write_to(tmp_path: Path) -> None:
    """It has the file's name unless told otherwise; the same file again adds nothing; a bad row adds nothing at all."""
    file, life = tmp_path / "lore.jsonl", tmp_path / "life"
    talk = [{"role": "system", "content": "Be brief."}, *ASKED]
    write_jsonl(file, [{"prompt": "Why is the sky blue?"}, {"prompt": talk}])
    assert [add_prompts_of(AddPrompts(file, life=life)) for _ in range(2)] == [2, 0]
    assert add_prompts_of(AddPrompts(file, name="other", life=life)) == 2
    store = Store(Life(life).store)
    task = took(Reviews(store).take("ann", "write", "lore"))
    assert task.prompt == [{"role": "user", "content": "Why is the sky blue?"}]
    assert took(Reviews(store).take("bob", "write", "lore")).prompt == talk
    for bad in ([{"role": "system", "content": "Be brief."}], [{"role": "tool", "content": "4"}, *ASKED], " "):
        write_jsonl(file, [{"prompt": "Why?"}, {"prompt": bad}])
        with pytest.raises(UserError, match=r"lore\.jsonl:2"):
            add_prompts_of(AddPrompts(file, life=life))
    assert len(rows(store, queue)) == 4
    store.close()


def written(store: Store, text: str = "It *scatters* light.") -> Task:
    """Let ann write a reply and bob take it to check."""
    add_prompts(store, "list", [ASKED])
    task = took(Reviews(store).take("ann", "write"))
    assert (task.prompt, task.replies) == (ASKED, ())
    Reviews(store).write("ann", task.review, text)
    assert Reviews(store).take("ann", "check") is None  # a second person does that
    check = took(Reviews(store).take("bob", "check"))
    assert (check.prompt, check.replies) == (ASKED, (text,))
    return check


def test_an_accepted_reply_is_trained_on(store: Store) -> None:
    """Not before it is accepted."""
    check = written(store)
    assert gather(store.ratings()).conversations == []
    Reviews(store).check("bob", check.review, "accept")
    [row] = gather(store.ratings()).conversations
    assert row["messages"] == [*ASKED, {"role": "assistant", "content": "It *scatters* light."}]
    [told] = review_rows(store)
    assert (told["verdict"], told["annotator"], told["checked_by"]) == ("accepted", "ann", "bob")
    assert Reviews(store).take("cat", "write") is None
    assert Reviews(store).take("cat", "check") is None


def test_a_corrected_reply_is_trained_on_in_its_corrected_form(store: Store) -> None:
    """And the correction is preferred to what was written."""
    check = written(store)
    Reviews(store).check("bob", check.review, "correct", "Blue light scatters most.", "no verb")
    made = gather(store.ratings())
    assert [row["messages"][-1]["content"] for row in made.conversations] == ["Blue light scatters most."]
    assert [(row["chosen"], row["rejected"]) for row in made.pairs] == [
        ("Blue light scatters most.", "It *scatters* light.")
    ]
    [told] = review_rows(store)
    assert (told["verdict"], told["reply"], told["written"]) == (
        "corrected", "Blue light scatters most.", "It *scatters* light.",
    )  # fmt: skip
    undone = took(Reviews(store).undo("bob", "check"))
    assert undone.draft == "Blue light scatters most."
    assert store.ratings() == []


def test_a_rejected_reply_is_written_again_by_another_person(store: Store) -> None:
    """And is not trained on."""
    check = written(store)
    Reviews(store).check("bob", check.review, "reject", comment="no")
    assert gather(store.ratings()).conversations == []
    assert Reviews(store).take("ann", "write") is None
    again = took(Reviews(store).take("bob", "write"))
    Reviews(store).write("bob", again.review, "Rayleigh scattering.")
    assert took(Reviews(store).take("ann", "check")).replies == ("Rayleigh scattering.",)


def test_what_was_written_can_be_undone_until_it_is_checked(store: Store) -> None:
    """The text comes back as a draft; what another person checks stays."""
    check = written(store)
    with pytest.raises(UserError, match="Another person reviews this reply"):
        Reviews(store).undo("ann", "write")
    Reviews(store).skip("bob", check.review)
    undone = took(Reviews(store).undo("ann", "write"))
    assert (undone.act, undone.draft) == ("write", "It *scatters* light.")
    assert rows(store, messages) == []
    Reviews(store).write("ann", undone.review, "Better.")
    with pytest.raises(UserError, match="must not be empty"):
        Reviews(store).write("ann", undone.review, " ")
    assert took(Reviews(store).take("cat", "check")).replies == ("Better.",)


def test_late_writers_lose_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written after the hold was over is checked like that of the person who came next."""
    add_prompts(store, "list", [ASKED])
    monkeypatch.setattr(module, "HOLD", -module.HOLD)
    slow, quick = (took(Reviews(store).take(who, "write")) for who in ("ann", "bob"))
    Reviews(store).write("bob", quick.review, "bob's")
    Reviews(store).write("ann", slow.review, "ann's")
    replies = set()
    for who in ("cat", "dan"):
        check = took(Reviews(store).take(who, "check"))
        Reviews(store).check(who, check.review, "accept")
        replies |= {*check.replies}
    assert replies == {"ann's", "bob's"}


def test_results_count_wins_people_and_agreement(store: Store) -> None:
    """Of three people who agree on all but one of twelve pairs."""
    listed(store, 12)
    write_guidelines(store, Guidelines(reviews=3))
    for number in range(12):
        for who in ("ann", "bob", "cat"):
            choose(store, who, "no" if who == "cat" and number == 5 else "yes")
    [one] = model_results(store)
    assert (one["first"], one["second"], one["wins"], one["ties"], one["losses"]) == ("bad", "good", 1, 0, 35)
    assert one["rate"] == pytest.approx(1 / 36)
    assert one["low"] < one["rate"] < one["high"]
    assert [(row["annotator"], row["compare"]) for row in people(store)] == [("ann", 12), ("bob", 12), ("cat", 12)]
    found = agreement(store)
    assert found.n == 12
    assert 0.8 < found.mean < 1
    assert found.low < found.mean <= found.high
    assert len([*review_rows(store)]) == 36


def test_a_reviewer_is_forgotten(store: Store) -> None:
    """Their reviews and ratings, what they wrote with its prompt, and their name below the guidelines."""
    written(store, "by ann")
    listed(store, 1)
    for who in ("ann", "bob"):
        choose(store, who)
    write_guidelines(store, Guidelines("Be kind."), "ann")
    gone = forget_user(store, "ann")
    assert gone.counts == {
        "conversations": 1, "messages": 1, "turns": 1, "ratings": 1, "generations": 1, "queue": 1, "reviews": 3,
    }  # fmt: skip
    for table in (messages, ratings, reviews, queue):
        assert "'ann'" not in str(rows(store, table))
    assert [one.annotator for one in store.ratings()] == ["bob"]
    assert read_guidelines(store).text == "Be kind."


def test_guidelines_are_kept_and_checked(store: Store) -> None:
    """The latest count; wrong ones are refused with a reason."""
    assert read_guidelines(store) == Guidelines()
    new = Guidelines("Be *kind*.", 5, ("kinder",), ())
    write_guidelines(store, Guidelines("Be short."))
    write_guidelines(store, new, "ann")
    assert read_guidelines(store) == new
    bad: list[dict[str, Any]] = [
        {"text": " "}, {"reviews": 0}, {"reviews": 21}, {"tags": ("a", "a")}, {"reasons": ("a\nb",)},
        {"tags": ("x" * 61,)},
        {"reasons": tuple(map(str, range(21)))},
    ]  # fmt: skip
    for wrong in bad:
        with pytest.raises(UserError):
            Guidelines(**wrong)


def test_a_store_without_a_queue_is_migrated(store: Store, store_address: str) -> None:
    """It then has the queue's tables, and can be rated."""
    with store.engine.execution_options(writes=True).begin() as connection:
        for table in ("reviews", "queue", "guidelines"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("DELETE FROM migrations WHERE name = 'the queue of reviews'")
    with closing(Store(store_address)) as new:
        listed(new, 1)
        assert choose(new, "ann") is not None
