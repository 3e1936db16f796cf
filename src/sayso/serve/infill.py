"""Fill in the middle: a prompt and a suffix become one prompt, after which the model writes the text between them.

The layout is prefix, suffix, middle (Bavarian et al. 2022), with the tokens of the models that were trained on it.
"""

from collections.abc import Sequence

from sayso.base.errors import UserError
from sayso.token.foreign import ForeignTokenizer
from sayso.token.tokenizer import BOS, Tokenizer

MARKS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
)


def infill_ids(tokenizer: Tokenizer, prompt: str | Sequence[int], suffix: str) -> list[int]:
    """Return the ids that ask for the text between a prompt and a suffix.

    Raises `UserError` if the tokenizer has no tokens for this.
    """
    marks = _marks(tokenizer)
    if not marks:
        raise UserError("This model cannot fill in the middle: its tokenizer has no tokens for it; omit 'suffix'.")
    begin, hole, end = marks
    prefix = tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    start = [tokenizer.specials[BOS]] if tokenizer.begins else []
    return [*start, begin, *prefix, hole, *tokenizer.encode(suffix), end]


def _marks(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the three marks, or nothing."""
    if not isinstance(tokenizer, ForeignTokenizer):
        return []
    for names in MARKS:
        ids = [index for name in names if (index := tokenizer.core.token_to_id(name)) is not None]
        if len(ids) == len(names):
            return ids
    return []
