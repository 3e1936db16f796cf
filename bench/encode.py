"""Encoding: megabytes per second of our byte-pair tokenizer against `tokenizers`, with the same ids.

The text is Python's standard library, code and comments, split into documents; half trains the vocabulary, half is
encoded by a newly loaded tokenizer. The details hold small-world stories, one line per call, `tiktoken` alone (which
our tokenizer encodes with), `rustbpe` (with its own vocabulary), and training against `rustbpe`.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiktoken
import tokenizers

from bench.harness import pair, parser, race, result, sized
from sayso.base.device import cores
from sayso.token.load import load
from sayso.token.pre_tokenizer import PATTERN
from sayso.token.train import train
from sayso.world import story

VOCABULARY, MEGABYTES, PIECE, STORIES = sized((8192, 8.0, 5_000, 3000), (400, 0.02, 1_000, 5))
ROUNDS = sized(5, 1)


def main() -> None:
    """Race over real text, then over stories, then one short text per call."""
    parser("encode").parse_args()
    texts = documents()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train("bpe", texts[::2], VOCABULARY).save(folder)
        held_out = texts[1::2]
        assert load(folder).encode_batch(held_out) == theirs(folder, held_out)
        speeds = compare(folder, held_out, "real")
        stories = compare(folder, [story(0, index, "train") for index in range(STORIES)], "stories")
        lines = [line for text in held_out[:200] for line in text.splitlines()]
        ours, core = load(folder), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        alone = race(*against_tiktoken(folder, held_out), rounds=ROUNDS, label="tiktoken")
        other = learned_by_rustbpe(texts[::2])
        rust = race(
            lambda: encoded(load(folder).encode_batch, held_out), lambda: encoded(other.batch_encode, held_out),
            rounds=ROUNDS, label="rustbpe",
        )  # fmt: skip
        learned = race(
            lambda: worked(train("bpe", texts[::2], VOCABULARY), texts[::2]),
            lambda: worked(learned_by_rustbpe(texts[::2]), texts[::2]),
            rounds=sized(3, 1), label="train",
        )  # fmt: skip
        short = race(
            lambda: line_by_line(ours.encode, lines),
            lambda: line_by_line(core.encode, lines),
            rounds=ROUNDS,
            label="lines",
        )
    result(
        "encode", "MB/s", *speeds, peer_name=f"tokenizers {tokenizers.__version__} encode_batch_fast",
        vocabulary=VOCABULARY, megabytes=round(size(held_out), 2), stories=pair(stories), one_line_a_call=pair(short),
        tiktoken=pair(alone) | {"version": tiktoken.__version__}, rustbpe=pair(rust),
        train_against_rustbpe=pair(learned),
    )  # fmt: skip


def documents() -> list[str]:
    """Return the standard library's sources, in pieces."""
    texts: list[str] = []
    for path in sorted(Path(os.__file__).parent.glob("*.py")) + sorted(Path(os.__file__).parent.glob("*/*.py")):
        if "site-packages" in path.parts or size(texts) > MEGABYTES:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        texts += [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return texts


def compare(folder: Path, texts: list[str], label: str) -> tuple[float, float]:
    """Return both speeds over the same texts, with newly loaded tokenizers."""

    def ours() -> float:
        load(folder).encode_batch(texts)
        return size(texts)

    def peer() -> float:
        theirs(folder, texts)
        return size(texts)

    return race(ours, peer, rounds=ROUNDS, label=label)


def against_tiktoken(folder: Path, texts: list[str]) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return ours, and tiktoken alone with the same number of threads."""
    ours = load(folder)
    ranks = {ours.decode_bytes([number]): number for number in range(ours.vocab_size)}
    ranks.pop(b"")
    alone = tiktoken.Encoding("alone", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    return (
        lambda: encoded(ours.encode_batch, texts),
        lambda: encoded(lambda batch: alone.encode_ordinary_batch(batch, num_threads=cores()), texts),
    )


def learned_by_rustbpe(texts: list[str]) -> Any:
    """Return a rustbpe tokenizer of the same size, trained with the same pattern."""
    import rustbpe  # here, since another bench imports only `theirs`

    other = rustbpe.Tokenizer()
    other.train_from_iterator(iter(texts), VOCABULARY, pattern=PATTERN)
    return other


def encoded(encode: Callable[[list[str]], object], texts: list[str]) -> float:
    """Encode all texts at once; return their size in megabytes."""
    return worked(encode(texts), texts)


def worked(_done: object, texts: list[str]) -> float:
    """Return the size of the texts in megabytes, after the work."""
    return size(texts)


def line_by_line(encode: Callable[[str], object], lines: list[str]) -> float:
    """Encode line by line; return the size in megabytes."""
    for line in lines:
        encode(line)
    return size(lines)


def theirs(folder: Path, texts: list[str]) -> list[list[int]]:
    """Return the ids of `tokenizers`, with its fastest call, on all cores."""
    core = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.encode_special_tokens = True
    return [item.ids for item in core.encode_batch_fast(texts, add_special_tokens=False)]


def size(texts: list[str]) -> float:
    """Return the size of the texts in megabytes."""
    return sum(len(text.encode()) for text in texts) / 1e6


if __name__ == "__main__":
    main()
