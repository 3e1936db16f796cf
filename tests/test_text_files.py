"""Reading files: whatever their parts, each document is read once, and bad files are named."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.base.jsonl import BadRows
from sayso.cli.main import run
from sayso.text import files, sources
from sayso.text.document import Document, Part
from sayso.text.evaluation import evaluation_files, evaluation_texts
from sayso.text.sources import Amounts, read_part, resolve

AMOUNTS = Amounts(0, 0, 0, 0.02, 0.02, 1000)
ROWS = [{"text": f"Document {number} is about {'é' * (number % 7)} things.", "id": number} for number in range(100)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def texts(name: str | Path) -> list[str]:
    """Return all texts of a source, part after part."""
    bad = BadRows()
    found = [document.text for part in resolve(str(name), AMOUNTS).parts for document in read_part(part, bad)]
    bad.check()
    return found


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """An in-memory object store, emptied afterwards."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.parquet", "rows.ndjson"])
def test_each_format_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    """Plain, compressed and columnar files of the same rows read the same."""
    write(tmp_path / name)
    assert texts(tmp_path / name) == texts(tmp_path) == [row["text"] for row in ROWS]


def write(path: Path) -> None:
    """Return the rows in the format of the file name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=7)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(LINES))
    elif path.suffix == ".zst":
        half = len(LINES) // 2  # two frames, as parallel packers write them
        path.write_bytes(zstandard.compress(LINES[:half]) + zstandard.compress(LINES[half:]))
    else:
        path.write_bytes(LINES)


@pytest.mark.parametrize("size", [1, 37, 64, 1000, 10**6])
def test_parts_of_any_size_read_each_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Byte ranges of a JSON Lines file, and row groups of a Parquet file, neither lose nor repeat a document."""
    monkeypatch.setattr(files, "PART_BYTES", size)
    for name in ("rows.jsonl", "rows.parquet"):
        write(tmp_path / name)
        assert texts(tmp_path / name) == [row["text"] for row in ROWS]


