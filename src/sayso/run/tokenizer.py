"""Acts: train a tokenizer on prepared text, and compare kinds of tokenizers.

`train_tokenizer` reads the training documents and conversations and writes `tokenizer/`; it does nothing if the
tokenizer is up to date. `compare` prints a table and returns its rows as data.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.console import Group
from rich.table import Table

from sayso.base.errors import UserError
from sayso.base.files import read_json, read_object, write_json
from sayso.base.intact import check_listed, recorded
from sayso.base.jsonl import BadRows, read_jsonl
from sayso.base.life import Life
from sayso.base.lock import alone
from sayso.base.log import Progress, act_log, say
from sayso.base.made import check_replaceable, made_folder
from sayso.base.output import console
from sayso.base.ranges import Options, Range, Weight
from sayso.batch.tokens import documents
from sayso.text.rows import ReadsRows, report_ignored, report_rows
from sayso.text.sources import file_source, read_part
from sayso.token.compare import ComparedTokenizer, compare_tokenizers, frequent_word, measure_tokenizer
from sayso.token.load import MADE_OF, load
from sayso.token.tokenizer import SMALLEST_VOCABULARY, Tokenizer
from sayso.token.train import train

MEASURED_MEGABYTES = 1.0  # of held-out text, enough for three digits
PIECE = 2_000  # characters: text files are split into documents of this size, so that part of a file can be held out
HELD_OUT = 10  # every tenth document of a given text is held out
Vocabulary = Annotated[int, Range(SMALLEST_VOCABULARY, 2**24)]


@dataclass(frozen=True)
class TrainTokenizer(Options):
    """Options of `sayso tokenizer train`."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    vocab_size: Vocabulary = 4096
    """Maximum vocabulary size; a small text may yield fewer tokens."""
    kind: Literal["bpe", "word", "character"] = "bpe"
    """Kind of tokenizer: byte-pair encoding, words, or characters."""
    megabytes: Weight = 200.0
    """Maximum amount of documents, and of conversations, to train on in MB; 0 = all."""


