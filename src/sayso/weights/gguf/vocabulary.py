"""Convert a tokenizer to the fields of a GGUF file: tokens, their types, and merges or scores.

llama.cpp selects its pre-tokenizer by name from a fixed list. A tokenizer that splits text differently is rejected,
because llama.cpp would encode the same text to other ids.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer as Core

from sayso.base.errors import UserError
from sayso.token.bpe import BytePairTokenizer
from sayso.token.foreign import BYTE as BYTE_NAME
from sayso.token.foreign import ForeignTokenizer
from sayso.token.tokenizer import BOS, END, Tokenizer
from sayso.weights.gguf.tokenizer import BYTE, CONTROL, CUTS, NORMAL, TYPED, UNKNOWN, UNUSED

_Fields = Iterator[tuple[str, Any]]


def vocabulary_of(tokenizer: Tokenizer, size: int) -> _Fields:
    """Yield (NAME, value) pairs for the methods `add_NAME` of `gguf.GGUFWriter`.

    `size` is the model's vocabulary size; ids beyond the tokenizer's are marked unused. Raises `UserError` for a
    tokenizer or pre-tokenizer that llama.cpp does not support.
    """
    if not isinstance(tokenizer, BytePairTokenizer | ForeignTokenizer):
        raise UserError(f"llama.cpp reads byte-pair tokenizers; this model's tokenizer is of kind '{tokenizer.kind}'.")
    data = json.loads(tokenizer.core.to_str())
    if data["model"]["type"] != "BPE":
        raise UserError(f"llama.cpp reads byte-pair tokenizers; this model's tokenizer is of kind '{tokenizer.kind}'.")
    merges = [tuple(pair) for pair in data["model"]["merges"]]
    names = {index: name for name, index in tokenizer.core.get_vocab(with_added_tokens=True).items()}
    tokens = [names.get(index, f"[unused {index}]") for index in range(size)]
    pieces = bool(data["model"].get("byte_fallback"))
    yield "tokenizer_model", "llama" if pieces else "gpt2"
    yield "token_list", tokens
    yield "token_types", [_type(tokenizer.core, data["model"].get("unk_token"), name) for name in tokens]
    if pieces:
        ranks = {"".join(pair): rank for rank, pair in reversed(list(enumerate(merges)))}
        yield "token_scores", [-float(ranks.get(name, 0)) for name in tokens]
        yield "add_space_prefix", "Prepend" in json.dumps(data["normalizer"])
    else:
        yield "tokenizer_pre", _pre_tokenizer_name(data["pre_tokenizer"])
        yield "token_merges", [" ".join(pair) for pair in merges]
    yield "bos_token_id", tokenizer.specials[BOS]
    yield "eos_token_id", tokenizer.specials[END]
    yield "add_bos_token", tokenizer.begins
    if tokenizer.chat_template:
        yield "chat_template", re.sub(r"{% (end)?generation %}", "", tokenizer.chat_template)  # only used in training


def _type(core: Core, unknown: str | None, name: str) -> int:
    index = core.token_to_id(name)
    if index is None:
        return UNUSED
    if name == unknown:
        return UNKNOWN
    added = core.get_added_tokens_decoder().get(index)
    if added is not None:
        return CONTROL if added.special else TYPED
    return BYTE if BYTE_NAME.fullmatch(name) else NORMAL


def _pre_tokenizer_name(pre: Any) -> str:
    """Return llama.cpp's name of a pre-tokenizer, given as the JSON of `tokenizers`."""
    parts = pre["pretokenizers"] if pre and pre["type"] == "Sequence" else [pre]
    kinds = [part["type"] if part else None for part in parts]
    if kinds == ["ByteLevel"] and parts[0]["use_regex"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and parts[0]["individual_digits"] and parts[1]["use_regex"]:
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not parts[1]["use_regex"]:
        pattern = parts[0]["pattern"].get("Regex")
        for name, known in CUTS.items():
            if pattern in (known, known.replace("{1}", "")):
                return name
    raise UserError(
        "llama.cpp does not support this tokenizer's pre-tokenizer; keep the model as a folder, or start with a new "
        "tokenizer: sayso tokenizer train"
    )
