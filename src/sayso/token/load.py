"""A tokenizer's folder back to a tokenizer, and the fingerprint that ties data and models to it."""

from pathlib import Path

import tokenizers

from sayso.base.errors import UserError
from sayso.base.files import read_json, sha256
from sayso.token.bpe import BytePairTokenizer
from sayso.token.tokenizer import SPECIALS, Tokenizer


def load(folder: Path) -> Tokenizer:
    """Return the tokenizer saved in a folder (a tokenizer's or a model's).

    Raises `UserError` when the file is missing, damaged, or of a form that is not known here.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"A tokenizer's folder holds 'tokenizer.json'; '{folder}' does not. Train one with: sayso tokenizer train")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("model", {}).get("type") != "BPE":
        raise UserError(f"'{path}' is not a byte-pair tokenizer; train one with: sayso tokenizer train")
    try:
        core = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception with the reason
        raise UserError(f"'{path}' cannot be read as a tokenizer ({error}); restore it or train again.") from error
    missing = [name for name in SPECIALS if core.token_to_id(name) is None]
    if missing:
        raise UserError(f"A tokenizer has the control tokens {' '.join(SPECIALS)}; '{path}' lacks {' '.join(missing)}.")
    return BytePairTokenizer(core)


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of a folder's `tokenizer.json` in hex."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"A tokenizer's folder holds 'tokenizer.json'; '{folder}' does not.")
    return sha256(path)
