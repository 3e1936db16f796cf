"""The store of conversations and ratings, and the training data gathered from it."""

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.base.life import Life
from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.database import StoreError
from sayso.feedback.gather import gather, gather_store, summary
from sayso.feedback.migrations import MIGRATIONS
from sayso.feedback.ratings import Opinion, Rating
from sayso.feedback.store import Generation, MissingError, Store
from sayso.feedback.tables import metadata
from sayso.run.gather import Gather
from sayso.run.gather import gather as gather_act

MADE = Generation("tuned", "0123456789ab", {"temperature": 0.8}, "stop", 5, 3, 0.1)


def ask(store: Store, text: str, *replies: str, conversation: int | None = None, finish: str = "stop") -> list[int]:
    """Add a message and each of the replies to it; return the replies' ids."""
    conversation = conversation or store.new_conversation().id
    message = store.say(conversation, text)
    made = Generation(**{**MADE.__dict__, "finish": finish})
    return [store.reply(message.id, reply, store.prompt(message.id), made).id for reply in replies]


def test_a_conversation_round_trips(store: Store) -> None:
    """Turns, their order, how the reply was generated, and a title from the first words."""
    talk = store.new_conversation()
    assert store.branch(talk.id) == []
    assert store.conversations() == []
    message = store.say(talk.id, "Where is\n the cat? " + "x" * 80)
    reply = store.reply(message.id, "In the barn. 🐈", store.prompt(message.id), MADE)
    assert [turn.role for turn in store.branch(talk.id)] == ["user", "assistant"]
    assert store.message(reply.id) == reply
    assert reply.generation == MADE
    assert reply.prompt == [{"role": "user", "content": message.content}]
    [listed] = store.conversations()
    assert listed.title.startswith("Where is the cat? xxx")
    assert len(listed.title) == 60


def test_opening_and_writing_log_nothing(store_address: str, caplog: pytest.LogCaptureFixture) -> None:
    """No driver has anything to say about each connection."""
    with closing(Store(store_address)) as store:
        ask(store, "Hello", "Hi")
    assert caplog.records == []


def test_unstorable_characters_are_replaced(store: Store) -> None:
    """A NUL or half of a surrogate pair becomes U+FFFD."""
    [reply] = ask(store, "Hello\x00", "Hi\ud800")
    assert store.message(reply).content == "Hi\ufffd"
    assert store.message(reply).prompt == [{"role": "user", "content": "Hello\ufffd"}]


def test_regenerated_replies_are_siblings_and_the_chosen_one_is_current(store: Store) -> None:
    """No reply is lost, and the conversation continues from the chosen one."""
    talk = store.new_conversation()
    first, second = ask(store, "Hello", "Hi", "Ho", conversation=talk.id)
    assert [turn.content for turn in store.branch(talk.id)] == ["Hello", "Ho"]
    rating = store.choose(first, second, position="left")
    assert [turn.content for turn in store.branch(talk.id)] == ["Hello", "Hi"]
    assert rating.snapshot["rejected"]["reply"] == "Ho"
    assert rating.snapshot["position"] == "left"
    [third] = ask(store, "And?", "So.", conversation=talk.id)
    assert [turn["content"] for turn in store.message(third).prompt or []] == ["Hello", "Hi", "And?"]


def test_later_prompts_have_the_edited_reply(store: Store) -> None:
    """Removing the edit restores the original."""
    talk = store.new_conversation()
    [reply] = ask(store, "Two and two?", "Five.", conversation=talk.id)
    store.edit(reply, "Four.")
    assert store.opinions([reply]) == {reply: Opinion(0, "Four.")}
    message = store.say(talk.id, "Sure?")
    assert [turn["content"] for turn in store.prompt(message.id)] == ["Two and two?", "Four.", "Sure?"]
    store.edit(reply, "Five.")
    assert store.opinions([reply])[reply].edit is None


def test_a_rating_keeps_its_snapshot(store: Store) -> None:
    """A later edit of an earlier turn does not change it."""
    talk = store.new_conversation()
    [first] = ask(store, "Hello", "Hi", conversation=talk.id)
    [second] = ask(store, "And?", "So.", conversation=talk.id)
    store.thumb(second, 1, comment="short and good")
    store.edit(first, "Good day")
    [rating, _] = store.ratings()
    assert [turn["content"] for turn in rating.snapshot["prompt"]] == ["Hello", "Hi", "And?"]
    assert rating.comment == "short and good"
    assert rating.snapshot["model"] == "tuned"


