"""Export and import of a store: nothing is lost, nothing comes twice, and a bad file changes nothing."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.cli.main import run
from sayso.feedback.aliases import Aliases
from sayso.feedback.export_store import TABLES, export_store
from sayso.feedback.generations import Generations
from sayso.feedback.import_store import Imported, import_store
from sayso.feedback.store import Generation, Store
from sayso.feedback.tables import answers, conversations, generations, keys, now
from sayso.feedback.traffic import MinuteCounts, keep_minutes

Fill = Callable[[Store, str, str], list[int]]


@pytest.fixture
def source(fill: Fill, tmp_path: Path) -> Path:
    """An exported store with all kinds of rows, and gaps in their numbers."""
    with closing(Store(tmp_path / "source.sqlite")) as store:
        [first, _] = fill(store, "ann", "XYZZY \u2028\U0001f408")
        fill(store, "bob", "quite")
        store.delete(first)
        with store.engine.execution_options(writes=True).begin() as connection:
            row = {"name": "ann", "hash": "f" * 64, "role": "user", "created_at": now()}
            connection.execute(keys.insert().values(row))
            asked = {"model": "m", "task": "t", "prompt": "p", "item": "i", "answer": {"text": "a"}}
            connection.execute(answers.insert().values(asked | {"created_at": now()}))
        keep_minutes(store, [MinuteCounts(29_000_000, "tuned", requests=3, failed=1)])
        export_store(store, tmp_path / "source.jsonl")
    return tmp_path / "source.jsonl"


def exported(store: Store, path: Path) -> str:
    """What a store's export is."""
    export_store(store, path)
    return path.read_text()


def traces(store: Store) -> list[Any]:
    """The traces of all replies."""
    with store.engine.begin() as connection:
        ids = connection.scalars(sql.select(generations.c.message_id).order_by(generations.c.message_id)).all()
    return [Generations(store).trace(one) for one in ids]


def counts(path: Path) -> dict[str, int]:
    rows: dict[str, int] = json.loads(path.read_text().splitlines()[0])["rows"]
    return {name: count for name, count in rows.items() if count}


def test_an_export_has_every_table(source: Path) -> None:
    """So that the round trips below are about all of them."""
    assert counts(source).keys() == {table.name for table in TABLES}


def test_an_empty_store_becomes_the_exported_one(store: Store, source: Path, tmp_path: Path) -> None:
    """To the byte, numbers included; and it continues above them."""
    assert import_store(store, source) == Imported(counts(source), {}, {})
    assert exported(store, tmp_path / "again.jsonl") == source.read_text()
    with store.engine.begin() as connection:
        greatest = connection.scalar(sql.select(sql.func.max(conversations.c.id)))
    assert store.new_conversation().id > (greatest or 0)


def test_importing_twice_adds_nothing(store: Store, source: Path, tmp_path: Path) -> None:
    """All rows are known by then."""
    import_store(store, source)
    assert import_store(store, source) == Imported({}, counts(source), {})
    assert exported(store, tmp_path / "again.jsonl") == source.read_text()


def test_a_used_store_gets_what_it_lacks(store: Store, source: Path, fill: Fill, tmp_path: Path) -> None:
    """Under new numbers; its own rows are unchanged, and so is the history of its alias."""
    fill(store, "cat", "else")
    before = exported(store, tmp_path / "before.jsonl").splitlines()[1:]
    ratings, branches = store.ratings(), [store.branch(talk.id) for talk in store.conversations()]
    standing, own = Aliases(store).history(), len(traces(store))
    found = import_store(store, source)
    left_out = {"aliases": 2, "canary": counts(source)["canary"], "scans": 1}  # the numbers of the messages are others
    assert found.left_out == left_out
    added = {name: count - left_out.get(name, 0) for name, count in counts(source).items()}
    assert found.added == {name: count for name, count in added.items() if count}
    after = exported(store, tmp_path / "after.jsonl").splitlines()[1:]
    assert {*before} < {*after}
    assert Aliases(store).history() == standing
    assert store.ratings()[: len(ratings)] == ratings
    assert [store.branch(talk.id) for talk in store.conversations()][:1] == branches
    with closing(Store(tmp_path / "source.sqlite")) as old:
        wanted = [(one.kind, one.value, one.text, one.snapshot) for one in old.ratings()]
        wanted_traces = traces(old)
        talks = [[(turn.role, turn.content) for turn in old.branch(talk.id)] for talk in old.conversations()]
    new = store.ratings()[len(ratings) :]
    assert [(one.kind, one.value, one.text, one.snapshot) for one in new] == wanted
    assert traces(store)[own:] == wanted_traces
    now_here = [[(turn.role, turn.content) for turn in store.branch(talk.id)] for talk in store.conversations()]
    assert now_here == [[(turn.role, turn.content) for turn in branches[0]], *talks]
    assert import_store(store, source).added == {}


