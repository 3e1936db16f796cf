"""Baselines of a life's models, computed once for its data and tokenizer, and stored in `runs/baselines/scores.json`.

They are the bits of each held-out document under uniform, unigram and Kneser-Ney models, and the total bits by xz.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sayso.base.files import read_object, sha256, write_json
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import work_in
from sayso.judge.baselines.counts import kn5_bits, uniform_bits, unigram_bits
from sayso.judge.baselines.xz import xz_bits
from sayso.judge.held_out import HeldOutSample, training_texts
from sayso.judge.statistics.estimate import ratio, without_error
from sayso.token.chat import encode_documents
from sayso.token.tokenizer import Tokenizer

Scores = dict[str, Any]


def baselines(
    life: Life, held: dict[str, HeldOutSample], tokenizer: Tokenizer, tokenizer_hash: str, limit: int
) -> Scores:
    """Return the life's baselines, from disk unless their inputs have changed; `limit` is in bytes of training text.

    {"train_bytes", "train_tokens", NAME: {KIND: {"bpb": an estimate, "bits": of each document (not for xz)}}}
    """
    path = life.run("baselines") / "scores.json"
    work_in(path.parent)
    key = _key(life.data("text"), held, tokenizer_hash, limit)
    if path.exists() and (stored := read_object(path, "key"))["key"] == key:
        return stored
    say("Computing the baselines: uniform, unigram, Kneser-Ney 5-gram, xz.")
    scores = {"key": key, **_scores(list(training_texts(life.data("text"), limit)), held, tokenizer)}
    write_json(path, scores, sealed=True)
    return scores


def _scores(train: list[str], held: dict[str, HeldOutSample], tokenizer: Tokenizer) -> Scores:
    text = "".join(train).encode()
    with ThreadPoolExecutor(1) as pool:  # xz runs in another process while the others are computed
        xz = pool.submit(xz_bits, text, ["".join(sample.texts).encode() for sample in held.values()])
        scores: Scores = {"train_bytes": len(text), **_token_scores(train, held, tokenizer), "xz": {}}
        for (kind, sample), bits in zip(held.items(), xz.result(), strict=True):
            found = without_error(bits / sum(sample.sizes), len(sample.texts))
            scores["xz"][kind] = {"bpb": found.as_dict()}
    return scores


def _token_scores(train: list[str], held: dict[str, HeldOutSample], tokenizer: Tokenizer) -> Scores:
    training = [np.array(ids[1:-1], dtype=np.int64) for ids in encode_documents(tokenizer, train)]
    ids = {kind: tokenizer.encode_batch(sample.texts) for kind, sample in held.items()}
    documents = [document for kind in held for document in ids[kind]]
    size, bos = tokenizer.vocab_size, tokenizer.specials["<|bos|>"]
    found = {
        "uniform": uniform_bits(documents, size),
        "unigram": unigram_bits(training, documents, size),
        "kn5": kn5_bits(training, documents, size, bos),
    }
    scores: Scores = {"train_tokens": sum(map(len, training)), **{name: {} for name in found}}
    for name, bits in found.items():
        start = 0
        for kind, sample in held.items():
            part = bits[start : start + len(sample.texts)]
            start += len(part)
            scores[name][kind] = {"bpb": ratio(part, sample.sizes).as_dict(), "bits": part.round(3).tolist()}
    return scores


def _key(folder: Path, held: dict[str, HeldOutSample], tokenizer_hash: str, limit: int) -> str:
    documents = (f"{kind} {sample.digest()}" for kind, sample in held.items())
    parts = [sha256(folder / "manifest.json"), tokenizer_hash, str(limit), *documents]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
