"""Pre-tokenization: split text into pieces first; a byte pair never crosses a boundary.

`PATTERN` is the definition; `tokenizers` (Oniguruma) and `tiktoken` (Rust's fancy-regex) interpret it identically. So
does llama.cpp, which supports patterns only by name: this one is its "qwen35", so that it encodes to the same ids.
"""

from tokenizers import Regex, pre_tokenizers

# GPT-4's pattern, except that a letter keeps its combining marks and each digit is a piece: nanochat measured 0.969
# bits per byte with one digit and 0.972 with three (0.965 with two, for which llama.cpp has no name). On books, a token
# of a vocabulary of 3,072 has 3.35 bytes with one digit or two.
PATTERN = "|".join(
    (
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Return the pre-tokenizer that splits by `PATTERN` and converts each piece to bytes."""
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