def test_deleting_a_conversation_deletes_its_messages_and_ratings(store: Store) -> None:
    """Its id is never reused."""
    talk = store.new_conversation()
    first, second = ask(store, "Hello", "Hi", "Ho", conversation=talk.id)
    store.choose(first, second)
    store.delete(talk.id)
    assert store.ratings() == []
    assert store.conversations() == []
    assert store.new_conversation().id > talk.id
    with pytest.raises(UserError, match="no message"):
        store.message(first)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda store, user, reply, other: store.thumb(user, 1), "Only replies"),
        (lambda store, user, reply, other: store.thumb(reply, 2), "up"),
        (lambda store, user, reply, other: store.edit(reply, "  "), "empty"),
        (lambda store, user, reply, other: store.choose(reply, reply), "two different replies"),
        (lambda store, user, reply, other: store.choose(reply, other), "same message"),
        (lambda store, user, reply, other: store.thumb(999, 1), "no message 999"),
        (lambda store, user, reply, other: store.prompt(reply), "itself a reply"),
        (lambda store, user, reply, other: store.say(999, "Hello"), "no conversation 999"),
        (lambda store, user, reply, other: store.delete(999), "no conversation 999"),
    ],
)
def test_invalid_ratings_are_refused(store: Store, act, message: str) -> None:  # type: ignore[no-untyped-def]
    """Each is a one-sentence error, and nothing is stored."""
    [reply], [other] = ask(store, "Hello", "Hi"), ask(store, "Good day", "Hi")
    with pytest.raises(UserError, match=message):
        act(store, (store.message(reply).parent_id or 0), reply, other)
    assert store.ratings() == []


def test_threads_can_write_concurrently(store: Store) -> None:
    """Eight threads that rate at the same time lose no rating."""
    [reply] = ask(store, "Hello", "Hi")
    failed: list[Exception] = []

    def rate() -> None:
        try:
            for _ in range(5):
                store.thumb(reply, 1)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=rate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert store.count_ratings() == len(store.ratings()) == 40


def test_an_older_store_is_migrated_and_a_newer_one_refused(tmp_path: Path) -> None:
    """Missing migrations run once and keep the rows; an unknown one is an error."""
    path = tmp_path / "store.sqlite"
    old = Store(path)
    ask(old, "Hello", "Hi")
    old.close()
    runs: list[str] = []

    def add_mood(connection: sql.Connection) -> None:
        runs.append("mood")
        connection.exec_driver_sql("ALTER TABLE messages ADD COLUMN mood TEXT")

    for _ in range(2):
        new = Store(path, (*MIGRATIONS, ("mood", add_mood)))
        with new.engine.begin() as connection:
            assert connection.exec_driver_sql("SELECT content, mood FROM messages").all() == [
                ("Hello", None),
                ("Hi", None),
            ]
        new.close()
    assert runs == ["mood"]
    with pytest.raises(UserError, match=r"newer version of sayso \(it has 'mood'\)"):
        Store(path)


