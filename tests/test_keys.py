"""Keys of a store: made once, found by their hash, revoked and replaced; on both databases and by the commands."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sayso import Life
from sayso.base.errors import UserError
from sayso.cli.main import run
from sayso.feedback.keys import Keys, hash_of_key
from sayso.feedback.store import Store


def test_a_key_is_kept_as_a_hash_only(store: Store) -> None:
    keys = Keys(store)
    made, secret = keys.add("anna", "rater", 60)
    other, another = keys.add("bob", "user")
    assert secret.startswith("sayso-")
    assert len({secret, another}) == 2
    assert len(secret) >= 48
    assert made.hash == hash_of_key(secret.encode())
    assert keys.every() == [made, other]
    assert (made.name, made.role, made.per_minute, made.revoked_at) == ("anna", "rater", 60, None)
    assert secret not in repr(keys.every())


def test_a_revoked_key_stays_in_the_list_and_frees_its_name(store: Store) -> None:
    keys = Keys(store)
    old, _ = keys.add("anna", "admin", 5)
    gone = keys.revoke("anna")
    assert (gone.id, gone.revoked_at is not None) == (old.id, True)
    with pytest.raises(UserError, match="There is no key 'anna'"):
        keys.revoke("anna")
    new, _ = keys.add("anna", "user")
    turned, secret = keys.rotate("anna")
    assert (turned.name, turned.role, turned.per_minute, turned.revoked_at) == ("anna", "user", None, None)
    assert turned.hash == hash_of_key(secret.encode()) != new.hash
    assert [one.revoked_at is None for one in keys.every()] == [False, False, True]


def test_two_keys_of_one_name_are_never_made(store: Store) -> None:
    def add(_: int) -> bool:
        try:
            Keys(store).add("anna", "user")
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(add, range(8))) == 1
    assert len(Keys(store).every()) == 1


def test_the_commands_make_show_replace_and_revoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    life = ["--life", str(tmp_path / "life")]
    assert run(["keys", "list", *life]) == 0
    assert "There are no keys yet" in capsys.readouterr().out
    assert run(["keys", "add", "anna", "--role", "rater", "--per-minute", "30", *life]) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[0] == "The key of 'anna' (rater), which is shown only once:"
    assert run(["keys", "rotate", "anna", *life]) == 0
    second = capsys.readouterr().out.splitlines()
    assert first[1] != second[1]
    assert run(["keys", "revoke", "anna", *life]) == 0
    assert run(["keys", "list", *life]) == 0
    shown = capsys.readouterr().out
    assert shown.count("anna") == 3
    with sqlite3.connect(tmp_path / "life" / "store.sqlite") as file:
        kept = str(file.execute("SELECT * FROM keys").fetchall())
    file.close()
    assert not any(line in text for line in (first[1], second[1]) for text in (shown, kept))
    made = Life(tmp_path / "life").keys_add("bob")
    assert made["key"].startswith("sayso-")
    assert [one["name"] for one in Life(tmp_path / "life").keys_list()] == ["anna", "anna", "bob"]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["add", "a b"], "A key has a name such as anna, of at most 64 characters; got 'a b'."),
        (["add", "a" * 65], "of at most 64 characters"),
        (["add", "anna"], "'anna' has a key already; choose another name, or replace it: sayso keys rotate anna"),
        (["add", "bob", "--per-minute", "0"], "--per-minute must be at least 1; got 0."),
        (["revoke", "ana"], "There is no key 'ana'; 'sayso keys list' shows those there are. Did you mean 'anna'?"),
        (["rotate", "nobody"], "There is no key 'nobody'"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    words: list[str], rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = ["--life", str(tmp_path)]
    assert run(["keys", "add", "anna", *life]) == 0
    assert run(["keys", *words, *life]) == 2
    assert rule in capsys.readouterr().err
    assert [(one["name"], one["revoked_at"]) for one in Life(tmp_path).keys_list()] == [("anna", None)]
