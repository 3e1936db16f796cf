"""Samples of conversations, notes about them, and what is made of the notes."""

import runpy
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from scipy.stats import chisquare

from sayso.base.errors import UserError
from sayso.feedback.cases import FORBID, SAME, Case, cases_of
from sayso.feedback.categories import Categories, function_name
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.detectors.own import load_detectors
from sayso.feedback.drafts import draft_detector
from sayso.feedback.flags import Flags
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.lines import line_of
from sayso.feedback.nearness import cosine, middle, nearest_groups, side_by_side, vectors
from sayso.feedback.notes import Notes
from sayso.feedback.rates import rates_of
from sayso.feedback.samples import Filters, Samples
from sayso.feedback.store import Generation, MissingError, Store
from sayso.feedback.suggest import suggested
from sayso.feedback.tables import (
    candidates,
    categories,
    messages,
    migrations_table,
    notes,
    now,
    readings,
    sampled,
    samples,
)
from sayso.feedback.traces import Trace

TRACE = Trace(route="page", prompt_ids=[1], completion_ids=[2], logprobs=[-1.0])


def talk(store: Store, *turns: str, model: str = "tuned") -> list[int]:
    """Store a conversation of the page, questions and replies in turn; return the ids of the replies."""
    number, found = store.new_conversation().id, []
    for asked, reply in zip(turns[::2], turns[1::2], strict=False):
        question = store.say(number, asked)
        made = Generation(model, "f" * 12, {}, "stop", 3, 2, 0.1)
        found.append(store.reply(question.id, reply, store.prompt(question.id), made).id)
    if len(turns) % 2:
        store.say(number, turns[-1])
    return found


def recorded(store: Store, key: str, prompt: list[dict[str, str]], reply: str, model: str = "tuned") -> int:
    """Store a reply of the API."""
    made = Generation(model, "f" * 12, {}, "stop", 3, 2, 0.1)
    one = RecordedReply(conversation=key, prompt=prompt, content=reply, generation=made, trace=TRACE)
    return Generations(store).record([one])[0]


def drawn(store: Store, size: int = 100, seed: int = 1, **filters: Any) -> list[str]:
    """The titles of a sample's conversations, in the order of reading."""
    return [item.title for item in Samples(store).items(Samples(store).draw(Filters(**filters), size, seed).id)]


def test_a_seed_gives_the_same_sample_and_another_one_another(store: Store) -> None:
    """Without replacement, and never more than there are; the number drawn from is kept."""
    for number in range(30):
        talk(store, f"question {number}", "answer")
    first = drawn(store, 10, 3)
    assert len({*first}) == 10
    assert drawn(store, 10, 3) == first != drawn(store, 10, 4)
    assert sorted(drawn(store, 100)) == sorted(f"question {number}" for number in range(30))
    assert (Samples(store).listed()[1].matched, Samples(store).listed()[1].size) == (30, 10)


def test_each_conversation_is_drawn_as_often_as_another(tmp_path: Path) -> None:
    """Over 300 seeds, by a chi-squared test; so is each place in the order."""
    with closing(Store(tmp_path / "store.sqlite")) as store:
        for number in range(10):
            talk(store, f"question {number}", "answer")
        order = [drawn(store, 3, seed) for seed in range(300)]
    for seen in (Counter(title for titles in order for title in titles), Counter(titles[0] for titles in order)):
        assert len(seen) == 10
        assert chisquare([*seen.values()]).pvalue > 0.001