def test_a_failed_migration_is_rolled_back(tmp_path: Path) -> None:
    """A migration is one transaction."""

    def break_down(connection: sql.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE half (id INTEGER)")
        raise RuntimeError("broke down")

    path = tmp_path / "store.sqlite"
    Store(path).close()
    with pytest.raises(RuntimeError, match="broke down"):
        Store(path, (*MIGRATIONS, ("half", break_down)))
    kept = Store(path)
    assert not sql.inspect(kept.engine).has_table("half")
    kept.close()


def size(store: Store) -> int:
    """Return the number of characters in all rows of a store."""
    with store.engine.begin() as connection:
        return sum(len(str(row)) for table in metadata.sorted_tables for row in connection.execute(table.select()))


def test_the_size_of_a_fully_rated_conversation_is_linear_in_its_turns(store: Store) -> None:
    """No reply and no rating repeats its prompt."""
    talk, sizes = store.new_conversation(), []
    for turn in range(1, 21):
        first, second = ask(store, f"Question {turn} " + "x" * 50, "Yes " + "y" * 50, "No", conversation=talk.id)
        store.thumb(first, 1)
        store.choose(first, second, position="left")
        store.edit(first, f"Answer {turn}")
        if turn in (10, 20):
            sizes.append(size(store))
    assert sizes[1] < 2.1 * sizes[0]
    assert [len(rating.snapshot["prompt"]) for rating in store.ratings()[::3]] == list(range(1, 40, 2))
    last = store.ratings()[-1].snapshot["prompt"]
    assert [turn["content"] for turn in last[-3:]] == [
        "Question 19 " + "x" * 50,
        "Answer 19",
        "Question 20 " + "x" * 50,
    ]


def test_a_prompt_excludes_the_turns_left_out(store: Store) -> None:
    """All turns are stored only once."""
    talk = store.new_conversation()
    ask(store, "Hello" * 500, "Hi", conversation=talk.id)
    message = store.say(talk.id, "And?")
    before = size(store)
    reply = store.reply(message.id, "So.", store.prompt(message.id), MADE, left_out=2)
    assert reply.prompt == [{"role": "user", "content": "And?"}]
    assert store.thumb(reply.id, 1).snapshot["prompt"] == reply.prompt
    assert size(store) - before < 1000


NEW = {
    "conversations": ("user", "key"),
    "turns": ("extra",),
    "ratings": ("annotator", "source", "confidence"),
}
"""Columns that came with generations, flags and keys, and the tables and indexes."""
NEW_TABLES = ("canary", "cases", "triage", "flags", "signals", "candidates", "generations", "keys")
NEW_INDEXES = (
    *("ix_conversations_user", "ix_conversations_key", "ix_messages_prompt_id", "ix_ratings_rejected_id"),
    *("conversations_listed", "messages_by_conversation"),
)
OLD = sql.MetaData()
metadata.tables["migrations"].to_metadata(OLD)
for table, gone, added in (
    ("conversations", NEW["conversations"], []),
    ("messages", ("prompt_id", "left_out"), [sql.Column("prompt", sql.JSON)]),
    ("ratings", ("position", *NEW["ratings"]), [sql.Column("snapshot", sql.JSON, nullable=False)]),
):
    kept_columns = [kept._copy() for kept in metadata.tables[table].c if kept.name not in gone]
    sql.Table(table, OLD, *kept_columns, *added, sqlite_autoincrement=True)


def shape(store: Store) -> dict[str, Any]:
    """Return the columns and indexes of all tables."""
    found = sql.inspect(store.engine)
    return {
        name: (
            {(one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(name)},
            {(one["name"], one["unique"], *one["column_names"]) for one in found.get_indexes(name)},
        )
        for name in found.get_table_names()
    }


def test_a_store_without_generations_is_migrated(store: Store, store_address: str) -> None:
    """It keeps its ratings, each by a person, and then has the tables, columns and indexes of a new store."""
    first, second = ask(store, "Hello", "Hi", "Ho")
    store.choose(first, second, position="right")
    store.edit(first, "Good day")
    ratings, wanted = store.ratings(), shape(store)
    with store.engine.execution_options(writes=True).begin() as connection:
        for table in NEW_TABLES:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for index in NEW_INDEXES:
            connection.exec_driver_sql(f"DROP INDEX {index}")
        connection.exec_driver_sql("CREATE INDEX ix_messages_conversation_id ON messages (conversation_id)")
        for table, columns in NEW.items():
            for column in columns:
                connection.exec_driver_sql(f'ALTER TABLE {table} DROP COLUMN "{column}"')
        connection.exec_driver_sql("DELETE FROM migrations WHERE name = 'generations, flags, keys'")
    assert shape(store) != wanted
    with closing(Store(store_address)) as new:
        assert shape(new) == wanted
        assert new.ratings() == ratings
        with new.engine.begin() as connection:
            assert {*connection.exec_driver_sql("SELECT source FROM ratings").scalars()} == {"person"}


def test_a_store_without_scans_is_migrated(store: Store, store_address: str) -> None:
    """It then has the tables of a new store."""
    wanted = shape(store)
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("DROP TABLE scans")
        connection.exec_driver_sql("DELETE FROM migrations WHERE name = 'scans'")
    with closing(Store(store_address)) as new:
        assert shape(new) == wanted


def as_first_version(store: Store) -> None:
    """Convert a store to the first version, in which replies and ratings have full prompts."""
    ratings, tables = store.ratings(), [metadata.tables[name] for name in ("conversations", "messages")]
    with store.engine.begin() as connection:
        rows = {table.name: [dict(row) for row in connection.execute(table.select()).mappings()] for table in tables}
    rows["conversations"] = [
        {name: row[name] for name in row if name not in NEW["conversations"]} for row in rows["conversations"]
    ]
    for row in rows["messages"]:
        row["prompt"] = store.message(row["id"]).prompt or sql.null()
        del row["prompt_id"], row["left_out"]
    metadata.drop_all(store.engine)
    OLD.create_all(store.engine)
    with store.engine.begin() as connection:
        connection.execute(OLD.tables["migrations"].insert(), [{"name": MIGRATIONS[0][0], "applied_at": "then"}])
        connection.execute(OLD.tables["conversations"].insert(), rows["conversations"])
        for row in rows["messages"]:
            connection.execute(OLD.tables["messages"].insert().values(row))
        columns = [column.name for column in OLD.tables["ratings"].c]
        rows["ratings"] = [{name: getattr(rating, name) for name in columns} for rating in ratings]
        connection.execute(OLD.tables["ratings"].insert(), rows["ratings"])
        if connection.dialect.name == "postgresql":  # which counts only the ids that it gave itself
            for name in ("messages", "ratings"):
                connection.exec_driver_sql(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))")


def test_a_store_of_the_first_version_is_migrated(store: Store, store_address: str) -> None:
    """Its content and the gathered rows are unchanged, and conversations can continue."""
    talk = store.new_conversation()
    first, second = ask(store, "Hello", "Hi", "Ho", conversation=talk.id)
    store.choose(first, second, position="right")
    [cut] = ask(store, "And\u2028so?", "So 🐈", conversation=talk.id, finish="length")
    store.thumb(cut, -1)
    store.edit(cut, "So.")
    store.edit(first, "Good day")
    [other] = ask(store, "Bye", "Bye", conversation=talk.id)
    store.thumb(other, 1, comment="fine")
    ratings, branch = store.ratings(), store.branch(talk.id)
    messages = {number: store.message(number) for number in range(1, other + 1)}
    wanted = shape(store)
    as_first_version(store)
    new = Store(store_address)
    try:
        assert shape(new).keys() == wanted.keys()
        assert new.ratings() == ratings
        assert gather(new.ratings()) == gather(ratings)
        assert {number: new.message(number) for number in messages} == messages
        assert new.branch(talk.id) == branch
        tables = {name: {found["name"] for found in sql.inspect(new.engine).get_columns(name)} for name in OLD.tables}
        assert "snapshot" not in tables["ratings"]
        assert "prompt" not in tables["messages"]
        ask(new, "Again?", "Yes.", conversation=talk.id)
    finally:
        new.close()


def test_a_full_disk_is_reported_and_changes_nothing(tmp_path: Path) -> None:
    """The store works again when there is space."""
    kept = Store(tmp_path / "store.sqlite")
    [reply] = ask(kept, "Hello", "Hi")
    with kept.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    sql.event.listen(kept.engine, "checkout", limit)
    with pytest.raises(StoreError, match="The store's disk is full") as refused:
        kept.edit(reply, "x" * 100_000)
    assert refused.value.full
    assert kept.ratings() == []
    pages = 10_000
    assert kept.edit(reply, "x" * 100_000).text == "x" * 100_000
    kept.close()


def test_a_locked_store_is_a_user_error(tmp_path: Path) -> None:
    """If another program holds the lock."""
    kept = Store(tmp_path / "store.sqlite")
    [reply] = ask(kept, "Hello", "Hi")
    with closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with kept.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
        with pytest.raises(StoreError, match=r"is not available \(database is locked\)"):
            kept.thumb(reply, 1)
    assert kept.thumb(reply, 1)
    kept.close()


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63, 10**4000], ids=["0", "-1", "2^31", "2^63", "10^4000"])
def test_an_id_out_of_range_does_not_exist(store: Store, number: int) -> None:
    """The database would fail on ids of more than 32 bits."""
    [reply] = ask(store, "Hello", "Hi")
    for act in (
        lambda: store.branch(number),
        lambda: store.delete(number),
        lambda: store.say(number, "Hello"),
        lambda: store.message(number),
        lambda: store.prompt(number),
        lambda: store.thumb(number, 1),
        lambda: store.edit(number, "Hello"),
        lambda: store.choose(number, reply),
        lambda: store.choose(reply, number),
    ):
        with pytest.raises(MissingError, match=r"There is no (message|conversation) -?\d{1,20}\."):
            act()


