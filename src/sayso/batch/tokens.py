"""Prepared documents as token shards, written once per tokenizer."""

from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import say
from sayso.batch.shards import Shards, write_shards
from sayso.text.prepared import document_texts
from sayso.token.chat import encode_documents
from sayso.token.tokenizer import Tokenizer


def open_tokens(life: Life, tokenizer: Tokenizer, mark: str) -> Shards:
    """Return the training text of a life as shards of token ids; encode it first if necessary.

    `mark` is the tokenizer's fingerprint. Raises `UserError` if the life has no training text.
    """
    folder = life.data("text")
    shards = folder / f"tokens-{mark[:12]}"
    if not shards.is_dir():
        with locked(folder):  # the text must not be replaced while it is read
            say("Encoding the text as tokens.")
            texts = document_texts(folder, "train")
            write_shards(shards, encode_documents(tokenizer, texts), tokenizer.vocab_size, tokenizer=mark)
    return Shards.open(shards, tokenizer=mark)