def test_filters_choose_the_conversations(store: Store) -> None:
    """By flags, by the latest thumb, by model and by day; one without a reply is never drawn."""
    _, [bad], [cured], [other] = (
        talk(store, "plain", "fine"), talk(store, "bad", ""), talk(store, "cured", "so"),
        talk(store, "other", "hm", model="base"),
    )  # fmt: skip
    talk(store, "unanswered")
    [*Flags(store).scan([DETECTORS["empty"], DETECTORS["loop"]])]
    for reply, values in ((bad, (1, -1)), (cured, (-1, 0)), (other, (-1,))):
        for value in values:
            store.thumb(reply, value)
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql(
            "UPDATE conversations SET updated_at = '2026-03-02T23:59:59.999' WHERE title = 'plain'"
        )
    assert {*drawn(store)} == {"plain", "bad", "cured", "other"}
    assert drawn(store, only="flagged") == drawn(store, detector="empty") == ["bad"]
    assert {*drawn(store, only="disliked")} == {"bad", "other"}
    assert drawn(store, model="base") == drawn(store, model="base", only="disliked") == ["other"]
    assert drawn(store, since="2026-03-02", until="2026-03-02") == drawn(store, until="2026-03-02") == ["plain"]
    assert {*drawn(store, since="2026-03-03")} == {"bad", "cured", "other"}
    assert Samples(store).choices() == (["base", "tuned"], ["empty"])
    for none in (Filters(detector="loop"), Filters(until="2026-03-01"), Filters(model="none")):
        with pytest.raises(UserError, match="No conversation with a reply matches"):
            Samples(store).draw(none, 1, 1)
    with pytest.raises(UserError, match="'since' must be a day such as 2026-01-31; got 'soon'"):
        Filters(since="soon")


def test_a_conversation_of_the_page_is_read_as_it_was_when_drawn(store: Store) -> None:
    """On its branch at that time, with what the user said to the last reply."""
    first, last = talk(store, "one", "1", "two", "2", "three")
    made = Generation("tuned", "f" * 12, {}, "stop", 3, 2, 0.1)
    asked = store.message(last).parent_id or 0
    store.reply(asked, "2b", store.prompt(asked), made)
    found = Samples(store).draw(Filters(), 1, 0)
    [item] = Samples(store).items(found.id)
    assert [*item.replies] == [first, last + 2]
    said = store.say(item.conversation_id, "four")
    store.reply(said.id, "4", store.prompt(said.id), made)
    [item] = Samples(store).items(found.id)
    with store.engine.begin() as connection:
        turns = line_of(connection, item.message_id)
    assert [turn.content for turn in turns] == ["one", "1", "two", "2b", "four"]


def test_a_conversation_of_the_api_is_read_along_its_last_prompt(store: Store) -> None:
    """With its recorded replies, also when their reasoning is omitted; others and shadows are no part of it."""
    user, assistant = ({"role": role, "content": ""} for role in ("user", "assistant"))
    one = [{"role": "system", "content": "Be kind."}, user | {"content": "a"}]
    first = recorded(store, "k", one, "<think>hm</think>A")
    two = [*one, assistant | {"content": "A"}, user | {"content": "b"}]
    second = recorded(store, "k", two, "B", model="base")
    three = [*two, assistant | {"content": "changed by the client"}, user | {"content": "c"}]
    last = recorded(store, "k", three, "C")
    shadow = recorded(store, "k", three, "C2", model="shadow")
    row = {"set_id": "s", "purpose": "shadow", "message_id": shadow, "policy": "p", "created_at": now()}
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(candidates.insert().values(row))
    [item] = Samples(store).items(Samples(store).draw(Filters(), 1, 0).id)
    assert (item.message_id, item.replies) == (last, {first: "tuned", last: "tuned"})
    with store.engine.begin() as connection:
        turns = line_of(connection, item.message_id)
    assert [(turn.role, turn.message_id) for turn in turns] == [
        ("system", None), ("user", None), ("assistant", first), ("user", None), ("assistant", None), ("user", None),
        ("assistant", last),
    ]  # fmt: skip
    assert turns[4].content == "changed by the client"
    assert second not in item.replies


def test_what_was_read_is_shared_and_kept(store: Store) -> None:
    """Once, by whoever was first; it can be taken back, and goes with the conversation."""
    for number in range(3):
        talk(store, f"question {number}", "answer")
    shared = Samples(store)
    found = shared.draw(Filters(), 3, 1)
    assert [shared.mark(found.id, 2, annotator=name).read for name in ("ann", "bob")] == [1, 1]
    assert [item.read for item in Samples(store).items(found.id)] == [False, True, False]
    assert shared.mark(found.id, 2, read=False).read == 0
    shared.mark(found.id, 1)
    store.delete(shared.item(found.id, 1).conversation_id)
    assert (shared.one(found.id).read, shared.one(found.id).size) == (0, 2)
    with pytest.raises(MissingError, match="Sample 1 has no conversation 1"):
        shared.mark(found.id, 1)
    shared.delete(found.id)
    with pytest.raises(MissingError, match="There is no sample 1"):
        shared.one(found.id)


