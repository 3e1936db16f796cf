"""Prepared documents as token shards, made once for each tokenizer."""

from collections.abc import Iterator
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.intact import check_listed
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import say
from sayso.batch.shards import Shards, write_shards
from sayso.token.chat import encode_documents
from sayso.token.load import tokenizer_fingerprint
from sayso.token.tokenizer import Tokenizer


def documents(folder: Path, split: str) -> Iterator[dict[str, str]]:
    """Yield the documents of one split of a prepared data set; raises `UserError` if there are none."""
    paths = sorted(folder.glob(f"{split}-*.jsonl"))
    if not paths:
        raise UserError(f"There is no {split} text in '{folder}'; create it with: sayso prepare")
    check_listed(folder, f"{split}-")
    for path in paths:
        yield from read_jsonl(path)


def open_tokens(life: Life, tokenizer: Tokenizer) -> Shards:
    """Return the training text of a life as shards of `tokenizer`'s ids, encoding it first if necessary."""
    folder = life.data("text")
    mark = tokenizer_fingerprint(life.tokenizer)
    shards = folder / f"tokens-{mark[:12]}"
    if not shards.is_dir():
        with locked(folder):  # it must not be replaced while it is read
            say("Encoding the text as tokens.")
            texts = (document["text"] for document in documents(folder, "train"))
            write_shards(shards, encode_documents(tokenizer, texts), tokenizer.vocab_size, tokenizer=mark)
    return Shards.open(shards, tokenizer=mark)
