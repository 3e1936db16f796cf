"""Read the control tokens from the files next to a `tokenizer.json`, combined as `transformers` does.

Takes tokenizer_config.json, special_tokens_map.json, added_tokens.json, config.json, generation_config.json and the
chat template files; returns one config, the ids that end a reply, and the sampling defaults.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.token.foreign import SPECIAL_NAMES, ForeignTokenizer

CLASSES = {  # default control tokens of a tokenizer class
    "LlamaTokenizer": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "GemmaTokenizer": {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
    "Qwen2Tokenizer": {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    "GPT2Tokenizer": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    "CohereTokenizer": {"bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>"},
}
_SHAPE = ("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "_from_model_config")
"""Entries of a generation_config.json that are not sampling settings."""


def foreign_tokenizer(core: tokenizers.Tokenizer, folder: Path) -> ForeignTokenizer:
    """Return a third-party tokenizer with the settings of the files next to it.

    Raises `UserError` for invalid files, and for ids outside the model's vocabulary.
    """
    config = _table(folder / "tokenizer_config.json")
    decoder = config.get("added_tokens_decoder")
    if not decoder:
        config |= _table(folder / "special_tokens_map.json")
        decoder = {str(index): name for name, index in _table(folder / "added_tokens.json").items()}
    if not isinstance(decoder, Mapping):
        raise UserError(f"'added_tokens_decoder' must map ids to tokens; that of '{folder}' does not: correct it.")
    by_class = CLASSES.get(str(config.get("tokenizer_class")).removesuffix("Fast"), {})
    known = core.get_vocab(with_added_tokens=True)
    config |= {name: text for name, text in by_class.items() if name not in config and text in known}
    _add(core, config, decoder, folder)
    templates = _templates(folder)
    if templates:
        config["chat_template"] = templates
    model, generation = _table(folder / "config.json"), _table(folder / "generation_config.json")
    ends = _ends(core, folder, model, generation)
    sampling = {name: value for name, value in generation.items() if name not in _SHAPE}
    return ForeignTokenizer(core, config, ends, generation=sampling)


def _add(core: tokenizers.Tokenizer, config: Mapping[str, Any], decoder: Mapping[Any, Any], folder: Path) -> None:
    """Add the tokens of the config that `tokenizer.json` lacks or defines differently, with the ids of the config."""
    tokens = {}
    for index, entry in decoder.items():
        if not re.fullmatch(r"[0-9]{1,18}", str(index)):
            raise UserError(f"The id of an added token must be an integer; '{folder}' has {index!r:.40}: correct it.")
        tokens[int(index)] = _token(entry, special=False)
    present = core.get_added_tokens_decoder()
    missing = [token for index, token in sorted(tokens.items()) if repr(present.get(index)) != repr(token)]
    named = [config.get(name) for name in SPECIAL_NAMES]
    more = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    more = [*more.values()] if isinstance(more, Mapping) else more
    if not isinstance(more, list):
        raise UserError(
            f"Additional special tokens must be a list or an object; '{folder}' has {more!r:.40}: correct it."
        )
    for entry in filter(None, [*named, *more]):
        token = _token(entry, special=True)
        if core.token_to_id(token.content) not in present and all(token.content != one.content for one in missing):
            missing.append(token)
    core.add_tokens(missing)
    for index, token in tokens.items():
        if core.token_to_id(token.content) != index:
            raise UserError(
                f"The files of '{folder}' contradict each other: '{token.content}' has id {index} in one and "
                f"{core.token_to_id(token.content)} in tokenizer.json; restore them."
            )


def _token(entry: Any, *, special: bool) -> AddedToken:
    """Return a token that a config gives as text or as an object."""
    if isinstance(entry, str):
        return AddedToken(entry, special=special, normalized=not special)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("content"), str):
        raise UserError(f"A control token must be a string, or an object with 'content'; got {entry!r:.100}.")
    flags = {name: bool(entry[name]) for name in ("single_word", "lstrip", "rstrip", "normalized") if name in entry}
    return AddedToken(entry["content"], special=bool(entry.get("special", special)), **flags)


def _templates(folder: Path) -> str | list[dict[str, str]]:
    """Return the chat templates in separate files: the default, or several with their names; "" if there is none."""
    paths = {path.stem: path for path in sorted(folder.glob("additional_chat_templates/*.jinja"))}
    if (default := folder / "chat_template.jinja").is_file():
        paths["default"] = default
    named = [{"name": name, "template": path.read_text(encoding="utf-8-sig")} for name, path in paths.items()]
    return named[0]["template"] if list(paths) == ["default"] else named or ""


def _ends(core: tokenizers.Tokenizer, folder: Path, model: Mapping[str, Any], own: Mapping[str, Any]) -> list[int]:
    """Return the ids that end a reply, from generation_config.json (`own`), else from config.json (`model`)."""
    text = model.get("text_config") if isinstance(model.get("text_config"), Mapping) else {}
    facts = {"vocab_size": None} | dict(text or {}) | dict(model)
    size = facts["vocab_size"] if isinstance(facts["vocab_size"], int) else core.get_vocab_size()
    found: list[int] = []
    for name, source in (("generation_config.json", own), ("config.json", facts)):
        ends = source.get("eos_token_id")
        ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
        for index in [*ends, *([] if source.get("bos_token_id") is None else [source["bos_token_id"]])]:
            if type(index) is not int or not 0 <= index < size:
                raise UserError(
                    f"The id of a control token must be from 0 to {size - 1}; '{folder / name}' has {index!r:.40}: "
                    "correct it."
                )
        found = found or ends
    return found


def _table(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or {} if the file does not exist."""
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise UserError(f"'{path}' must be a JSON object, but is not: correct it.")
    return found