@dataclass(frozen=True)
class Compare(ReadsRows):
    """Options of `sayso tokenizer compare`."""

    text: tuple[str, ...] = ()
    """Text files or folders. Default: the prepared text."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    tokenizers: tuple[Path, ...] = ()
    """Folders of tokenizers to compare. Default: train one of each kind."""
    vocab_size: Vocabulary = 4096
    """Maximum vocabulary size of each tokenizer."""
    megabytes: Weight = 10.0
    """Maximum amount of text to read in MB; 0 = all."""


@alone(lambda options: Life(options.life).tokenizer)
def train_tokenizer(options: TrainTokenizer) -> Tokenizer:
    """Train a tokenizer on the prepared documents and conversations."""
    life = Life(options.life)
    made_of = _made_of(life, options)
    record, trained = life.tokenizer / MADE_OF, life.tokenizer / "tokenizer.json"
    if trained.exists() and record.exists() and read_object(record).get("made_of") == made_of:
        say("The tokenizer has already been trained with these options on this text.")
        return load(life.tokenizer)
    check_replaceable(life.tokenizer)
    with act_log(life, "tokenizer", "train", options) as log:
        start = time.perf_counter()
        tokenizer = train(options.kind, _watched(_texts(life, options.megabytes)), options.vocab_size)
        seconds = time.perf_counter() - start
        held_out = list(_first(_split(life, "val"), MEASURED_MEGABYTES))
        measured = (
            _summary(measure_tokenizer(options.kind, tokenizer, held_out, frequent_word(held_out))) if held_out else {}
        )
        with made_folder(life.tokenizer) as part:
            with recorded(part / "tokenizer.json"), recorded(part / "tokenizer_config.json"):
                tokenizer.save(part)
            write_json(part / MADE_OF, {"made_of": made_of, "measured": measured}, sealed=True)
        log.write("tokenizer", vocab_size=tokenizer.vocab_size, train_seconds=round(seconds, 2), **measured)
    told = f"; {measured['bytes_per_token']:.2f} bytes per token on held-out text" if measured else ""
    say(f"Trained a {options.kind} tokenizer with {tokenizer.vocab_size:,} tokens in {seconds:.1f} s{told}.")
    return tokenizer


def compare(options: Compare) -> list[dict[str, Any]]:
    """Compare kinds of tokenizers on held-out text."""
    life = Life(options.life)
    train_texts, test_texts = _named(options) if options.text else _prepared(life, options)
    if options.tokenizers:
        word = frequent_word(test_texts)
        rows = [measure_tokenizer(str(folder), load(folder), test_texts, word) for folder in options.tokenizers]
    else:
        rows = compare_tokenizers(train_texts, test_texts, options.vocab_size)
    console().print(tables(rows))
    data = [asdict(row) for row in rows]
    if not options.text:
        path = life.run("tokenizer-compare") / "scores.json"
        with act_log(life, "tokenizer", "compare", options), recorded(path):
            write_json(path, data)
    return data


def tables(rows: list[ComparedTokenizer]) -> Group:
    """Return the rows as two tables: metrics, and the tokens of a sample word, with "·" for a space."""
    numbers = Table("tokenizer", title="On held-out text", title_justify="left")
    for name in ("vocabulary", "bytes per token", "tokens per word", "unknown", "encode MB/s"):
        numbers.add_column(name, justify="right")
    words = Table(
        "tokenizer", rows[0].word, rows[0].misspelt, title="A word, and the same word misspelled", title_justify="left"
    )
    for row in rows:
        numbers.add_row(
            row.name,
            f"{row.vocab_size:,}",
            f"{row.bytes_per_token:.2f}",
            f"{row.tokens_per_word:.2f}",
            f"{row.unknown_rate:.2%}",
            f"{row.encode_mb_s:.1f}",
        )
        words.add_row(
            row.name, *("|".join(pieces).replace(" ", "·") for pieces in (row.word_pieces, row.misspelt_pieces))
        )
    return Group(numbers, words)


def _texts(life: Life, megabytes: float) -> Iterator[str]:
    """Yield the training text: the documents and the messages of the conversations."""
    chat = life.data("chat") / "train.jsonl"
    said = (message["content"] for row in _rows(chat) for message in row["messages"])
    return chain(_first(_split(life, "train"), megabytes), _first(said, megabytes))


def _split(life: Life, split: str) -> Iterator[str]:
    return (document["text"] for document in documents(life.data("text"), split))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return iter(())
    check_listed(path.parent, path.name)
    return read_jsonl(path)


def _first(texts: Iterable[str], megabytes: float) -> Iterator[str]:
    """Yield texts up to this total size; 0 = all."""
    left = megabytes * 1e6 or float("inf")
    for text in texts:
        yield text
        left -= len(text.encode("utf-8", "replace"))
        if left <= 0:
            return


def _watched(texts: Iterable[str]) -> Iterator[str]:
    with Progress(None, "texts") as line:
        for number, text in enumerate(texts, 1):
            line.update(number)
            yield text


def _summary(row: ComparedTokenizer) -> dict[str, float]:
    return {
        "bytes_per_token": round(row.bytes_per_token, 4),
        "tokens_per_word": round(row.tokens_per_word, 4),
        "encode_mb_s": round(row.encode_mb_s, 2),
    }


def _made_of(life: Life, options: TrainTokenizer) -> dict[str, Any]:
    """Return the options and a fingerprint of the data. Raises `UserError` if there is no text."""
    next(documents(life.data("text"), "train"), None)
    paths = sorted((*life.data("text").glob("train-*.jsonl"), *life.data("chat").glob("train.jsonl")))
    manifests = [life.data(name) / "manifest.json" for name in ("text", "chat")]
    facts = [[path.name, path.stat().st_size] for path in paths]
    facts += [[str(read_json(path))] for path in manifests if path.exists()]
    mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return {"kind": options.kind, "vocab_size": options.vocab_size, "megabytes": options.megabytes, "data": mark}


def _prepared(life: Life, options: Compare) -> tuple[list[str], list[str]]:
    train_texts = list(_first(_split(life, "train"), options.megabytes))
    held_out = list(_first(_split(life, "val"), MEASURED_MEGABYTES))
    return (train_texts, held_out) if held_out else _parted(train_texts, str(life.data("text")))


def _named(options: Compare) -> tuple[list[str], list[str]]:
    """Return the documents of the given text, with every tenth held out."""
    for name in options.text:
        if not Path(name).exists():
            raise UserError(f"Text to compare on must be a file or a folder; '{name}' does not exist.")
    sources = [file_source(name, PIECE) for name in options.text]
    report_ignored(sources)
    parts = [part for source in sources for part in source.parts]
    bad = BadRows(options.bad_rows)
    read_texts = (document.text for part in parts for document in read_part(part, bad))
    texts = list(dict.fromkeys(_first(read_texts, options.megabytes)))  # deduplicated, so that no text is in both parts
    report_rows(bad)
    return _parted(texts, options.text[0])


def _parted(texts: list[str], name: str) -> tuple[list[str], list[str]]:
    """Split texts into training texts and every tenth one for the comparison."""
    if len(texts) < 2:
        raise UserError(
            f"Tokenizers are compared on held-out text, but '{name}' is too short to split. Provide more text."
        )
    held_out = list(islice(texts, 0, None, HELD_OUT))
    return [text for number, text in enumerate(texts) if number % HELD_OUT], held_out