def test_a_file_that_is_not_a_store_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    path = tmp_path / "store.sqlite"
    path.write_text("these are not the rows that you look for" * 50)
    with pytest.raises(UserError, match=r"store\.sqlite.*not a database"):
        Store(path)


def gathered(store: Store) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """Return the texts of each gathered conversation, and each pair as (chosen, rejected)."""
    result = gather(store.ratings())
    return (
        [[turn["content"] for turn in row["messages"]] for row in result.conversations],
        [(row["chosen"], row["rejected"]) for row in result.pairs],
    )


def test_each_kind_of_rating_becomes_its_rows(store: Store) -> None:
    """Thumb up: a conversation. Edit: a conversation and a pair. Choice: a pair. Thumbs on siblings: a pair."""
    talk = store.new_conversation()
    liked, disliked = ask(store, "Hello", "Hi", "Grr", conversation=talk.id)
    store.thumb(liked, 1)
    store.thumb(disliked, -1)
    [wrong] = ask(store, "Two and two?", "Five.")
    store.edit(wrong, "Four.")
    better, worse = ask(store, "A colour?", "Blue.", "Bluh.")
    store.choose(better, worse)
    conversations, pairs = gathered(store)
    assert conversations == [["Hello", "Hi"], ["Two and two?", "Four."]]
    assert pairs == [("Hi", "Grr"), ("Four.", "Five."), ("Blue.", "Bluh.")]
    assert gather(store.ratings()).made_of == {
        "conversations from edits": 1,
        "conversations from thumbs up": 1,
        "pairs from choices": 1,
        "pairs from edits": 1,
        "pairs from thumbs": 1,
    }


