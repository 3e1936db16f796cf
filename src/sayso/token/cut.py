"""Where byte pairs may join: text is cut into pieces first, and a pair never crosses a cut.

`PATTERN` is the law; `tokenizers` (Oniguruma) and `tiktoken` (Rust's fancy-regex) read it alike.
"""

from tokenizers import Regex, pre_tokenizers

# As GPT-4's, but: a contraction ends where the word ends ("'stone" is not "'s" + "tone"), the curly apostrophe counts,
# and a letter keeps its combining marks. Two digits at most: nanochat measured .965 bits per byte with two, .969 with
# one and .972 with three.
PATTERN = "|".join(
    (
        r"['’](?i:[sdmt]|ll|ve|re)(?!\p{L})",
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
        r"\p{N}{1,2}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Return the core's part that cuts by `PATTERN` and spells each piece in bytes."""
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
