"""JSON Lines: what is written is read back, whatever the text, and each bad row is reported with its reason."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows, line_of, parse, read_jsonl, read_rows, repair_surrogates, write_jsonl
from sayso.base.log import RunLog, read_log

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n"


def rows_of(data: bytes, folder: Path, policy: Any = "skip") -> tuple[list[dict[str, Any]], BadRows]:
    """Return the rows of a file with these bytes, and the errors of the others."""
    path, bad = folder / "rows.jsonl", BadRows(policy)
    path.write_bytes(data)
    return [row for _, row in read_rows(path, bad)], bad


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_one_line_and_round_trips(text: str) -> None:
    """A value is one line of the file, and reads back equal."""
    line = line_of({"text": text})
    assert line.count(b"\n") == 1
    assert parse(line) == {"text": text}


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    """Characters that `str.splitlines` takes for line ends are data, in rows and in a run's log."""
    rows = [{"text": f"a{letter}b"} for letter in SEPARATORS]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == rows
    log = RunLog(tmp_path / "run.jsonl")
    for row in rows:
        log.write("samples", **row)
    assert read_log(log.path) == [{"event": "samples", **row} for row in rows]


def test_a_byte_order_mark_crlf_and_blank_lines_are_no_rows(tmp_path: Path) -> None:
    """What editors on Windows add is ignored, where files were joined as well."""
    mark = b"\xef\xbb\xbf"
    found, bad = rows_of(mark + b'{"a": 1}\r\n\r\n' + mark + b'{"a": 2}\r\n' + mark, tmp_path)
    assert found == [{"a": 1}, {"a": 2}]
    assert (bad.rows, bad.count) == (2, 0)


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"\ud83d", "\ufffd"),
        (r"\uDE00!", "\ufffd!"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\\ud83d", r"\ud83d"),
        (r"\\\ud83d", "\\\ufffd"),
        (r"\ud83dude00", "\ufffdude00"),
    ],
)
def test_half_a_character_is_read_as_the_replacement(tmp_path: Path, escaped: str, text: str) -> None:
    """A lone surrogate becomes U+FFFD and its row is counted; a pair, and an escaped backslash, are unchanged."""
    found, bad = rows_of(b'{"a": "%s"}\n{"a": ""}\n' % escaped.encode(), tmp_path)
    assert found == [{"a": text}, {"a": ""}]
    assert bad.replaced == ("\ufffd" in text)
    assert bool(bad.notes()) == bool(bad.replaced)


def test_half_a_character_is_written_as_the_replacement() -> None:
    """No text makes a log unwritable; adjacent halves become one character."""
    assert repair_surrogates("a\ud83db") == "a\ufffdb"
    assert repair_surrogates("\ud83d\ude00") == "\U0001f600"
    assert parse(line_of({"\udc80": ["\ud83d"]})) == {"\ufffd": ["\ufffd"]}


def test_numbers_that_are_not_finite_are_written_as_null() -> None:
    """JSON has no notation for them, and other programs would reject the file."""
    assert line_of({"a": [math.nan, 1.5], "b": (math.inf,)}) == b'{"a": [null, 1.5], "b": [null]}\n'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": ', "not valid JSON (Expecting value, column 8)"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 0xff at position 8)"),
        (b'{"a": "\xed\xa0\xbd"}', "not UTF-8"),
        (b'\xff\xfe{\x00"\x00', "UTF-16"),
        (b'{"a": NaN}', "NaN is not valid JSON"),
        (b'{"a": -Infinity}', "-Infinity is not valid JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "The key 'c' occurs twice"),
        (b'["a"]', "this is a list"),
        (b"null", "this is null"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b'{"a": ' + b"[" * 101 + b"]" * 101 + b"}", "nested at most 100 levels deep"),
        (b'{"a": ' + b"[" * 99_999, "nested at most 100 levels deep"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "4300"),
        (b'{"a": "\x01"}', "Invalid control character"),
        (b'{"a": 1} {"a": 2}', "Extra data"),
    ],
)
def test_a_bad_row_is_reported_and_the_others_are_read(tmp_path: Path, line: bytes, reason: str) -> None:
    """The reason has file and line; the rows before and after are read."""
    found, bad = rows_of(b'{"a": 0}\n' + line + b'\n{"a": 9}\n', tmp_path)
    assert found == [{"a": 0}, {"a": 9}]
    assert (bad.rows, bad.count) == (3, 1)
    assert bad.first[0].startswith(f"{tmp_path / 'rows.jsonl'}:2: ")
    assert reason in bad.first[0]
    with pytest.raises(UserError, match=r"rows\.jsonl:2: .* Fix or remove that line\.$"):
        list(read_jsonl(tmp_path / "rows.jsonl"))


def test_nesting_up_to_the_limit_is_read() -> None:
    """A hundred levels are read; many values side by side are not levels."""
    deep = '{"a": ' * 99 + "[]" + "}" * 99
    assert parse(deep.encode()) == json.loads(deep)
    assert len(parse(b"[" + b"[]," * 500 + b"[]]")) == 501


def test_the_first_five_bad_rows_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    """With stop they end the command, with skip they are reported; both give their number."""
    data = b"".join(b'{"a": %d}\n' % number if number % 2 else b"no\n" for number in range(16))
    found, bad = rows_of(data, tmp_path)
    assert [row["a"] for row in found] == list(range(1, 16, 2))
    assert bad.facts()["skipped"] == 8
    assert len(bad.facts()["first"]) == 5
    bad.check()
    (told,) = bad.notes()
    assert told.startswith("8 of 16 rows skipped:\n")
    assert told.endswith("\n  and 3 more")
    stopped = rows_of(data, tmp_path, "stop")[1]
    with pytest.raises(UserError, match=r"^8 of 16 rows cannot be used:\n(  .*rows\.jsonl:\d+: .*\n){5}  and 3 more\n"):
        stopped.check()


def test_a_folder_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    """Both give one sentence."""
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "none", "no file")):
        with pytest.raises(UserError, match=said):
            list(read_jsonl(path))
