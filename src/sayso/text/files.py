"""Stream documents from text, JSON Lines and Parquet files, plain or compressed, local or at a URL.

`parts_of` splits files into parts of about `PART_BYTES` by their kind: plain JSON Lines by byte range, local Parquet
by row group, small text files in batches; a compressed file is one part. `read_...` read a part.
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sayso.base.errors import UserError, require
from sayso.base.jsonl import BadRows, kind_of, parse
from sayso.text.compressed import COMPRESSED, READ_BLOCK, open_bytes, open_decompressed
from sayso.text.document import Document, File, Part, Place
from sayso.text.formats import EXTRA_COLUMNS, NO_TEXT, column_of, document_of

PART_BYTES = 8 << 20  # small enough that a corpus of 20 MB keeps two cores busy
FILES_PER_PART = 256
_ROWS = 256  # rows of a Parquet file read at a time
IN_FOLDER = {".txt": "text", ".md": "text", ".jsonl": "lines", ".ndjson": "lines", ".parquet": "parquet"}
SUFFIXES = {**IN_FOLDER, ".json": "array"}  # a .json in a folder is often metadata, so it is read only if named


def suffix_of(where: str, kinds: Iterable[str] = tuple(SUFFIXES)) -> str:
    """Return the kind of a file by its name (".txt", ".jsonl", ...), or "" if it is none of `kinds`."""
    name = where.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return next((kind for kind in kinds if name.endswith(kind)), "")


def parts_of(files: Sequence[File], column: str | None, piece: int) -> Iterator[Part]:
    """Yield the parts of files, in order; `piece` is the length in characters at which long texts are cut."""
    texts: list[str] = []
    size = 0
    for file in files:
        where, length = file.where, file.size
        kind = SUFFIXES[suffix_of(where)]
        if kind == "text":
            if texts and (size + length > PART_BYTES or len(texts) == FILES_PER_PART):
                yield Part("text", tuple(texts), extra=(piece,))
                texts, size = [], 0
            texts.append(where)
            size += length
        elif kind == "lines" and not where.lower().endswith(COMPRESSED):
            for start in range(0, max(length, 1), PART_BYTES):
                yield Part("lines", (where,), start, start + PART_BYTES, column)
        elif kind == "parquet" and "://" not in where:
            yield from _row_groups(where, column)
        else:
            yield Part(kind, (where,), column=column)
    if texts:
        yield Part("text", tuple(texts), extra=(piece,))


def read_text(part: Part, bad: BadRows) -> Iterator[Document]:
    """Yield the documents of text files: one per file, long files split at paragraph ends."""
    for where in part.where:
        bad.rows += 1
        # With "skip", read the file twice, so that a bad one is dropped entirely.
        if bad.policy == "skip" and bad.attempt(where, _is_text, where) is None:
            continue
        try:
            for text in _pieces(where, part.extra[0]):
                yield Document(text)
        except UserError as error:
            bad.add(where, str(error))


def read_lines(part: Part, bad: BadRows) -> Iterator[Document]:
    """Yield the document of each line that begins in the part's byte range."""
    for row, at in rows_of_lines(part.where[0], bad, part.start, part.stop):
        document = bad.attempt(at, document_of, row, part.column, at)
        if document is not None:
            yield document


def read_array(part: Part, bad: BadRows) -> Iterator[Document]:
    """Yield the document of each row of a JSON file that holds one list."""
    where = part.where[0]
    rows = read_whole(where)
    if not isinstance(rows, list):
        raise UserError(f"A .json file must hold one list of rows; '{where}' holds {kind_of(rows)}.")
    for number, row in enumerate(rows, 1):
        bad.rows += 1
        at = Place(where, number, kind="row")
        document = bad.attempt(at, document_of, row, part.column, at)
        if document is not None:
            yield document


def read_whole(where: str) -> Any:
    """Return the value in a JSON file, which may be compressed; raises `UserError` if it is not valid JSON."""
    with open_decompressed(where) as file:
        content = file.read()
    try:
        return parse(content)
    except ValueError as error:
        raise UserError(f"'{where}': {error} Rename it to .jsonl if each line is a row.") from error


