"""Text to token shards, end to end: megabytes per second and the peak memory of all processes, at three sizes.

    make bench NAME=prepare_text TEXT=books.jsonl

Reading, cleaning, quality rules, decontamination, near-duplicates, merging, then encoding into shards, each as its
command does it, on all cores, with a trained tokenizer. A corpus repeats the given text (a file or folder) with some
words changed each time, so that copies are not near-duplicates. The peer only encodes the same text.
"""

import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from multiprocessing.connection import Connection
from pathlib import Path

import tokenizers

from bench.encode import theirs
from bench.harness import parser, result, say, sized, start_worker, stop_worker
from bench.memory import Peak
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.batch.tokens import open_tokens
from sayso.run.prepare import Prepare, prepare
from sayso.text.files import parts_of
from sayso.text.prepared import documents
from sayso.text.sources import local_files, read_part
from sayso.token.load import load, tokenizer_fingerprint
from sayso.token.train import train
from sayso.world import story

MEGABYTES = sized((20, 60, 180), (0.02,))
PIECE, CHANGED = 3_000, 0.15
VOCABULARY, LEARN_FROM = sized((8_192, 1_500), (400, 10))  # characters, share of words, ids, pieces


def main() -> None:
    """Prepare three corpora, each in its own process; then the peer encodes the result of the first."""
    arguments = parser("prepare_text")
    arguments.add_argument("text", type=Path, nargs=sized(None, "?"), help="text file, or folder of text files")
    text = arguments.parse_args().text
    pieces = list(read_pieces(text)) if text else [story(0, index, "train") for index in range(20)]
    tokenizer = train("bpe", pieces[:LEARN_FROM], VOCABULARY)
    runs = []
    with tempfile.TemporaryDirectory() as name:
        for megabytes in MEGABYTES:
            life = Life(Path(name) / str(megabytes))
            tokenizer.save(life.tokenizer)
            size = write_corpus(life.root / "corpus.jsonl", pieces, megabytes)
            runs.append(measured(life, size))
            say(json.dumps(runs[-1]))
        life = Life(Path(name) / str(MEGABYTES[0]))
        texts = [row["text"] for row in documents(life.data("text"), "train")]
        began = time.perf_counter()
        encoded = theirs(life.tokenizer, texts)
        alone = sum(len(text.encode()) for text in texts) / 1e6 / (time.perf_counter() - began)
    result(
        "prepare_text", "MB/s", runs[-1]["mb_s"], alone,
        peer_name=f"tokenizers {tokenizers.__version__}, encoding alone",
        vocabulary=tokenizer.vocab_size, tokens=sum(map(len, encoded)), runs=runs,
    )  # fmt: skip


def read_pieces(path: Path) -> Iterator[str]:
    """Yield the documents of a text, long ones in pieces."""
    for part in parts_of(local_files(path).files, None, PIECE):
        for document in read_part(part, BadRows()):
            yield from (document.text[at : at + PIECE] for at in range(0, len(document.text), PIECE))


def write_corpus(path: Path, pieces: list[str], megabytes: float) -> int:
    """Write `megabytes` of text as JSON Lines, changing other words in each repetition; return its bytes."""
    size = 0
    with path.open("w", encoding="utf-8") as file:
        for text in varied(pieces):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            size += len(text.encode())
            if size > megabytes * 1e6:
                return size
    raise AssertionError("the repetitions are endless")


def varied(pieces: list[str]) -> Iterator[str]:
    """Yield the pieces repeatedly, each time with some words replaced by others of the same piece."""
    yield from pieces
    for round_ in count(1):
        draw = random.Random(round_)
        for piece in pieces:
            words = piece.split(" ")
            for place in draw.choices(range(len(words)), k=int(CHANGED * len(words))):
                words[place] = words[draw.randrange(len(words))]
            yield " ".join(words)


def measured(life: Life, size: int) -> dict[str, float]:
    """Return the figures of one complete preparation in a new process."""
    ours, its = multiprocessing.Pipe()
    worker = start_worker(work, (life.root, its))
    with Peak(ours.recv()) as peak:
        seconds, documents_in, dropped = ours.recv()
    stop_worker(worker)
    megabytes = size / 1e6
    return {
        "megabytes": round(megabytes, 1), "mb_s": round(megabytes / sum(seconds), 2),
        "prepare_s": round(seconds[0], 2), "encode_s": round(seconds[1], 2),
        "peak_memory_mb": round(peak.megabytes), "documents": documents_in, "dropped": dropped,
    }  # fmt: skip


def work(folder: Path, pipe: Connection) -> None:
    """Prepare and encode the corpus of a life; send the seconds of both, and the documents read and dropped."""
    pipe.send(os.getpid())
    life = Life(folder)
    checked = folder / "evaluation.txt"
    corpus = folder / "corpus.jsonl"
    with corpus.open(encoding="utf-8") as lines:
        held = [json.loads(line)["text"] for line in islice(lines, 0, 200, 10)]
    checked.write_text("\n".join(held), encoding="utf-8")
    began = time.perf_counter()
    manifest = prepare(Prepare(life=folder, sources=(str(corpus),), eval_texts=(checked,)))
    prepared = time.perf_counter()
    open_tokens(life, load(life.tokenizer), tokenizer_fingerprint(life.tokenizer))
    ended = time.perf_counter()
    totals = manifest["totals"]
    pipe.send(((prepared - began, ended - prepared), totals["in"]["documents"], totals["dropped"]))


if __name__ == "__main__":
    main()