def test_the_latest_state_of_a_note_counts(store: Store) -> None:
    """Its text, its category, or that it was removed; who wrote it first is kept, and no note goes with a category."""
    [reply] = talk(store, "hi", "ho")
    kept, kinds = Notes(store), Categories(store)
    rude = kinds.add("  Rude \n reply ", "It offends.")
    assert (rude.name, rude.definition) == ("Rude reply", "It offends.")
    note, other = kept.add(reply, "harsh", "ann"), kept.add(reply, "wrong")
    kept.change(note.id, "too harsh", "bob")
    kept.group([note.id, other.id], rude.id)
    kept.group([other.id], None)
    found = kept.listed()
    assert [(one.text, one.category_id, one.annotator) for one in found] == [
        ("too harsh", rude.id, "ann"), ("wrong", None, None),
    ]  # fmt: skip
    kept.remove(other.id)
    assert kept.of_replies([reply]) == found[:1]
    kinds.change(rude.id, "Harsh", "")
    assert [one.name for one in kinds.listed()] == ["Harsh"]
    kinds.remove(rude.id)
    assert [(one.text, one.category_id) for one in kept.listed()] == [("too harsh", None)]
    for act, message in (
        (lambda: kept.change(other.id, "x"), "There is no note 2"),
        (lambda: kept.group([note.id], 9), "There is no category 9"),
        (lambda: kept.add(reply - 1, "x"), "there is no reply 1"),
        (lambda: kept.add(reply, " "), "must not be empty"),
        (lambda: kinds.add(" "), "1 to 100 characters; got 0"),
    ):
        with pytest.raises(UserError, match=message):
            act()
    kinds.add("Twice")
    with pytest.raises(UserError, match="There is a category 'Twice' already"):
        kinds.add("Twice")


def test_grouping_an_unknown_note_changes_none(store: Store) -> None:
    [reply] = talk(store, "hi", "ho")
    note, kind = Notes(store).add(reply, "harsh"), Categories(store).add("Rude")
    with pytest.raises(MissingError, match="There is no note 99"):
        Notes(store).group([note.id, 99], kind.id)
    assert Notes(store).listed() == [note]


def test_a_rate_is_of_the_conversations_that_were_read(store: Store) -> None:
    """Each once, however many notes it has; a model's of those it replied in, for notes about its own replies."""
    places = {reply: None for number in range(4) for reply in talk(store, f"q{number}", "a", "more", "b")}
    mixed = talk(store, "mixed", "a")
    said, made = (
        store.say(store.message(mixed[0]).conversation_id, "x"),
        Generation("base", "f" * 12, {}, "stop", 1, 1, 0.1),
    )
    base = store.reply(said.id, "y", store.prompt(said.id), made).id
    sample, kept = Samples(store).draw(Filters(), 9, 1), Notes(store)
    kind, empty = Categories(store).add("Rude"), Categories(store).add("Never")
    first, second, *_, last = places
    noted = [kept.add(reply, "n").id for reply in (first, second, base, last)]
    kept.group(noted, kind.id)
    kept.add(first, "something else")
    position = {reply: item.position for item in Samples(store).items(sample.id) for reply in item.replies}
    for reply in {position[one]: one for one in position if one != last and position[one] != position[last]}.values():
        Samples(store).mark(sample.id, position[reply])
    any_note, loose, each = rates_of(store, sample.id)
    shown = {rates.category.name if rates.category else "": rates for rates in each}
    assert [(share.count, share.of) for share in (any_note.whole, loose.whole, shown["Rude"].whole)] == [
        (2, 4), (1, 4), (2, 4),
    ]  # fmt: skip
    assert {name: (share.count, share.of) for name, share in shown["Rude"].models.items()} == {
        "base": (1, 1), "tuned": (1, 4),
    }  # fmt: skip
    never = shown["Never"].whole
    assert (never.count, never.low, round(never.high, 4)) == (0, 0.0, 0.4899)  # Wilson's, for 0 of 4
    assert empty.id not in {one.category_id for one in kept.listed()}