def test_a_pair_with_an_empty_side_is_left_out(store: Store) -> None:
    """`sayso align` would refuse the row."""
    reply, silent = ask(store, "Hello", "Hi", " ")
    store.choose(reply, silent)
    assert gathered(store) == ([], [])


def test_personal_data_is_redacted_before_training(store: Store, store_address: str, tmp_path: Path) -> None:
    """With counts; a pair that differs in nothing else is left out; on request the text is as it was said."""
    first, second = ask(store, "Who is ann@firm.io?", "It is ann@firm.io.", "It is bob@firm.io.")
    store.choose(first, second)
    store.thumb(first, 1)
    [wrong] = ask(store, "Her phone?", "None.")
    store.edit(wrong, "It is (212) 736-5000.")
    manifest = gather_store(store_address, tmp_path / "redacted")
    text = "".join((tmp_path / "redacted" / name).read_text() for name in manifest["files"])
    assert "firm.io" not in text
    assert "736" not in text
    assert '"content": "Who is [email]?"' in text
    assert '"chosen": "It is [phone]."' in text
    assert manifest["redacted"] == {"email": 7, "phone": 2}
    assert manifest["left_out"] == {"pair that differs only in personal data": 1}
    assert manifest["pairs"] == 1
    assert "redacted: 7 email, 2 phone." in summary(manifest, tmp_path)
    kept = gather_store(store_address, tmp_path / "kept", redact=False)
    assert (kept["redacted"], kept["pairs"]) == ({}, 2)
    assert "ann@firm.io" in (tmp_path / "kept" / "pairs.jsonl").read_text()


def test_a_thumb_alone_is_a_rating(store: Store) -> None:
    """Except on an empty reply, and a thumb up on one that was cut short."""
    [good], [bad] = ask(store, "Hello", "Hi"), ask(store, "Bye", "Grr")
    [cut], [empty] = ask(store, "Why?", "Because the", finish="length"), ask(store, "So?", " ")
    store.thumb(good, 1)
    store.thumb(cut, 1)
    for reply in (bad, empty):
        store.thumb(reply, -1)
    rows = gather(store.ratings()).ratings
    assert [(row["prompt"][-1]["content"], row["reply"], row["good"]) for row in rows] == [
        ("Hello", "Hi", True),
        ("Bye", "Grr", False),
    ]


