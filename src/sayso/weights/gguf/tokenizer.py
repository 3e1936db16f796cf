"""The tokenizer inside a GGUF file, as one of `tokenizers`: the same pieces, merges and cuts.

Byte-level BPE says by a name how it cuts text before it merges; SentencePiece's pieces have scores in place of merges.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from sayso.base.errors import UserError
from sayso.token.cut import PATTERN
from sayso.token.foreign import SPACE, ForeignTokenizer
from sayso.weights.gguf.file import GGUF

NORMAL, UNKNOWN, CONTROL, TYPED, UNUSED, BYTE = range(1, 7)  # what a token is
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{%s}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What each name means to llama.cpp (llama-vocab.cpp); the first of several with one meaning is the one that is written.
_LLAMA3 = ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2")
ONE_DIGIT = ("qwen2", "deepseek-r1-qwen", "megrez", "stablelm2")
CUTS = {
    **dict.fromkeys((*_LLAMA3, "smaug-bpe", "dbrx"), GPT4 % "1,3"),
    **dict.fromkeys(ONE_DIGIT, GPT4 % "1"),
    "qwen35": PATTERN,
}
DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")  # then GPT-2's cut
GPT2_SPLIT = ("gpt-2", "phi-2", "olmo", "jais", "mpt", "gigachat", "mellum", "exaone4", "trillion", "granite-docling")
DEFAULT = (  # of files that name none, one after another
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
)
DEFAULT_IDS = {"gpt2": {"bos": 11, "eos": 11}, "llama": {"bos": 1, "eos": 2, "unknown": 0}}
TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|eom_id|>", "<end_of_turn>")  # where a file names only the end of a text
_NAMES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def gguf_tokenizer(file: GGUF) -> ForeignTokenizer:
    """Return the file's tokenizer. Raises `UserError` for a kind, or a way of cutting, that is not known here."""
    kind, tokens = file.fact("tokenizer.ggml.model"), file.fact("tokenizer.ggml.tokens")
    if len(set(tokens)) < len(tokens):
        raise UserError(f"'{file.path}' has a duplicate token, so its ids are ambiguous.")
    types = file.facts.get("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise UserError(f"'{file.path}' has {len(tokens)} tokens but {len(types)} types for them.")
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
        whole = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, tokens.index(begin))])
        core.post_processor = whole
    return ForeignTokenizer(core, config, _ends(file, tokens, types))


def _ends(file: GGUF, tokens: Sequence[str], types: Sequence[int]) -> list[int]:
    """Return what ends a reply besides the end of a text: what the file names, and control tokens known for it."""
    named = [file.facts.get(f"tokenizer.ggml.{name}_token_id") for name in ("eot", "eom")]
    known = [index for index, token in enumerate(tokens) if token in TURN_ENDS and types[index] == CONTROL]
    return [index for index in (*named, *known) if isinstance(index, int) and 0 <= index < len(tokens)]


def _byte_level(file: GGUF, tokens: Sequence[str]) -> Tokenizer:
    merges = [tuple(pair.split(" ")) for pair in file.fact("tokenizer.ggml.merges")]
    known = set(tokens)
    if any(len(pair) != 2 or not {*pair, "".join(pair)} <= known for pair in merges):
        raise UserError(f"'{file.path}' has merges of tokens that are not in its vocabulary.")
    cut = file.facts.get("tokenizer.ggml.pre", "default")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    core = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=cut in _LLAMA3))
    core.pre_tokenizer, core.decoder = _cutter(file, cut), decoders.ByteLevel()
    return core


def _cutter(file: GGUF, name: str) -> pre_tokenizers.PreTokenizer:
    """Return how text is cut before it is merged."""
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
        raise UserError(f"'{file.path}' has {len(tokens)} tokens but {len(scores)} scores for them.")
    unknown = next((token for token, of in zip(tokens, types, strict=True) if of == UNKNOWN), None)
    return sentence_piece(
        tokens, scores, unknown, space_first=bool(file.facts.get("tokenizer.ggml.add_space_prefix", True))
    )


def sentence_piece(
    tokens: Sequence[str], scores: Sequence[float], unknown: str | None, *, space_first: bool
) -> Tokenizer:
    """Return a BPE whose merges are the pairs that make each piece, the best score first, as SentencePiece joins."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = []
    for index, token in enumerate(tokens):
        for cut in range(1, len(token)):
            left, right = vocabulary.get(token[:cut]), vocabulary.get(token[cut:])
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
    """Return what the file says of its control tokens, as a `tokenizer_config.json` does."""
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, short in _NAMES.items():
        index = file.facts.get(f"tokenizer.ggml.{short}_token_id", _default_id(file, short))
        if index is not None and not 0 <= index < len(tokens):
            raise UserError(f"'{file.path}' has {len(tokens)} tokens, but its {name} is number {index}.")
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
    """Return the id that llama.cpp takes where a file names none, if that is a control token of the file."""
    index = DEFAULT_IDS[file.fact("tokenizer.ggml.model")].get(short)
    types = file.facts.get("tokenizer.ggml.token_type") or []
    return index if index is not None and index < len(types) and types[index] in (CONTROL, UNKNOWN) else None