def test_weights_of_words_are_those_of_scikit_learn(store: Store) -> None:
    """And so is the nearness of each pair."""
    text = pytest.importorskip("sklearn.feature_extraction.text", reason="scikit-learn is not installed")
    said = [
        "It invents a price",
        "invents the name of a price list, a Price!",
        "Too rude",
        "",
        "très é rude_x 42",
        "rude",
    ]
    found, reference = vectors(said), text.TfidfVectorizer().fit(said)
    wanted = reference.transform(said).toarray()
    names = reference.get_feature_names_out()
    for row, vector in zip(wanted, found, strict=True):
        assert {**vector} == pytest.approx({name: value for name, value in zip(names, row, strict=True) if value})
    for i, one in enumerate(found):
        assert [cosine(one, other) for other in found] == pytest.approx(wanted @ wanted[i])


def test_notes_are_suggested_the_category_nearest_to_their_words() -> None:
    """A category is the middle of its notes; without a common word, none is suggested; similar notes are neighbours."""
    found = vectors(["rude tone", "wrong price", "rude words", "price is wrong", "nothing"])
    groups = {7: middle([found[0]]), 8: middle([found[1]])}
    assert [group for group, _ in nearest_groups(found[2], groups)] == [7]
    assert [group for group, _ in nearest_groups(found[3], groups)] == [8]
    assert nearest_groups(found[4], groups) == []
    assert side_by_side(found)[:4] == [0, 2, 1, 3]
    assert sorted(side_by_side(found)) == [0, 1, 2, 3, 4]
    assert side_by_side([]) == []
    assert side_by_side(vectors(["a word"] * 400)) == [*range(400)]


def test_a_category_is_known_by_its_notes_and_its_definition(store: Store) -> None:
    """The words of either lead to it."""
    [reply] = talk(store, "hi", "ho")
    kinds, kept = Categories(store), Notes(store)
    kinds.add("Format", "wrong markdown, tables or lists")
    named = kinds.add("Money", "invents prices")
    note = kept.add(reply, "invents the fee")
    [found] = suggested([note], [], kinds.listed())
    assert (found.note, [group for group, _ in found.near]) == (note, [named.id])
    fee, other = (kept.add(reply, text) for text in ("a fee of nobody", "one more fee"))
    [grouped] = kept.group([fee.id], named.id)
    [found] = suggested([other], [grouped], kinds.listed())
    assert [group for group, _ in found.near] == [named.id]


def test_noted_replies_become_evaluation_cases(store: Store) -> None:
    """Each once, checked as it was said; retired ones are asked no more, and raw prompts are none."""
    [reply] = talk(store, "Who?", "It was  Me.")
    raw = recorded(store, "r", [{"role": "text", "content": "Once"}], " upon")
    kept, kind = Notes(store), Categories(store).add("Says me!")
    numbers = [kept.add(one, "n").id for one in (reply, reply, raw)]
    assert kept.make_cases(numbers) == kept.make_cases(numbers[:1], SAME) == 1
    [case] = cases_of(store)
    assert (case.detector, case.prompt, case.reply) == (SAME, [{"role": "user", "content": "Who?"}], "It was  Me.")
    assert [case.is_bad(text, "stop", {}) for text in ("it was me", "It was Me!", "It was you.")] == [True, True, False]
    assert [note.case for note in kept.listed()] == ["open", "open", None]
    kept.retire_cases(numbers)
    assert cases_of(store) == []
    kept.make_cases(numbers[:1], FORBID, "me")
    kept.make_cases(numbers[:1], "empty")
    kept.group(numbers[:1], kind.id)
    kept.make_cases(numbers[:1], "says_me")
    assert [one.detector for one in cases_of(store)] == [FORBID, "empty", "says_me"]
    assert Case(1, "says_me", [], "x", "open").is_bad("x", "stop", {}) is None
    for check, forbid in (("unknown", None), (FORBID, None), (SAME, "x")):
        with pytest.raises(UserError, match=r"checked by|is given with"):
            kept.make_cases(numbers[:1], check, forbid)


HOSTILE = 'Names "a" price\n"""; import os\\\n\x0c\u2028#{x}'


