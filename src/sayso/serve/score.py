"""How likely a model finds a given text: the log-probability of each token after the ones before it.

`echo` with `logprobs` asks for this at /v1/completions, and lm-eval's `local-completions` reads it: lists over the
prompt's T tokens and, when one more is asked for, the likeliest next one; the first has no probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sayso.reply import Replier


@dataclass(frozen=True)
class Score:
    """The text that was scored and OpenAI's `logprobs` object for it."""

    text: str
    logprobs: dict[str, Any]


@torch.inference_mode()
def score(replier: Replier, prompt: Sequence[int], top: int, extra: int) -> Score:
    """Score a prompt's ids, with the `top` likeliest tokens of each place, and `extra` (0 or 1) more token."""
    ids = torch.tensor([prompt], device=replier.model.device)
    logprobs = replier.model(ids)[0].float().log_softmax(-1)  # [T, V]
    whole = [*prompt, *([int(logprobs[-1].argmax())] if extra else [])]
    pieces = [replier.tokenizer.decode([token]) for token in whole]
    own = [None, *(float(logprobs[place, token]) for place, token in enumerate(whole[1:]))]
    likeliest = logprobs[: len(whole) - 1].topk(max(top, 1))
    tops: list[dict[str, float] | None] = [None]
    for place in range(len(whole) - 1):
        # The token itself first: of two ids with the same text, the likelier (earlier) one keeps its place.
        found: dict[str, float] = {}
        for token, value in zip(likeliest.indices[place].tolist(), likeliest.values[place].tolist(), strict=True):
            found.setdefault(replier.tokenizer.decode([token]), value)
        tops.append(found)
    lengths = [len(piece) for piece in pieces]
    offsets = [sum(lengths[:place]) for place in range(len(lengths))]
    return Score(
        "".join(pieces),
        {"tokens": pieces, "token_logprobs": own, "top_logprobs": tops if top else None, "text_offset": offsets},
    )
