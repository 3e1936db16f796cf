"""Convert the tokenizer of a GGUF file to one of the `tokenizers` library.

Byte-level BPE names its pre-tokenizer; SentencePiece tokens have scores instead of merges.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from sayso.base.errors import UserError
from sayso.token.foreign import SPACE, ForeignTokenizer
from sayso.token.pre_tokenizer import PATTERN
from sayso.weights.gguf.file import GGUF

NORMAL, UNKNOWN, CONTROL, TYPED, UNUSED, BYTE = range(1, 7)  # llama.cpp's types of tokens
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{%s}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# llama.cpp's names of pre-tokenizers (llama-vocab.cpp); of names with the same pattern, the first is written.
_LLAMA3 = ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2")
ONE_DIGIT = ("qwen2", "deepseek-r1-qwen", "megrez", "stablelm2")
CUTS = {
    **dict.fromkeys((*_LLAMA3, "smaug-bpe", "dbrx"), GPT4 % "1,3"),
    **dict.fromkeys(ONE_DIGIT, GPT4 % "1"),
    "qwen35": PATTERN,
}
DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")  # digits, then GPT-2's
GPT2_SPLIT = ("gpt-2", "phi-2", "olmo", "jais", "mpt", "gigachat", "mellum", "exaone4", "trillion", "granite-docling")
DEFAULT = (  # patterns of files that name no pre-tokenizer, applied in order
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
)
DEFAULT_IDS = {"gpt2": {"bos": 11, "eos": 11}, "llama": {"bos": 1, "eos": 2, "unknown": 0}}
TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|eom_id|>", "<end_of_turn>")  # for files that name only the end of text
_NAMES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def gguf_tokenizer(file: GGUF) -> ForeignTokenizer:
    """Return the file's tokenizer. Raises `UserError` for an unsupported type or pre-tokenizer."""
    kind, tokens = file.fact("tokenizer.ggml.model"), file.fact("tokenizer.ggml.tokens")
    if len(set(tokens)) < len(tokens):
        raise UserError(f"'{file.path}' has a duplicate token, so its ids are ambiguous.")
    types = file.facts.get("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise UserError(f"'{file.path}' has {len(tokens)} tokens but {len(types)} token types.")
    if kind == "gpt2":
        core = _byte_level(file, tokens)
    elif kind == "llama":
        core = _sentence_piece(file, tokens, types)
    else:
        raise UserError(f"A tokenizer in a GGUF file must be of type gpt2 or llama; '{file.path}' has '{kind}'.")
    added = [
        AddedToken(token, normalized=False, special=of == CONTROL)
        for token, of in zip(tokens, types, strict=True)
        if of in (CONTROL, TYPED)
    ]
    core.add_tokens(added)
    core.add_special_tokens([token for token in added if token.special])
    config = _config(file, tokens)
    if config["add_bos_token"]:
        begin = config["bos_token"]
        special = [(begin, tokens.index(begin))]
        core.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=special)
    return ForeignTokenizer(core, config, _ends(file, tokens, types))


def _ends(file: GGUF, tokens: Sequence[str], types: Sequence[int]) -> list[int]:
    """Return the ids that end a reply besides the end of text: those named in the file, and well-known ones."""
    named = [file.facts.get(f"tokenizer.ggml.{name}_token_id") for name in ("eot", "eom")]
    known = [index for index, token in enumerate(tokens) if token in TURN_ENDS and types[index] == CONTROL]
    return [index for index in (*named, *known) if isinstance(index, int) and 0 <= index < len(tokens)]


def _byte_level(file: GGUF, tokens: Sequence[str]) -> Tokenizer:
    merges = [tuple(pair.split(" ")) for pair in file.fact("tokenizer.ggml.merges")]
    known = set(tokens)
    if any(len(pair) != 2 or not {*pair, "".join(pair)} <= known for pair in merges):
        raise UserError(f"'{file.path}' has merges of tokens that are not in its vocabulary.")
    name = file.facts.get("tokenizer.ggml.pre", "default")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    core = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=name in _LLAMA3))
    core.pre_tokenizer, core.decoder = _pre_tokenizer(file, name), decoders.ByteLevel()
    return core


def _pre_tokenizer(file: GGUF, name: str) -> pre_tokenizers.PreTokenizer:
    """Return the pre-tokenizer that llama.cpp calls `name`."""
    if name in GPT2_SPLIT:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name in DIGITS:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if name in CUTS:
        split = pre_tokenizers.Split(Regex(CUTS[name]), "isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if name == "default":
        splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in DEFAULT]
        return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    known = ", ".join([*CUTS, *DIGITS, *GPT2_SPLIT, "default"])
    raise UserError(f"'{file.path}' uses the pre-tokenizer '{name}'; Sayso supports {known}.")


def _sentence_piece(file: GGUF, tokens: Sequence[str], types: Sequence[int]) -> Tokenizer:
    scores = file.fact("tokenizer.ggml.scores")
    if len(scores) != len(tokens):
        raise UserError(f"'{file.path}' has {len(tokens)} tokens but {len(scores)} scores.")
    unknown = next((token for token, of in zip(tokens, types, strict=True) if of == UNKNOWN), None)
    return sentence_piece(
        tokens, scores, unknown, space_first=bool(file.facts.get("tokenizer.ggml.add_space_prefix", True))
    )


def sentence_piece(
    tokens: Sequence[str], scores: Sequence[float], unknown: str | None, *, space_first: bool
) -> Tokenizer:
    """Return a BPE equivalent to SentencePiece: its merges are all pairs that form a token, by descending score."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = []
    for index, token in enumerate(tokens):
        for middle in range(1, len(token)):
            left, right = vocabulary.get(token[:middle]), vocabulary.get(token[middle:])
            if left is not None and right is not None:
                pairs.append((-scores[index], index, left, right))
    merges = [(tokens[left], tokens[right]) for *_, left, right in sorted(pairs)]
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", SPACE)
    core.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if space_first else spaces
    strip = [decoders.Strip(" ", 1, 0)] if space_first else []
    core.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return core


def _config(file: GGUF, tokens: Sequence[str]) -> dict[str, Any]:
    """Return the file's control tokens and chat templates in the form of a `tokenizer_config.json`."""
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, short in _NAMES.items():
        index = file.facts.get(f"tokenizer.ggml.{short}_token_id", _default_id(file, short))
        if index is not None and not 0 <= index < len(tokens):
            raise UserError(f"'{file.path}' has {len(tokens)} tokens, but its {name} has the id {index}.")
        if index is not None:
            config[name] = tokens[index]
    by_default = file.facts.get("tokenizer.ggml.model") == "llama" or file.facts.get("tokenizer.ggml.pre") in _LLAMA3
    begins = file.facts.get("tokenizer.ggml.add_bos_token", by_default)
    config["add_bos_token"] = bool(begins) and "bos_token" in config
    named = {
        name: file.facts.get(f"tokenizer.chat_template.{name}")
        for name in file.facts.get("tokenizer.chat_templates", [])
    }
    named["default"] = file.facts.get("tokenizer.chat_template")
    found = [{"name": name, "template": template} for name, template in named.items() if template]
    return config | ({"chat_template": found} if found else {})


def _default_id(file: GGUF, short: str) -> int | None:
    """Return llama.cpp's default id for a file that names none, if it is a control token of the file."""
    index = DEFAULT_IDS[file.fact("tokenizer.ggml.model")].get(short)
    types = file.facts.get("tokenizer.ggml.token_type") or []
    return index if index is not None and index < len(types) and types[index] in (CONTROL, UNKNOWN) else None