def test_what_was_said_since_is_added(store: Store, source: Path, tmp_path: Path) -> None:
    """To the conversation that the store has, and it ends with the last message."""
    import_store(store, source)
    with closing(Store(tmp_path / "source.sqlite")) as old:
        [talk] = old.conversations()
        said = old.say(talk.id, "More?")
        made = Generation("tuned", "0" * 12, {}, "stop", 1, 1, 0.5)
        reply = old.reply(said.id, "More.", old.prompt(said.id), made)
        old.thumb(reply.id, 1)
        newer = exported(old, tmp_path / "newer.jsonl")
    found = import_store(store, tmp_path / "newer.jsonl")
    assert found.added == {"messages": 2, "ratings": 1, "turns": 2}
    assert exported(store, tmp_path / "again.jsonl") == newer
    assert import_store(store, source).added == {}  # the older file
    assert exported(store, tmp_path / "again.jsonl") == newer


def test_two_equal_conversations_stay_two(store: Store, tmp_path: Path) -> None:
    """Also if they began in the same millisecond."""
    for name in ("one.jsonl", "two.jsonl"):
        store.say(store.new_conversation().id, "Hello")
        with store.engine.execution_options(writes=True).begin() as connection:
            connection.exec_driver_sql("UPDATE conversations SET created_at = 'then', updated_at = 'then'")
            connection.exec_driver_sql("UPDATE messages SET created_at = 'then'")
        export_store(store, tmp_path / name)
    with closing(Store(tmp_path / "other.sqlite")) as other:
        assert import_store(other, tmp_path / "one.jsonl").added["conversations"] == 1
        assert import_store(other, tmp_path / "two.jsonl").added["conversations"] == 1
        assert import_store(other, tmp_path / "two.jsonl").added == {}
    assert import_store(store, tmp_path / "two.jsonl").added == {}


