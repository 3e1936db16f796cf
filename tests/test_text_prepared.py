"""Prepared text as it is read again: documents, conversations, and the hash that changes with them."""

from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.text.prepared import document_texts, limited, training_chats, training_fingerprint


def made(root: Path, *texts: str) -> Life:
    """A life whose training documents are these texts, one a file."""
    life = Life(root)
    for number, text in enumerate(texts):
        write_jsonl(life.data("text") / f"train-{number:05d}.jsonl", [{"text": text, "source": "mine"}])
    return life


def test_documents_are_read_in_the_order_of_their_files(tmp_path: Path) -> None:
    """A split that was not prepared is an error that names the command; conversations may be absent."""
    life = made(tmp_path, "one", "two")
    assert list(document_texts(life.data("text"), "train")) == ["one", "two"]
    with pytest.raises(UserError, match="no val text"):
        next(document_texts(life.data("text"), "val"))
    assert list(training_chats(life.data("chat"))) == []
    write_jsonl(life.data("chat") / "train.jsonl", [{"messages": []}])
    assert list(training_chats(life.data("chat"))) == [{"messages": []}]


def test_a_limit_counts_bytes_and_keeps_the_text_that_reaches_it() -> None:
    """Texts of 4, 2 and 1 bytes: 5 bytes take two of them, 0 takes all."""
    texts = ["éé", "ab", "c"]
    assert list(limited(texts, 5e-6)) == texts[:2]
    assert list(limited(texts, 4e-6)) == texts[:1]
    assert list(limited(texts, 0)) == texts


def test_the_fingerprint_changes_with_the_text(tmp_path: Path) -> None:
    """The same text has the same hash in another life; more text, or conversations, have another."""
    lives = [made(tmp_path / "a", "one"), made(tmp_path / "b", "one"), made(tmp_path / "c", "one", "two")]
    first, same, more = map(training_fingerprint, lives)
    assert first == same != more
    write_jsonl(lives[1].data("chat") / "train.jsonl", [{"messages": []}])
    assert training_fingerprint(lives[1]) != first
