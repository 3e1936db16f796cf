"""Why this token and not that one: what each part of the model, and each token of the row, adds to the logits.

T tokens, L layers, H heads, K candidates.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens.direct import attributed
from sayso.lens.frozen import token_contributions
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

CANDIDATES = 12


def why_panel(view: "View", position: int, tokens: Sequence[int] = ()) -> Panel:
    """Return what everything adds to the logits of the likeliest next tokens after a position, and of some others.

    Arrays, one row for each of K candidates: logit and probability [K]; inputs [K, I], of the parts named in
    meta["inputs"]; heads [K, L, H]; layers [K, L, 2], attention and MLP, biases included; last_bias and rest [K]. The
    logit is the sum of inputs, layers, last_bias and rest. tokens [K, T] and token_bias [K] add up to it, too; they are
    left out for a model whose weights are not in floating point.
    """
    position = view.position(position)
    network = view.network
    with torch.no_grad():
        probabilities = network.head(network.norm(view.streams[-1, position])).float().softmax(-1)
    likely = probabilities.topk(min(CANDIDATES, len(probabilities))).indices.tolist()
    candidates = list(dict.fromkeys([*likely, *map(view.token, tokens)]))
    signs = torch.zeros(len(candidates), network.config.vocab_size)
    signs[torch.arange(len(candidates)), candidates] = 1
    found = attributed(network, view.read(position), signs)
    arrays = {
        "logit": found.logit,
        "probability": probabilities[candidates],
        "inputs": torch.stack([*found.inputs.values()], dim=1).expand(len(candidates), -1),
        "heads": found.heads,
        "layers": found.layers,
        "last_bias": found.last_bias,
        "rest": found.rest,
    }
    arrays |= _tokens(view, position, candidates)
    meta = {
        "position": position,
        "candidates": [[token, view.text(token)] for token in candidates],
        "inputs": [*found.inputs],
        "by_token": "tokens" in arrays,
    }
    return Panel(meta, arrays)


def _tokens(view: "View", position: int, candidates: list[int]) -> dict[str, Tensor]:
    """Return what each token of the row adds, by the exact linear map; nothing for a quantized model."""
    try:
        found = token_contributions(view.network, view.ids, candidates, position=position)
    except UserError:
        return {}
    padded = torch.zeros(len(candidates), view.length)
    padded[:, : position + 1] = found.tokens.cpu()
    return {"tokens": padded, "token_bias": found.bias}