def test_a_folder_of_text_files_is_read_in_order_without_the_hidden(tmp_path: Path) -> None:
    """Each file is a document, in the order of paths; other kinds and hidden folders are ignored."""
    for name in ("b/two.md", "a/one.txt", "c.TXT", ".git/no.txt", "picture.png", "empty.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if name == "empty.txt" else f"This is {name}.")
    assert texts(tmp_path) == ["This is a/one.txt.", "This is b/two.md.", "This is c.TXT."]


def test_a_long_text_is_cut_at_paragraphs_and_loses_nothing(tmp_path: Path) -> None:
    """The joined pieces are the file; each ends with a paragraph and has about the requested length."""
    book = "\ufeff" + "\n\n".join(f"Paragraph {number} " + "word " * (number % 60) for number in range(300))
    (tmp_path / "book.txt").write_text(book, encoding="utf-8")
    pieces = texts(tmp_path / "book.txt")
    assert "".join(pieces) == book.removeprefix("\ufeff")
    assert all(500 <= len(piece) <= 1500 for piece in pieces)
    assert all(piece.endswith("\n\n") for piece in pieces[:-1])


@pytest.mark.parametrize(("length", "pieces"), [(1500, [1500]), (1501, [1000, 501]), (2000, [1000, 1000])])
def test_a_text_is_cut_where_it_is_longer_than_one_and_a_half_pieces(
    tmp_path: Path, length: int, pieces: list[int]
) -> None:
    """So no piece is shorter than half the requested length."""
    (tmp_path / "long.txt").write_text("x" * length)
    assert list(map(len, texts(tmp_path / "long.txt"))) == pieces


def test_a_text_without_any_space_is_cut_too(tmp_path: Path) -> None:
    """Memory is bounded whatever the file contains."""
    (tmp_path / "long.txt").write_text("x" * 10_000)
    assert "".join(texts(tmp_path / "long.txt")) == "x" * 10_000
    assert max(map(len, texts(tmp_path / "long.txt"))) <= 1500


def test_columns_are_chosen_and_conversations_recognized(tmp_path: Path) -> None:
    """`?column=` selects one; a list of role and content is a conversation, in JSON Lines and in Parquet."""
    messages = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Here."}]
    rows = [{"body": "a text", "messages": messages}]
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        assert texts(f"{tmp_path / name}?column=body") == ["a text"]
        [document] = read_part(resolve(str(tmp_path / name), AMOUNTS).parts[0], BadRows())
        assert document == Document("Hello?\nHere.", messages=tuple(messages))


def test_an_object_store_is_read_as_a_folder_is(memory: fsspec.AbstractFileSystem) -> None:
    """Any fsspec URL, of a folder or of one file."""
    memory.pipe("/bucket/data/rows.jsonl", LINES)
    memory.pipe("/bucket/data/more.jsonl.gz", gzip.compress(LINES))
    assert texts("memory://bucket/data/rows.jsonl") == [row["text"] for row in ROWS]
    assert texts("memory://bucket/data") == [row["text"] for row in ROWS] * 2


def test_evaluation_texts_are_all_strings_of_all_rows(tmp_path: Path) -> None:
    """Questions, choices and nested answers, from JSON Lines, Parquet and text files."""
    row = {"question": "Who?", "choices": [{"label": "A", "text": "Ann"}, "Bob"], "gold": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (tmp_path / "b.txt").write_text("A text.")
    pq.write_table(pa.Table.from_pylist([{"premise": "It rains.", "n": 3}]), tmp_path / "c.parquet")
    (tmp_path / "d.json").write_text(json.dumps([{"data": ["It snows."]}]))
    (tmp_path / "e.csv").write_text("id,text\n1,It hails.\n")
    found = list(evaluation_texts(evaluation_files(tmp_path), BadRows()))
    assert found == ["Who?", "A", "Ann", "Bob", "A text.", "It rains.", "It snows.", "id,text\n1,It hails.\n"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.txt", b"", "is empty"),
        ("image.txt", b"\x89PNG\r\n\0\0\0", "is binary"),
        ("latin.txt", "caf\xe9 au lait".encode("latin-1"), "iconv"),
        ("data.csv", b"a,b", "must end in .txt"),
        ("bad.jsonl", b'{"text": "a"}\n{"text": \n', "bad.jsonl:2: This is not valid JSON"),
        ("list.jsonl", b"[1, 2]\n", "is a list"),
        ("other.jsonl", b'{"txt": "a"}\n', "Did you mean 'txt'?"),
        ("number.jsonl", b'{"text": 7}\n', "a string or a list of messages; 'text' is a number"),
        ("role.jsonl", b'{"messages": [{"role": "asistant", "content": "a"}]}\n', "Did you mean 'assistant'?"),
        ("cut.jsonl.gz", gzip.compress(LINES)[:-9], "is damaged"),
        ("not.jsonl.gz", LINES, "is damaged"),
        ("not.jsonl.zst", LINES, "is damaged"),
        ("cut.jsonl.zst", zstandard.compress(LINES)[:-5], "is damaged"),
        ("cut.parquet", b"PAR1 and no more", "is damaged"),
    ],
)
def test_a_bad_file_is_named_with_the_reason(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """One sentence names the file and the fix."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name) as caught:
        texts(tmp_path / name)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wikki", "Did you mean 'wiki'?"),
        ("smalworld", "Did you mean 'smallworld'?"),
        ("nowhere/at/all.txt", "there is no 'nowhere/at/all.txt'"),
        ("rows.jsonl?colum=x", "Did you mean 'column'?"),
        ("memory://nothing/here", "does not exist or is empty"),
        ("s4://bucket/x", "cannot be listed"),
    ],
)
def test_an_unknown_source_suggests_the_nearest(name: str, says: str) -> None:
    """The message gives the rule, the value and the nearest name."""
    with pytest.raises(UserError) as caught:
        resolve(name, AMOUNTS)
    assert says in str(caught.value)


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    """A folder without files of a known kind, or with only empty files, is refused."""
    with pytest.raises(UserError, match="has none"):
        resolve(str(tmp_path), AMOUNTS)
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match="are empty"):
        resolve(str(tmp_path), AMOUNTS)


def test_every_reader_is_known() -> None:
    """A part's reader is a key of the table that workers use."""
    assert {"text", "lines", "parquet"} <= set(sources.READERS)
    assert list(read_part(Part("text", extra=(0,)), BadRows())) == []


def test_files_about_the_data_are_ignored_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Card, license and similar files of a cloned data set are not documents, for prepare and for finetune."""
    folder, life = tmp_path / "clone", tmp_path / "life"
    (folder / ".git").mkdir(parents=True)
    for name in ("README.md", "LICENSE.txt", "LICENCE-MIT.md", "CITATION.md", "readme.zh-CN.md", "dataset_infos.jsonl"):
        (folder / name).write_text(f"About: {name}. " * 20)
    (folder / ".gitattributes").write_text("*.jsonl filter=lfs")
    (folder / ".git" / "notes.txt").write_text("hidden")
    (folder / "readmes are fun.txt").write_text("A document. " * 20)
    talk = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Here."}]
    (folder / "data.jsonl").write_text(json.dumps({"messages": talk}))
    assert texts(folder) == ["Hello?\nHere.", "A document. " * 20]
    assert run(["prepare", "--sources", str(folder), "--life", str(life), "--workers", "1", "--no-quality"]) == 0
    told = capsys.readouterr().out
    assert f"Ignored in '{folder}' (not training text): CITATION.md, LICENCE-MIT.md, LICENSE.txt, README.md" in told
    assert read_json(life / "data/text/manifest.json")["totals"]["in"]["documents"] == 2
    assert len(read_json(life / "data/text/manifest.json")["sources"][0]["ignored"]) == 6
    assert len(evaluation_files(folder)) == 2


def test_files_that_are_named_or_alone_are_read(tmp_path: Path) -> None:
    """An explicitly named README is text, and so are those of a folder with nothing else."""
    (tmp_path / "a").mkdir()
    for name in ("README.md", "a/README.md"):
        (tmp_path / name).write_text(f"What {name} says.")
    assert texts(tmp_path) == ["What README.md says.", "What a/README.md says."]
    (tmp_path / "a" / "b.txt").write_text("A text.")
    assert texts(tmp_path) == ["A text."]
    assert texts(tmp_path / "README.md") == ["What README.md says."]


@pytest.mark.parametrize("inside", ["life", ".", "deep/er"])
def test_a_life_in_a_corpus_is_not_read_back(inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command finds the same text again; the user's own files in the life are read."""
    corpus = tmp_path / "corpus"
    life = corpus / inside
    (life / "data" / "mine").mkdir(parents=True)
    (corpus / "book.txt").write_text("A book of the user's. " * 20)
    (life / "data" / "mine" / "notes.txt").write_text("Notes of the user's. " * 20)
    words = ["prepare", "--sources", str(corpus), "--life", str(life), "--workers", "1", "--no-quality"]
    assert run(words) == 0
    assert len(texts(corpus)) == 2
    assert "Ignored" not in capsys.readouterr().out
    assert run(words) == 0
    told = capsys.readouterr().out
    assert f"data of the life in '{life}'" in told
    assert "Already prepared" in told


def test_a_parquet_file_without_rows_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without row groups has no part."""
    empty = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(tmp_path / "empty.parquet", empty):
        pass
    words = ["prepare", "--sources", str(tmp_path / "empty.parquet"), "--life", str(tmp_path / "life")]
    assert run(words) == 2
    assert "has no documents" in capsys.readouterr().err


def test_text_of_a_parquet_file_that_is_not_utf_8_is_a_bad_row(tmp_path: Path) -> None:
    """Parquet does not check it; the other rows are read."""
    words = pa.array([b"one", b"\xff\xfe", b"three"], pa.binary())
    table = pa.Table.from_arrays([pa.Array.from_buffers(pa.string(), 3, words.buffers())], ["text"])
    pq.write_table(table, tmp_path / "rows.parquet")
    bad = BadRows("skip")
    parts = resolve(str(tmp_path / "rows.parquet"), AMOUNTS).parts
    assert [document.text for part in parts for document in read_part(part, bad)] == ["one", "three"]
    assert bad.first == [f"{tmp_path / 'rows.parquet'}, row 2: A row must hold UTF-8 text; this one does not."]


def test_a_text_file_that_is_not_text_is_skipped_entirely(tmp_path: Path) -> None:
    """With skip, nothing of a file with a bad end is kept; with stop, the file is named."""
    (tmp_path / "a.txt").write_bytes(b"A paragraph of text.\n\n" * 400 + "caf\xe9".encode("latin-1"))
    (tmp_path / "b.txt").write_text("A text.")
    parts = resolve(str(tmp_path), AMOUNTS).parts
    bad = BadRows("skip")
    assert [document.text for part in parts for document in read_part(part, bad)] == ["A text."]
    assert (bad.rows, bad.count) == (2, 1)
    assert bad.first[0].startswith(f"{tmp_path / 'a.txt'}: A text file must be UTF-8")
