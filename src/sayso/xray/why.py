"""Why this token and not that one: what each part of the model, and each token of the row, adds to the logits.

T tokens, L layers, H heads, K candidates.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sayso.lens.direct import attributed
from sayso.lens.frozen import token_contributions
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

CANDIDATES = 12


def why_panel(view: "View", position: int, tokens: Sequence[int] = ()) -> Panel:
    """Return what each part adds to the logits of the likeliest next tokens after a position, and of some others.

    Arrays, one row for each of K candidates: logit and probability [K]; inputs [K, I], of the parts named in
    meta["inputs"]; heads [K, L, H]; layers [K, L, 2], attention and MLP, biases included; last_bias and rest [K]. The
    logit is the sum of inputs, layers, last_bias and rest.
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
    named = [[token, view.text(token)] for token in candidates]
    return Panel({"position": position, "candidates": named, "inputs": [*found.inputs]}, arrays)


def by_token_panel(view: "View", position: int, tokens: Sequence[int]) -> Panel:
    """Return what each token of the row adds to the logits of some tokens after a position, by the exact linear map.

    Arrays, one row for each: tokens [K, position + 1] and bias [K], which add up to the logit. Raises `UserError` for a
    model whose weights are not in floating point.
    """
    position = view.position(position)
    found = token_contributions(view.network, view.ids, [view.token(token) for token in tokens], position=position)
    return Panel({"position": position}, {"tokens": found.tokens, "bias": found.bias})