def test_the_latest_of_contradicting_ratings_wins(store: Store) -> None:
    """For thumbs, edits and choices."""
    first, second = ask(store, "Hello", "Hi", "Ho")
    store.choose(first, second)
    store.choose(second, first)
    assert gathered(store) == ([], [("Ho", "Hi")])
    store.thumb(first, 1)
    store.thumb(second, -1)
    assert gathered(store) == ([["Hello", "Hi"]], [("Hi", "Ho")])
    store.choose(first, second, better=False)
    assert gathered(store) == ([["Hello", "Hi"]], [])
    store.edit(first, "Good day")
    store.edit(first, "Good morning")
    assert gathered(store) == ([["Hello", "Good morning"]], [("Good morning", "Hi")])
    store.edit(first, "Hi")
    store.thumb(first, 0)
    assert gathered(store) == ([], [])


def test_the_same_text_is_gathered_once(store: Store) -> None:
    """Equal ratings of the same prompt and reply give one row; of opposite ones, the latest counts."""
    [one], [two] = ask(store, "Hello", "Hi"), ask(store, "Hello", "Hi")
    store.thumb(one, 1)
    store.thumb(two, 1)
    assert gathered(store) == ([["Hello", "Hi"]], [])
    store.thumb(two, -1)
    assert gathered(store) == ([], [])


def test_a_reply_that_was_cut_short_is_left_out(store: Store) -> None:
    """A thumb up on it would teach the model to stop in mid-sentence; it is counted."""
    [cut] = ask(store, "Hello", "Hi there, I am", finish="length")
    store.thumb(cut, 1)
    result = gather(store.ratings())
    assert result.conversations == []
    assert result.left_out == {"thumb up on a reply that was cut short": 1}


def test_earlier_replies_have_weight_0(store: Store) -> None:
    """Only the rated reply is trained."""
    talk = store.new_conversation()
    ask(store, "Hello", "Hi", conversation=talk.id)
    [last] = ask(store, "And?", "So.", conversation=talk.id)
    store.thumb(last, 1)
    [row] = gather(store.ratings()).conversations
    assert [turn.get("weight", 1) for turn in row["messages"]] == [1, 0, 1, 1]
    assert row["source"] == "feedback"


