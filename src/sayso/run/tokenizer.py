"""Acts: train a tokenizer on prepared text, and compare kinds of tokenizers.

`train_tokenizer` reads the training documents and conversations and writes `tokenizer/`; it does nothing if the
tokenizer is up to date. `compare` prints a table and returns its rows as data.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from sayso.base.files import read_object, write_json
from sayso.base.intact import recorded
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import exclusive
from sayso.base.log import Progress, act_log, say
from sayso.base.made import check_replaceable, made_folder
from sayso.base.output import console
from sayso.base.ranges import Options, Range, Weight
from sayso.text.prepared import document_texts, limited, training_chats, training_fingerprint
from sayso.text.rows import ReadsRows
from sayso.token.compare import (
    compare_tokenizers,
    comparison_tables,
    divided,
    frequent_word,
    measure_tokenizer,
    texts_of_files,
)
from sayso.token.load import MADE_OF, load
from sayso.token.tokenizer import SMALLEST_VOCABULARY, Tokenizer
from sayso.token.train import train

MEASURED_MEGABYTES = 1.0  # of held-out text, enough for three digits
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


@exclusive(lambda options: Life(options.life).tokenizer)
def train_tokenizer(options: TrainTokenizer) -> Tokenizer:
    """Train a tokenizer on the prepared documents and conversations."""
    life, kind = Life(options.life), options.kind
    asked = {"kind": kind, "vocab_size": options.vocab_size, "megabytes": options.megabytes}
    made_of = {**asked, "data": training_fingerprint(life)}
    record, trained = life.tokenizer / MADE_OF, life.tokenizer / "tokenizer.json"
    if trained.exists() and record.exists() and read_object(record).get("made_of") == made_of:
        say("The tokenizer has already been trained with these options on this text.")
        return load(life.tokenizer)
    check_replaceable(life.tokenizer)
    with act_log(life, "tokenizer", "train", options) as log:
        start = time.perf_counter()
        tokenizer = train(kind, _texts(life, options.megabytes), options.vocab_size)
        seconds = time.perf_counter() - start
        held_out = list(limited(document_texts(life.data("text"), "val"), MEASURED_MEGABYTES))
        measured = measure_tokenizer(kind, tokenizer, held_out, frequent_word(held_out)).summary() if held_out else {}
        with made_folder(life.tokenizer) as part:
            with recorded(part / "tokenizer.json"), recorded(part / "tokenizer_config.json"):
                tokenizer.save(part)
            write_json(part / MADE_OF, {"made_of": made_of, "measured": measured}, sealed=True)
        log.write("tokenizer", vocab_size=tokenizer.vocab_size, train_seconds=round(seconds, 2), **measured)
    told = f"; {measured['bytes_per_token']:.2f} bytes per token on held-out text" if measured else ""
    say(f"Trained a {kind} tokenizer with {tokenizer.vocab_size:,} tokens in {seconds:.1f} s{told}.")
    return tokenizer


def compare(options: Compare) -> list[dict[str, Any]]:
    """Compare kinds of tokenizers on held-out text."""
    life = Life(options.life)
    if options.text:
        train_texts, test_texts = texts_of_files(options.text, options.megabytes, BadRows(options.bad_rows))
    else:
        folder = life.data("text")
        train_texts = list(limited(document_texts(folder, "train"), options.megabytes))
        test_texts = list(limited(document_texts(folder, "val"), MEASURED_MEGABYTES))
        if not test_texts:
            train_texts, test_texts = divided(train_texts, str(folder))
    if options.tokenizers:
        word = frequent_word(test_texts)
        rows = [measure_tokenizer(str(folder), load(folder), test_texts, word) for folder in options.tokenizers]
    else:
        rows = compare_tokenizers(train_texts, test_texts, options.vocab_size)
    console().print(comparison_tables(rows))
    data = [asdict(row) for row in rows]
    if not options.text:
        path = life.run("tokenizer-compare") / "scores.json"
        with act_log(life, "tokenizer", "compare", options), recorded(path):
            write_json(path, data)
    return data


def _texts(life: Life, megabytes: float) -> Iterator[str]:
    """Yield the training documents, then the messages of the training conversations, and show progress."""
    messages = (message["content"] for row in training_chats(life.data("chat")) for message in row["messages"])
    kinds: tuple[Iterable[str], ...] = (document_texts(life.data("text"), "train"), messages)
    with Progress(None, "texts") as line:
        for number, text in enumerate((text for texts in kinds for text in limited(texts, megabytes)), 1):
            line.update(number)
            yield text
