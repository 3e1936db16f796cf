"""Removal of a person's data: all of it, nothing else, and the names of what was made with it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sayso.base.files import write_json
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.forget import forget_conversation, forget_older, forget_user
from sayso.feedback.gather import gather_store
from sayso.feedback.notes import Notes
from sayso.feedback.origins import made_with
from sayso.feedback.ratings import Rater
from sayso.feedback.store import Store
from sayso.feedback.tables import categories, metadata, readings, samples, triage

Fill = Callable[[Store, str, str], list[int]]
OWNED = (
    *("conversations", "turns", "messages", "generations", "candidates", "ratings", "signals", "flags", "triage"),
    *("cases", "answers", "canary", "measures", "sampled", "readings", "notes", "queue", "reviews"),
)


def rows(store: Store) -> dict[str, list[Any]]:
    """All rows of the tables that hold what people said or what was made of it."""
    with store.engine.begin() as connection:
        return {name: [tuple(row) for row in connection.execute(metadata.tables[name].select())] for name in OWNED}


def test_a_user_is_forgotten_and_no_one_else(store: Store, fill: Fill) -> None:
    """Of every table; the counts are those of the rows that are gone."""
    fill(store, "ann", "XYZZY1")
    before = rows(store)
    mine = fill(store, "bob", "XYZZY2")
    full = rows(store)
    assert forget_user(store, "bob", only_count=True).counts == forget_counts(before, full)
    assert rows(store) == full
    gone = forget_user(store, "bob")
    assert gone.counts == forget_counts(before, full)
    assert set(gone.counts) == set(OWNED)
    assert gone.conversations == mine
    assert rows(store) == before
    assert forget_user(store, "bob").counts == {}


def forget_counts(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> dict[str, int]:
    return {name: len(after[name]) - len(before[name]) for name in OWNED}


def test_what_a_rater_said_elsewhere_is_forgotten(store: Store, fill: Fill) -> None:
    """Their ratings go, and what they triaged has no name."""
    talk, _ = fill(store, "ann", "XYZZY1")
    [reply] = [turn.id for turn in store.branch(talk) if turn.role == "assistant"]
    store.thumb(reply, -1, comment="by bob", by=Rater("bob"))
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(triage.update().where(triage.c.id == 1).values(annotator="bob"))
        for table in (readings, samples, categories):
            connection.execute(table.update().values(annotator="bob"))
    Notes(store).change(Notes(store).add(reply, "by bob", "bob").id, "by bob and ann", "ann")
    Notes(store).change(1, "by ann and then by another", "bob")
    gone = forget_user(store, "bob")
    assert (gone.counts, gone.conversations) == ({"ratings": 1, "notes": 2}, [talk])
    with store.engine.begin() as connection:
        kept = {table.name: connection.execute(table.select()).all() for table in metadata.sorted_tables}
    assert "bob" not in str(kept)
    assert [len(kept[name]) for name in ("triage", "readings", "samples", "categories")] == [2, 1, 1, 1]
    assert [note.text for note in Notes(store).listed()] == ["by ann and then by another", "XYZZY1"]


def test_a_conversation_is_forgotten(store: Store, fill: Fill) -> None:
    """Of the page or the API, by its number."""
    page, api = fill(store, "ann", "XYZZY1")
    gone = forget_conversation(store, page)
    assert gone.counts["conversations"] == 1
    assert [row[0] for row in rows(store)["conversations"]] == [api]
    assert [row[4] for row in rows(store)["canary"]] == ["ann"]
    forget_conversation(store, api)
    assert not any(rows(store).values())


def test_old_conversations_are_forgotten(store: Store, fill: Fill) -> None:
    """By the time of their last message."""
    old = fill(store, "ann", "XYZZY1")
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("UPDATE conversations SET updated_at = '2020-01-01T00:00:00.000+00:00'")
    new = fill(store, "bob", "XYZZY2")
    assert forget_older(store, "2021-01-01").conversations == old
    assert [row[0] for row in rows(store)["conversations"]] == new


def test_no_bytes_are_left_in_the_file(fill: Fill, tmp_path: Path) -> None:
    """Of SQLite, whose free pages keep what was deleted unless it is overwritten."""
    path = tmp_path / "store.sqlite"
    with closing(Store(path)) as store:
        fill(store, "ann", "XYZZY" * 500)
        assert any(b"XYZZY" in file.read_bytes() for file in tmp_path.iterdir())
        forget_user(store, "ann")
        assert not any(b"XYZZY" in file.read_bytes() for file in tmp_path.iterdir())


@pytest.fixture
def life(fill: Fill, tmp_path: Path) -> Life:
    """A life whose models were made with gathered ratings of conversation 1, or not, or from such a model."""
    life = Life(tmp_path / "life")
    with closing(Store(life.store)) as store:
        fill(store, "ann", "Mine.")
    gather_store(life.store, life.data("feedback"))
    [origin] = read_jsonl(life.data("feedback") / "origins.jsonl")
    chat, none = origin["files"]["chat.jsonl"], "0" * 12
    for name, data, parent in [
        ("base", [f"text {none}"], None),
        ("tuned", [f"feedback {chat[:12]}", "base b00000000000"], "base b00000000000"),
        ("merged", [], "tuned t00000000000"),
        ("other", [f"feedback {none}"], "base b00000000000"),
    ]:
        (life.model(name)).mkdir(parents=True)
        write_json(life.model(name) / "config.json", {})
        lineage = {"weights_sha256": name[0] + "0" * 63, "tokenizer": none, "data": data, "parent": parent}
        write_json(life.model(name) / "sayso.json", lineage, sealed=True)
    return life


def test_the_data_and_models_made_with_a_conversation_are_named(life: Life) -> None:
    """Those made of it, and those made of them."""
    assert made_with(life, [1]) == (["feedback"], ["tuned", "merged"])
    assert made_with(life, [99]) == ([], [])


def test_models_are_named_after_other_data_was_gathered(life: Life, fill: Fill) -> None:
    """The data is then without the conversation, the models are not."""
    with closing(Store(life.store)) as store:
        forget_user(store, "ann")
        fill(store, "bob", "Yours.")
    gather_store(life.store, life.data("feedback"))
    assert made_with(life, [1]) == ([], ["tuned", "merged"])
    lines = (life.data("feedback") / "origins.jsonl").read_text()
    gather_store(life.store, life.data("feedback"))
    assert (life.data("feedback") / "origins.jsonl").read_text() == lines


def test_the_command_reports_what_it_removed(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run changes nothing, and says the same."""
    command = ["forget", "--life", str(life.root), "--user", "ann"]
    assert run([*command, "--dry-run"]) == 0
    assert "Would remove 2 in conversations" in capsys.readouterr().out
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "Removed 2 in conversations" in said
    assert "Gathered from it: data/feedback." in said
    assert "Trained on it: tuned, merged." in said
    assert run(command) == 0
    assert "nothing of that" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exactly one of"),
        (["--user", "ann", "--conversation", "1"], "exactly one of"),
        (["--older-than", "soon"], "such as 12h, 90d or 8w; got 'soon'"),
        (["--older-than", "0d"], "got '0d'"),
        (["--user", "ann", "--store", "nowhere.sqlite"], "no store 'nowhere.sqlite'"),
    ],
)
def test_bad_input_is_one_sentence(
    life: Life, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """And removes nothing."""
    assert run(["forget", "--life", str(life.root), *words]) == 2
    assert message in capsys.readouterr().err
    with closing(Store(life.store)) as store:
        assert len(store.ratings()) == 3


def test_ages_beyond_the_calendar_are_refused(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """They would be before the year 1."""
    assert run(["forget", "--life", str(life.root), "--older-than", "999999w"]) == 2
    assert "such as 12h, 90d or 8w" in capsys.readouterr().err