def test_gathering_twice_writes_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest has counts and hashes, and a message sums them up."""
    life = Life(tmp_path / "life")
    store = Store(life.store)
    [reply] = ask(store, "Two and two?", "Five.")
    store.edit(reply, "Four.")
    store.close()
    manifest = gather_act(Gather(life=life.root))
    folder = life.data("feedback")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    gather_act(Gather(life=life.root))
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert manifest == read_json(folder / "manifest.json")
    assert (manifest["conversations"], manifest["pairs"], manifest["ratings"]) == (1, 1, 1)
    assert json.loads(before["pairs.jsonl"]) == {
        "prompt": [{"role": "user", "content": "Two and two?"}],
        "chosen": "Four.",
        "rejected": "Five.",
        "source": "feedback",
    }
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("Gathered 1 conversation and 1 pair from 1 rating into ")


def test_gathering_without_a_store_is_a_user_error(tmp_path: Path) -> None:
    """The error names the command that collects ratings."""
    with pytest.raises(UserError, match="sayso serve"):
        gather_act(Gather(life=tmp_path))


def test_an_emptied_store_does_not_replace_what_was_gathered(tmp_path: Path) -> None:
    """A store that lost its ratings is more likely than one whose ratings are to be discarded."""
    with closing(Store(tmp_path / "full.sqlite")) as store, closing(Store(tmp_path / "empty.sqlite")):
        store.thumb(ask(store, "Hello", "Hi")[0], 1)
    folder = tmp_path / "feedback"
    assert gather_store(tmp_path / "full.sqlite", folder)["ratings"] == 1
    with pytest.raises(UserError, match="holds no ratings, but 1 rating"):
        gather_store(tmp_path / "empty.sqlite", folder)
    assert (folder / "ratings.jsonl").read_text().count("\n") == 1


def test_a_rating_can_be_told_from_its_fields_alone(store: Store) -> None:
    """What comes back from the database equals what was given when rating."""
    first, second = ask(store, "Hello", "Hi", "Ho")
    given: list[Rating] = [
        store.thumb(first, -1),
        store.edit(second, "Hey", comment="kinder"),
        store.choose(first, second),
    ]
    assert store.ratings() == given


def test_a_database_of_another_program_is_not_changed(tmp_path: Path) -> None:
    """An SQLite file keeps its bytes, and a shared server gets no tables."""
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE customers (name TEXT)")
        file.commit()
    before = path.read_bytes()
    for where in (path, f"sqlite:///{path}"):
        with pytest.raises(UserError, match="'customers'"):
            Store(where)
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["store.sqlite"]


def test_a_shared_database_of_another_program_is_not_changed(store_address: str) -> None:
    """Which has a table of a name that the store would need."""
    engine = sql.create_engine(store_address if "://" in store_address else f"sqlite:///{store_address}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE messages (text TEXT)")
    with pytest.raises(UserError, match="'messages'"):
        Store(store_address)
    assert sql.inspect(engine).get_table_names() == ["messages"]
    engine.dispose()


@pytest.mark.parametrize("store", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:"])
def test_gathering_from_a_store_in_memory_is_refused(store: str, tmp_path: Path) -> None:
    """It is always empty, so it would count as a life without ratings."""
    with pytest.raises(UserError, match="is one in memory"):
        gather_act(Gather(life=tmp_path / "life", store=store))
    assert not (tmp_path / "life" / "data" / "feedback").exists()


def test_aliases_have_an_append_only_history(store: Store) -> None:
    """On both databases: what counts is the latest row, and evidence is kept as it was found."""
    aliases = Aliases(store)
    assert aliases.current("stable") is None
    first = aliases.assign("stable", "a", "1" * 64, after=None, evidence={"verdict": "passed", "findings": []})
    second = aliases.assign("stable", "b", "2" * 64, after=first, reason="because\x00")
    aliases.assign("other", "a", "1" * 64, after=None)
    assert (first.kind, second.kind, second.reason) == ("promoted", "overridden", "because\ufffd")
    assert aliases.current("stable") == second
    assert aliases.current("stable", first.created_at) in (first, second)  # the same millisecond, perhaps
    back = aliases.roll_back("stable", "slow")
    assert (back.model, back.fingerprint, back.kind, back.reason) == ("a", "1" * 64, "rolled back", "slow")
    assert aliases.history("stable") == [first, second, back]
    assert len(aliases.history()) == 4
    with pytest.raises(UserError, match="nothing to roll back to"):
        aliases.roll_back("stable")
    assert aliases.history("stable") == [first, second, back]


def test_of_promotions_at_the_same_time_one_is_made(store: Store) -> None:
    """Each gate compared with the model of that time, so the others would replace a model that no gate has seen."""
    before, together = Aliases(store).assign("stable", "m", "0" * 64, after=None), threading.Barrier(8)

    def promote(number: int) -> Assignment | str:
        together.wait()
        try:
            return Aliases(store).assign("stable", f"m{number}", "0" * 64, after=before)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(promote, range(8)))
    [one] = [entry for entry in made if isinstance(entry, Assignment)]
    refused = {text.split(" since ")[0] for text in made if isinstance(text, str)}
    assert refused == {f"'stable' has named '{one.model}'"}
    assert Aliases(store).history("stable") == [before, one]


def test_an_alias_that_has_come_or_been_rolled_back_in_between_is_not_moved(store: Store) -> None:
    """The same model after a roll-back is another entry: somebody found a reason against what followed it."""
    aliases = Aliases(store)
    first = aliases.assign("stable", "a", "1" * 64, after=None)
    with pytest.raises(UserError, match=r"'stable' has named 'a' since \S+, which 'b' was not compared with"):
        aliases.assign("stable", "b", "2" * 64, after=None)
    aliases.assign("stable", "b", "2" * 64, after=first)
    aliases.roll_back("stable")
    with pytest.raises(UserError, match="repeat 'sayso promote'"):
        aliases.assign("stable", "c", "3" * 64, after=first)
    assert len(aliases.history("stable")) == 3


def test_roll_backs_at_the_same_time_undo_one_promotion_each(store: Store) -> None:
    aliases, before = Aliases(store), None
    for name in "abcde":
        before = aliases.assign("stable", name, "0" * 64, after=before)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: Aliases(store).roll_back("stable").model, range(4)))
    assert sorted(models) == ["a", "b", "c", "d"]
    with pytest.raises(UserError, match="nothing to roll back to"):
        aliases.roll_back("stable")
