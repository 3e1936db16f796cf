"""Byte-pair encoding over bytes: the tokenizer that models are trained with.

Text is split into pieces (a word with the character before it, one digit, a run of punctuation, white space); each
piece becomes bytes, and the pairs that training found most frequent are merged (Sennrich et al. 2016,
arXiv:1508.07909). `tokenizers` trains and reads the files; `tiktoken` encodes to the same ids if Sayso trained the
file.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from sayso.base.device import cores
from sayso.base.errors import UserError
from sayso.base.files import write_atomic, write_json
from sayso.token.chat import CHAT_TEMPLATE, config
from sayso.token.engine import has_long_space, make_engine
from sayso.token.pre_tokenizer import pre_tokenizer
from sayso.token.tokenizer import BOS, END, SPECIALS, byte_spelling, check_size, is_text, pieces, to_bytes

_SLICE = 16  # texts per task of a thread: for a single short text, the overhead would equal the encoding


class BytePairTokenizer:
    """A trained byte-level BPE."""

    kind = "bpe"
    begins = True
    chat_template = CHAT_TEMPLATE

    def __init__(self, core: tokenizers.Tokenizer) -> None:
        self.core = core
        # Not stored in tokenizer.json; without it, the core would turn a typed "<|end|>" into the control token.
        core.encode_special_tokens = True
        self.vocab_size: int = core.get_vocab_size()
        vocabulary = core.get_vocab(with_added_tokens=True)
        self.specials = {name: vocabulary[name] for name in SPECIALS}
        self.control = {index: name for name, index in self.specials.items()}
        self.stop_ids = frozenset({self.specials[BOS], self.specials[END]})
        self._bytes = _bytes_of_tokens(core)
        self._engine = make_engine(core, self._bytes)
        self._byte_ids = {value[0]: index for index, value in enumerate(self._bytes) if len(value) == 1}

    def encode(self, text: str | bytes) -> list[int]:
        """Return the ids of a text, or of any bytes; never a control token."""
        if isinstance(text, str):
            if is_text(text):
                return self._ids(text)
            text = to_bytes(text)
        ids: list[int] = []
        for piece in pieces(text):
            ids += self._ids(piece) if isinstance(piece, str) else [self._byte_ids[byte] for byte in piece]
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, the same as `encode` of each, in parallel on all cores."""
        slices = [texts[start : start + _SLICE] for start in range(0, len(texts), _SLICE)]
        if len(slices) < 2:
            return [self.encode(text) for text in texts]
        with ThreadPoolExecutor(min(cores(), len(slices))) as pool:  # both libraries release the GIL
            return list(chain.from_iterable(pool.map(lambda part: [self.encode(text) for text in part], slices)))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids without control tokens; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the exact bytes of ids; control tokens have none."""
        return b"".join(map(self._bytes.__getitem__, ids))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `transformers` opens as well."""
        write_atomic(folder / "tokenizer.json", self.core.to_str(pretty=True) + "\n")
        write_json(folder / "tokenizer_config.json", config(self.kind))

    def _ids(self, text: str) -> list[int]:
        if self._engine is not None and not has_long_space(text):
            return self._engine.encode_ordinary(text)
        ids: list[int] = self.core.encode(text, add_special_tokens=False).ids
        return ids


def train_bpe(texts: Iterable[str], vocab_size: int) -> BytePairTokenizer:
    """Learn merges from a stream of texts; a small text may yield fewer tokens than requested."""
    check_size(vocab_size)
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizer()
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(SPECIALS),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return BytePairTokenizer(core)


def _bytes_of_tokens(core: tokenizers.Tokenizer) -> list[bytes]:
    """Return the bytes of each id: byte-level files spell each byte as one printable character."""
    control = core.get_added_tokens_decoder()
    table = byte_spelling()
    names = sorted(core.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
    if [index for _, index in names] != list(range(len(names))):
        raise UserError(
            "The ids of a vocabulary must run from 0 without gaps; this tokenizer.json skips some: repair it."
        )
    try:
        return [b"" if index in control else bytes(map(table.__getitem__, name)) for name, index in names]
    except KeyError as error:
        raise UserError(
            f"A tokenizer.json must be byte-level; in this one, {error} is not a byte: use another tokenizer."
        ) from error
