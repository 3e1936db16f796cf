"""Load a tokenizer from its folder, and compute the fingerprint that ties data and models to it."""

from datetime import datetime
from pathlib import Path

import tokenizers

from sayso.base.errors import UserError
from sayso.base.files import read_json, read_object, sha256
from sayso.base.intact import check_recorded
from sayso.token.bpe import BytePairTokenizer
from sayso.token.control import foreign_tokenizer
from sayso.token.foreign import ForeignTokenizer
from sayso.token.tokenizer import SPECIALS, Tokenizer
from sayso.token.whole import from_json

TRAIN = "sayso tokenizer train"

MADE_OF = "trained.json"  # file in the tokenizer's folder that records what it was trained on


def load(folder: Path) -> Tokenizer:
    """Return the tokenizer saved in a folder (a tokenizer's or a model's).

    Raises `UserError` if the file is missing, damaged, or in an unknown format.
    """
    path = _file(folder)
    for file in (path, folder / "tokenizer_config.json"):
        check_recorded(file, f"restore it, or train again with: {TRAIN}")
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"'{path}' is not a tokenizer; restore it, or train one with: {TRAIN}")
    if "model" not in content:
        return from_json(content, path)
    core = _core(path)
    config = folder / "tokenizer_config.json"
    ours = "sayso_kind" in read_object(config) if config.is_file() else core.token_to_id(SPECIALS[1]) is not None
    if not ours:
        return foreign_tokenizer(core, folder)
    missing = [name for name in SPECIALS if core.token_to_id(name) is None]
    if missing:
        raise UserError(
            f"A tokenizer needs the control tokens {' '.join(SPECIALS)}; '{path}' lacks {' '.join(missing)}."
        )
    return BytePairTokenizer(core)


def dated(tokenizer: Tokenizer, when: datetime) -> Tokenizer:
    """Return the tokenizer with a fixed current time for its chat template, so that its ids are reproducible."""
    if isinstance(tokenizer, ForeignTokenizer) and tokenizer.template is not None:
        tokenizer.template.when = when
    return tokenizer


def tokenizer_fingerprint(folder: Path) -> str:
    """Return the SHA-256 of a folder's `tokenizer.json` in hex; the same file gives the same ids."""
    return sha256(_file(folder))


def _file(folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"A tokenizer folder must contain 'tokenizer.json'; '{folder}' does not. Train one with: {TRAIN}"
        )
    return path


def _core(path: Path) -> tokenizers.Tokenizer:
    try:
        core = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception with the reason
        raise UserError(f"'{path}' cannot be read as a tokenizer ({error}); restore it or train again.") from error
    if getattr(core.model, "dropout", None):
        core.model.dropout = None  # left over from training; with it, encoding is random
    return core
