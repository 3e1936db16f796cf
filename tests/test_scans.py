"""How far detectors have looked, in each kind of database: marks move forward only, and no message is passed over."""

from pathlib import Path

import pytest
import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.detectors.detector import Detector
from sayso.feedback.flags import Flags
from sayso.feedback.scans import Scans
from sayso.feedback.store import Generation, Store
from sayso.feedback.tables import messages, now
from sayso.run.flags import ScanFlags, scan_flags


def detector(name: str, version: str = "1", question: str | None = None) -> Detector:
    return Detector(name, version, lambda reply: None, question=question)


def test_a_mark_never_goes_back(store: Store) -> None:
    """As when two scan at the same time, and the slower one ends last."""
    one, other = detector("one"), detector("other")
    for upto in (5, 3):
        Scans(store).done([one], upto)
    assert Scans(store).due([one, other]) == {0: [other], 5: [one]}
    Scans(store).done([one, other], 7)
    assert Scans(store).due([one, other]) == {7: [one, other]}
    newer = detector("one", "2")
    assert Scans(store).due([newer, one]) == {0: [newer], 7: [one]}


def test_everyone_who_scans_a_store_goes_on_where_the_last_scan_ended(
    store: Store, store_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever life they work in."""
    talk = store.new_conversation()
    made = Generation("tuned", "f" * 12, {}, "stop", 3, 2, 0.1)
    for text in ("", "Yes."):
        store.reply(store.say(talk.id, "Well?").id, text, [{"role": "user", "content": "Well?"}], made)
    ann, bob = (ScanFlags(life=tmp_path / name, store=store_address, detector=("empty",)) for name in ("ann", "bob"))
    assert scan_flags(ann) == {"empty": 1}
    assert "Looked at 2 new replies" in capsys.readouterr().out
    assert scan_flags(bob) == {}
    assert "Looked at 0 new replies" in capsys.readouterr().out


def test_questions_to_judges_are_kept(store: Store) -> None:
    """Whichever judge they were put to; those of functions are none."""
    Scans(store).done([detector("plain"), detector("judge-1", "a", "Is it rude?")], 1)
    Scans(store).done([detector("judge-1", "b", "Is it rude?"), detector("judge-2", "a", "Is it \x00 long?")], 1)
    assert Scans(store).questions() == {"judge-1": "Is it rude?", "judge-2": "Is it \ufffd long?"}


def test_a_scan_waits_for_messages_that_are_being_written(store: Store, store_address: str) -> None:
    """In PostgreSQL, a message may become visible after one with a greater number."""
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    talk = store.new_conversation()
    with store.engine.begin() as writing:
        row = {"conversation_id": talk.id, "role": "user", "content": "Hello", "created_at": now()}
        first = writing.execute(messages.insert().values(row).returning(messages.c.id)).scalar_one()
        given = sql.make_url(store_address)
        impatient = given.update_query_dict({"options": f"{given.query['options']} -clock_timeout=20ms"})
        other = Store(impatient.render_as_string(hide_password=False))
        with pytest.raises(UserError, match="lock timeout"):
            Flags(other).last_message()
    assert Flags(other).last_message() == first
    other.close()
