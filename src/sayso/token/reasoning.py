"""Whether a reply begins with reasoning, given the tokenizer and the prompt.

Chat templates of reasoning models put it between `<think>` and `</think>`: the prompt ends with the first marker, or
the model writes it.
"""

from collections.abc import Sequence
from typing import Literal

from sayso.token.foreign import ForeignTokenizer
from sayso.token.template import THINK, THINK_END
from sayso.token.tokenizer import Tokenizer

Reasoning = Literal["none", "possible", "open"]
"""Whether a reply has no reasoning, may begin with it, or continues reasoning that the prompt began."""
_TAIL = 16  # ids at the end of a prompt that may spell a marker and white space


def reasoning_of(tokenizer: Tokenizer, prompt: Sequence[int], continued: str = "") -> Reasoning:
    """Return how the reply to a prompt begins; `continued` is the text of the reply that the prompt ends with."""
    if not isinstance(tokenizer, ForeignTokenizer) or not tokenizer.reasons:
        return "none"
    if continued:
        return "open" if continued.rfind(THINK) > continued.rfind(THINK_END) else "none"
    names = [tokenizer.control.get(token, "").encode() or tokenizer.decode_bytes([token]) for token in prompt[-_TAIL:]]
    opened = b"".join(names).rstrip().endswith(THINK.encode())
    return "open" if opened else "possible"


def marker_names(tokenizer: Tokenizer) -> dict[int, str]:
    """Return the markers of reasoning that are control tokens, whose text is otherwise not shown."""
    return {token: name for token, name in tokenizer.control.items() if name in (THINK, THINK_END)}