@pytest.fixture
def categorized(store: Store) -> tuple[Store, int, int]:
    """A store with a sample that was read and a category with two of its replies."""
    texts = ["It costs $5, surely", "That costs $7, surely", "I cannot say", "Ask the baker"]
    replies = [talk(store, f'{number} """ {{x}}', text)[0] for number, text in enumerate(texts)]
    sample, kind = Samples(store).draw(Filters(), 9, 1), Categories(store).add(HOSTILE, "No price is known.\n'''")
    for place in range(1, 5):
        Samples(store).mark(sample.id, place)
    noted = [
        Notes(store).add(reply, f"{text}: invented\r\n# '''").id
        for reply, text in zip(replies[:2], texts, strict=False)
    ]
    Notes(store).group(noted, kind.id)
    return store, sample.id, kind.id


def test_a_draft_of_a_detector_finds_its_examples(categorized: tuple[Store, int, int], tmp_path: Path) -> None:
    """It is loaded like any other detector, and measures itself, whatever people wrote."""
    draft = draft_detector(*categorized, kind="python")
    path = tmp_path / draft.name
    path.write_text(draft.text, encoding="utf-8")
    name = draft.name.removesuffix(".py")
    assert name == function_name(HOSTILE) == "names_a_price_import_os_x"
    [detector] = load_detectors([f"{path}:{name}"])
    examples = runpy.run_path(str(path))["EXAMPLES"]
    assert [(one["wrong"], one["reply"]) for one in examples[:2]] == [
        (True, "It costs $5, surely"),
        (True, "That costs $7, surely"),
    ]
    assert [one["wrong"] for one in examples[2:]] == [False, False]
    from sayso.feedback.detectors.detector import Reply

    assert [detector.found(Reply(one["reply"])) is not None for one in examples] == [True, True, False, False]
    said = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True).stdout
    assert "4 examples, 2 of them wrong\nprecision 1.00 (0.34 to 1.00), 2 of 2\nrecall    1.00" in said


def test_a_draft_of_a_question_is_loaded_as_a_judge(categorized: tuple[Store, int, int], tmp_path: Path) -> None:
    """The question is one line that has the category and the notes."""
    draft = draft_detector(*categorized, kind="judge")
    path = tmp_path / draft.name
    path.write_text(draft.text, encoding="utf-8")
    made = runpy.run_path(str(path))
    assert made["QUESTION"].startswith('Does the reply have the problem "Names "a" price """; import os')
    assert "It costs $5, surely: invented # '''" in made["QUESTION"]
    assert len(made["QUESTION"].splitlines()) == 1
    assert len(made["EXAMPLES"]) == 4


def test_a_category_without_a_note_has_no_draft(categorized: tuple[Store, int, int]) -> None:
    store, sample, _ = categorized
    with pytest.raises(UserError, match="No note of this sample is in 'Empty'"):
        draft_detector(store, sample, Categories(store).add("Empty").id, "python")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("Invents facts", "invents_facts"), ("2 rude", "has_2_rude"), ("class", "has_class"), ("loop", "has_loop"),
     ("!?", "has_problem"), ("Große Lüge", "groe_luge"), ("x" * 99, "x" * 60)],
)  # fmt: skip
def test_a_category_has_a_function_name(name: str, wanted: str) -> None:
    """Which is a name in Python, and of no detector of ours."""
    assert function_name(name) == wanted


def test_an_older_store_gets_the_tables(store: Store, store_address: str) -> None:
    """With the columns and indexes of a new one."""
    [reply] = talk(store, "hi", "ho")

    def shape() -> dict[str, Any]:
        found = sql.inspect(store.engine)
        return {
            name: ({(one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(name)},
                   {(one["name"], one["unique"]) for one in found.get_indexes(name)})
            for name in found.get_table_names()
        }  # fmt: skip

    wanted = shape()
    with store.engine.execution_options(writes=True).begin() as connection:
        for table in (notes, categories, readings, sampled, samples):
            table.drop(connection)
        last = migrations_table.c.name == "samples, notes, categories"
        assert connection.execute(migrations_table.delete().where(last)).rowcount == 1
    assert shape() != wanted
    with closing(Store(store_address)) as new:
        assert shape() == wanted
        assert Notes(new).add(reply, "fine").id == 1
        with new.engine.begin() as connection:
            assert connection.scalar(sql.select(sql.func.count()).select_from(messages)) == 2