def read_parquet(part: Part, bad: BadRows) -> Iterator[Document]:
    """Yield the document of each row of the part's row groups."""
    where = part.where[0]
    with _parquet(where) as table:
        names = list(table.schema_arrow.names)
        try:
            column = column_of(names, part.column)
        except UserError as error:
            raise UserError(f"'{where}': {error}") from error
        columns = list(dict.fromkeys([column, *(name for name in EXTRA_COLUMNS if name in names)]))
        groups = range(part.start, table.num_row_groups if part.stop is None else part.stop)
        number = sum(table.metadata.row_group(group).num_rows for group in range(part.start))
        for batch in table.iter_batches(_ROWS, columns=columns, row_groups=list(groups)):
            for row in _rows_of(batch):
                number += 1
                bad.rows += 1
                at = Place(where, number, kind="row")
                document = bad.attempt(at, document_of, row, part.column, at)
                if document is not None:
                    yield document


def rows_of_lines(
    where: str, bad: BadRows, start: int = 0, stop: int | None = None
) -> Iterator[tuple[dict[str, Any], Place]]:
    """Yield the object of each line that begins between two byte offsets, and its position; bad lines are counted."""
    with open_decompressed(where) as file:
        place = first = start
        number = 0
        if start:
            file.seek(start - 1)
            first = place = place + len(file.readline()) - 1  # a line that begins before belongs to the previous part
        while stop is None or place < stop:
            line = file.readline()
            if not line:
                return
            place, number = place + len(line), number + 1
            at = Place(where, number, first)
            row = bad.row(line, at)
            if row is not None:
                yield row, at


def rows_of_parquet(where: str, bad: BadRows) -> Iterator[dict[str, Any]]:
    """Yield each row of a Parquet file with all its columns; bad rows are counted."""
    with _parquet(where) as table:
        for number, row in enumerate((row for batch in table.iter_batches(_ROWS) for row in _rows_of(batch)), 1):
            bad.rows += 1
            if row is None:
                bad.add(Place(where, number, kind="row"), NO_TEXT)
            else:
                yield row


def _rows_of(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Yield the rows of a Parquet batch; None for one whose text is not UTF-8, which Parquet does not check."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for number in range(batch.num_rows):
            try:
                yield from batch.slice(number, 1).to_pylist()
            except UnicodeDecodeError:
                yield None


@contextmanager
def _parquet(where: str) -> Iterator[Any]:
    arrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    try:
        with open_bytes(where) as file, parquet.ParquetFile(file) as table:
            yield table
    except (arrow.ArrowInvalid, OSError) as error:  # pyarrow reports a truncated page as OSError
        raise UserError(f"'{where}' is damaged or not a Parquet file ({error}); download it again.") from error


def _row_groups(where: str, column: str | None) -> Iterator[Part]:
    with _parquet(where) as table:
        sizes = [table.metadata.row_group(group).total_byte_size for group in range(table.num_row_groups)]
    start = size = 0
    for group, length in enumerate(sizes):
        size += length
        if size >= PART_BYTES or group == len(sizes) - 1:
            yield Part("parquet", (where,), start, group + 1, column)
            start, size = group + 1, 0


def _is_text(where: str) -> bool:
    """Return True if a file can be read as text to its end; otherwise raise `UserError`."""
    for _ in _pieces(where, READ_BLOCK):
        pass
    return True


def _pieces(where: str, piece: int) -> Iterator[str]:
    """Yield a text file's text in pieces of about `piece` characters (0 = one piece), split at paragraph ends."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest, done = "", False
    with open_decompressed(where) as file:
        while not done:
            block = file.read(READ_BLOCK)
            done = not block
            if b"\0" in block:
                raise UserError(f"A text file must be UTF-8; '{where}' is binary: remove or convert it.")
            rest += _decoded(decoder, block, where, final=done)
            while piece and len(rest) > 1.5 * piece:
                end = _split_point(rest, piece)
                yield rest[:end]
                rest = rest[end:]
    if rest.strip():
        yield rest


def _split_point(text: str, piece: int) -> int:
    """Return where to split a long text: after the last paragraph, line or word of its first `piece` characters."""
    for end in ("\n\n", "\r\n\r\n", "\n", " "):
        place = text.rfind(end, piece // 2, piece)
        if place > 0:
            return place + len(end)
    return piece


def _decoded(decoder: codecs.IncrementalDecoder, block: bytes, where: str, final: bool = False) -> str:
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        raise UserError(
            f"A text file must be UTF-8; '{where}' is not ({error.reason}): convert it, e.g. with iconv -t UTF-8."
        ) from error