SAID = st.lists(
    st.tuples(st.text(max_size=6), st.sampled_from(["new", "again", "thumb", "edit", "delete"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=SAID, more=SAID)
def test_round_trips(store: Store, tmp_path: Path, said: Any, more: Any) -> None:
    """Whatever was said, regenerated, rated and deleted; also into a store that has more."""
    for table in reversed(TABLES):
        with store.engine.execution_options(writes=True).begin() as connection:
            connection.execute(table.delete())
    act(store, said)
    export_store(store, tmp_path / "one.jsonl")
    (tmp_path / "other.sqlite").unlink(missing_ok=True)
    with closing(Store(tmp_path / "other.sqlite")) as other:
        import_store(other, tmp_path / "one.jsonl")
        assert exported(other, tmp_path / "two.jsonl") == (tmp_path / "one.jsonl").read_text()
        act(other, more)
        full = exported(other, tmp_path / "three.jsonl")
        assert import_store(other, tmp_path / "one.jsonl").added == {}
        assert exported(other, tmp_path / "three.jsonl") == full
        import_store(store, tmp_path / "three.jsonl")
    assert import_store(store, tmp_path / "three.jsonl").added == {}


def act(store: Store, said: list[tuple[str, str]]) -> None:
    """Say, reply, rate and delete."""
    talk, reply = store.new_conversation().id, None
    for text, what in said:
        if what == "new" or reply is None:
            message = store.say(talk, text)
            made = Generation("tuned", "0" * 12, {"seed": 1}, "stop", 1, 1, 0.1)
            reply = store.reply(message.id, text + "?", store.prompt(message.id), made)
        elif what == "again":
            reply = store.reply(reply.parent_id or 0, text + "!", store.prompt(reply.parent_id or 0), made)
        elif what == "thumb":
            store.thumb(reply.id, 1, comment=text)
        elif what == "edit":
            store.edit(reply.id, text + "x")
        else:
            store.delete(talk)
            talk, reply = store.new_conversation().id, None


def broken(lines: list[str], number: int, **changes: Any) -> list[str]:
    """Lines with other values in one of them; a number from the end counts from the first row of its table."""
    row = json.loads(lines[number]) | changes
    return [*lines[:number], json.dumps(row), *lines[number + 1 :]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "no exported store"),
        (lambda lines: [], "no exported store"),
        (lambda lines: lines[:-1], "incomplete"),
        (lambda lines: [*lines[:-1], lines[-1][:-5]], "JSON"),
        (lambda lines: [*lines, lines[1]], "order of an export"),
        (lambda lines: broken(lines, 0, migrations=["of tomorrow"]), "newer version of sayso .it has 'of tomorrow'"),
        (lambda lines: broken(lines, 1, mood="good"), ":2: this line is damaged: its fields"),
        (lambda lines: broken(lines, 1, table="moods"), ":2: this line is damaged: it has no table"),
        (lambda lines: broken(lines, len(lines) - 1, flag_id=999), "refers to 999 in 'flags'"),
        (lambda lines: broken(lines, len(lines) - 1, flag_id="x"), "refers to x in 'flags'"),
        (lambda lines: broken(lines, len(lines) - 1, id=2**40), "its number is 1099511627776"),
        (lambda lines: broken(lines, len(lines) - 1, state=None), "does not fit the table 'triage'"),
    ],
)
def test_a_bad_file_changes_nothing(
    store: Store, source: Path, tmp_path: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    """It is one sentence, with the line if it is about one."""
    store.say(store.new_conversation().id, "Hello")
    before = exported(store, tmp_path / "before.jsonl")
    lines = change(source.read_text().split("\n")[:-1])
    source.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(UserError, match=message):
        import_store(store, source)
    assert exported(store, tmp_path / "after.jsonl") == before


def test_an_export_of_an_older_version_is_imported(store: Store, source: Path, tmp_path: Path) -> None:
    """A column that came later has its default."""
    lines = [json.loads(line) for line in source.read_text().split("\n")[:-1]]
    for row in lines:
        if row.get("table") == "ratings":
            del row["source"], row["annotator"]
    source.write_text("".join(json.dumps(row) + "\n" for row in lines))
    import_store(store, source)
    assert {(one.source, one.annotator) for one in store.ratings()} == {("person", None)}


def test_the_commands_say_what_they_did(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And refuse to overwrite a file, and to read or write what is not there."""
    life, out = str(tmp_path / "life"), str(tmp_path / "out.jsonl")
    assert run(["store", "export", out, "--life", life]) == 2
    assert "no store" in capsys.readouterr().err
    assert run(["store", "import", str(source), "--life", life]) == 0
    assert "3 in conversations" in capsys.readouterr().out
    assert run(["store", "export", out, "--life", life]) == 0
    assert "3 in conversations" in capsys.readouterr().out
    assert Path(out).read_text() == source.read_text()
    assert run(["store", "export", out, "--life", life]) == 2
    assert "add --replace" in capsys.readouterr().err
    assert run(["store", "import", "nowhere.jsonl", "--life", life]) == 2
    assert "no file 'nowhere.jsonl'" in capsys.readouterr().err
    assert run(["store", "import", str(source), "--life", life]) == 0
    assert "were there already" in capsys.readouterr().out
