"""Token shards: they are read as written; damaged and missing ones and those of another tokenizer are detected."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.batch.shards import Shards, write_shards

DOCUMENTS = [[0, *range(5, 5 + length), 4] for length in (3, 0, 10, 1, 7, 7, 2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven documents in three shards."""
    write_shards(tmp_path / "tokens", DOCUMENTS, 400, tokenizer="mine", documents_per_shard=3)
    return tmp_path / "tokens"


@settings(deadline=None, max_examples=30)
@given(
    documents=st.lists(st.lists(st.integers(0, 99_999), min_size=1, max_size=9), min_size=1, max_size=9),
    per_shard=st.integers(1, 4),
    tokens_per_shard=st.integers(1, 20),
    vocab_size=st.sampled_from([100_000, 2**16 + 1]),
)
def test_documents_are_read_as_written(tmp_path_factory, documents, per_shard, tokens_per_shard, vocab_size) -> None:
    """Each can be read by its number, however they are distributed over files."""
    folder = tmp_path_factory.mktemp("tokens") / "here"
    documents = [[number % vocab_size for number in document] for document in documents]
    sizes = {"documents_per_shard": per_shard, "tokens_per_shard": tokens_per_shard}
    write_shards(folder, iter(documents), vocab_size, tokenizer="mine", **sizes)
    shards = Shards.open(folder, tokenizer="mine")
    assert [shards.document(index).tolist() for index in range(len(shards))] == documents
    assert shards.lengths.tolist() == list(map(len, documents))
    assert shards.take(np.arange(shards.tokens)).tolist() == [number for document in documents for number in document]


@pytest.mark.parametrize(("vocab_size", "bytes_per_id"), [(2**16, 2), (2**16 + 1, 4)])
def test_ids_have_two_bytes_if_the_vocabulary_allows(tmp_path: Path, vocab_size: int, bytes_per_id: int) -> None:
    """The largest id of a vocabulary of 65,536 fits into two bytes; a larger one needs four."""
    write_shards(tmp_path / "tokens", [[0, vocab_size - 1]], vocab_size, tokenizer="mine")
    document = Shards.open(tmp_path / "tokens").document(0)
    assert (document.itemsize, document.tolist()) == (bytes_per_id, [0, vocab_size - 1])


def test_a_long_document_has_a_shard_of_its_own(tmp_path: Path) -> None:
    """A document is never split, even if it is longer than a shard should be."""
    write_shards(tmp_path / "tokens", [[1] * 5, [2] * 50, [3] * 5], 400, tokenizer="mine", tokens_per_shard=10)
    assert [len(part) for part in Shards.open(tmp_path / "tokens").parts] == [5, 50, 5]


def test_writing_streams(tmp_path: Path) -> None:
    """Writing needs the memory of one shard, for any number of documents."""
    peaks = []
    for count in (200, 4000):
        tracemalloc.start()
        documents = ([0] + [7] * 999 for _ in range(count))
        write_shards(tmp_path / str(count), documents, 400, tokenizer="mine", documents_per_shard=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    ("documents", "rule"),
    [
        ([], "sayso prepare"),
        ([[1], []], "document 1 is empty"),
        ([[1], [400]], "document 1 has 400"),
        ([[-1]], "document 0 has -1"),
    ],
)
def test_invalid_documents_leave_no_files(tmp_path: Path, documents, rule: str) -> None:
    """The error has the number of the document, and no partial folder remains."""
    with pytest.raises(UserError, match=rule):
        write_shards(tmp_path / "tokens", documents, 400, tokenizer="mine", documents_per_shard=1)
    assert list(tmp_path.iterdir()) == []


def test_every_truncation_is_detected(folder: Path) -> None:
    """A shard truncated after any byte is refused; the error has the file and the fix."""
    path = folder / "00001.tokens"
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"00001\.tokens.*prepare the tokens again"):
            Shards.open(folder)
    path.write_bytes(content + b"\0")
    with pytest.raises(UserError, match=r"00001\.tokens"):
        Shards.open(folder)


def test_every_changed_byte_of_the_body_is_detected(folder: Path) -> None:
    """A flipped bit of a length or an id changes the checksum."""
    path = folder / "00002.tokens"
    content = path.read_bytes()
    body = len(content) - 4 - 2 * len(DOCUMENTS[6])
    for at in range(body, len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(UserError, match=r"00002\.tokens.*damaged"):
            Shards.open(folder)


@settings(deadline=None)
@given(head=st.binary(max_size=80))
def test_any_other_file_is_refused(tmp_path_factory, head: bytes) -> None:
    """Any other content is a `UserError`, even after the right first bytes."""
    folder = tmp_path_factory.mktemp("tokens")
    for start in (b"", b"saysotok"):
        (folder / "00000.tokens").write_bytes(start + head)
        with pytest.raises(UserError):
            Shards.open(folder)


@pytest.mark.parametrize("lost", ["00000.tokens", "00001.tokens", "00002.tokens"])
def test_a_missing_shard_is_detected(folder: Path, lost: str) -> None:
    """Whether it is the first, a middle or the last one."""
    (folder / lost).unlink()
    with pytest.raises(UserError, match="incomplete"):
        Shards.open(folder)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    """It has no shards."""
    with pytest.raises(UserError, match="has none"):
        Shards.open(tmp_path)


def test_shards_of_another_tokenizer_are_refused(folder: Path) -> None:
    """The error has both fingerprints."""
    assert Shards.open(folder, tokenizer="mine").tokenizer == "mine"
    with pytest.raises(UserError, match=r"00000\.tokens.*made by mine, this one is yours"):
        Shards.open(folder, tokenizer="yours")


def test_documents_cannot_be_changed_through_a_view(folder: Path) -> None:
    """The view is read-only."""
    with pytest.raises(ValueError, match="read-only"):
        Shards.open(folder).document(0)[0] = 1


def test_every_changed_byte_of_a_shard_is_detected(tmp_path: Path) -> None:
    """Those of the header too."""
    write_shards(tmp_path / "t", [[1, 2, 3], [4, 5]], 300, tokenizer="a" * 64)
    path = tmp_path / "t" / "00000.tokens"
    old = path.read_bytes()
    for place in range(len(old)):
        for bit in (1, 16):
            path.write_bytes(old[:place] + bytes([old[place] ^ bit]) + old[place + 1 :])
            with pytest.raises(UserError):
                Shards.open(tmp_path / "t")
